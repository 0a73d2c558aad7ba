# The header section of a message as plugins see it: $transaction->header.
#
# Takes the place of Mail::Header, with its methods and results, but keeps the bytes: a field that
# no plugin changes stays as it was received, whatever it looks like. Text that comes from a plugin
# is made safe: it can neither start another field nor end the header section.
#
# Beyond Mail::Header there are received(), which makes the object, edits(), which tells what
# plugins have changed since, and rebase(), which takes what is there as the new start.
package Qpsmtpd::Header;

use strict;
use warnings;

use Carp ();

# Only so that isa() says yes. Every public method is below, nothing is inherited, and the real
# module need not be there; a parent must be known as a package, though.
our @ISA = ('Mail::Header');
{ package Mail::Header }

# A field is [text, name, index]: its lines, its name in the one spelling that is compared (undef
# where the text is no field), its place among the fields received (undef where it is new).
use constant { TEXT => 0, NAME => 1, BASE => 2 };

my $NAME_CHARS = '[\x21-\x39\x3b-\x7e]+';

# What stands in front of a value: a name and its colon, or the From of an mbox.
my $LEAD = qr/^(?:From (?![ \t]*:)|[^:]*:)/;

# Lengths for fold() by name, for all objects.
my %FOLD_LENGTH;

# The header of a received message. Each element of the list is one field with its folded lines.
sub received {
    my ($class, $fields) = @_;
    my $self = $class->new(MailFrom => 'COERCE');
    $self->{fields} = [map { [$_, $self->_name_in($_)] } @$fields];
    return $self->rebase;
}

# Undef where nothing has changed, else for each field its index in the list that was received or a
# reference to its new text.
sub edits {
    my ($self) = @_;
    my @now = map { defined $_->[BASE] ? $_->[BASE] : \(my $text = $_->[TEXT]) } $self->_fields;
    my $same = grep { !ref $now[$_] && $now[$_] == $_ } 0 .. $#now;
    return undef if $same == @now && @now == $self->{received};
    return \@now;
}

# What is there now counts as received.
sub rebase {
    my ($self) = @_;
    my $fields = $self->{fields};
    $fields->[$_][BASE] = $_ for 0 .. $#$fields;
    $self->{received} = @$fields;
    return $self;
}

# The same fields as those of another object, be it of this class or of Mail::Header, safe as if a
# plugin had added them.
sub of {
    my ($class, $other) = @_;
    return $other->dup if $other->isa($class);
    return $class->new([split /^/m, $other->as_string], MailFrom => 'COERCE');
}

# The texts of all fields.
sub fields { return map { $_->[TEXT] } $_[0]->_fields }

sub new {
    my $class  = shift;
    my $source = @_ % 2 ? shift : undef;
    my %option = @_;
    my $self   = bless {fields => [], received => 0, fold_length => 79, fold_lengths => {}, modify => 0},
      ref $class || $class;
    $self->modify($option{Modify}) if exists $option{Modify};
    $self->fold_length($option{FoldLength}) if exists $option{FoldLength};
    $self->mail_from(exists $option{MailFrom} ? $option{MailFrom} : 'KEEP');
    if (ref $source eq 'ARRAY') {
        $self->extract([@$source]);
    }
    elsif (defined $source) {
        $self->read($source);
    }
    return $self;
}

sub dup {
    my ($self) = @_;
    my %copy = (%$self, fields => [map { [@$_] } $self->_fields]);
    $copy{fold_lengths} = {%{$self->{fold_lengths}}};
    return bless \%copy, ref $self;
}

sub empty {
    my ($self) = @_;
    $self->{fields} = [];
    return $self;
}

# Takes the fields off the front of the list, with the empty line that ends them.
sub extract {
    my ($self, $lines) = @_;
    return $self->_take(sub { shift @$lines });
}

sub read {
    my ($self, $handle) = @_;
    return $self->_take(sub { scalar <$handle> });
}

sub header {
    my ($self, $lines) = @_;
    $self->extract($lines) if $lines;
    $self->fold            if $self->{modify};
    return [map { $_->[TEXT] } $self->_fields];
}

# Fields from the hash are added to those there are.
sub header_hashref {
    my ($self, $hash) = @_;
    for my $tag (sort keys %{$hash || {}}) {
        my $lines = $hash->{$tag};
        $self->add($tag, $_) for ref $lines ? @$lines : $lines;
    }
    return {map { $_ => [$self->get($_)] } $self->tags};
}

sub modify {
    my ($self, $value) = @_;
    my $old = $self->{modify};
    $self->{modify} = $value ? 1 : 0 if @_ > 1;
    return $old;
}

sub mail_from {
    my ($self, $choice) = @_;
    $choice = uc(defined $choice ? $choice : '');
    Carp::croak("MailFrom cannot be '$choice'") unless $choice =~ /^(?:IGNORE|ERROR|COERCE|KEEP)\z/;
    $self->{mail_from} = $choice;
    return $self;
}

# The length for all fields, or with two arguments for those of one name, on a class for all objects.
sub fold_length {
    my ($self, @args) = @_;
    my $length = @args ? pop @args : undef;
    $length = 20 if defined $length && $length < 20;
    if (@args) {
        my $lengths = ref $self ? $self->{fold_lengths} : \%FOLD_LENGTH;
        my $name    = _spell($args[0]);
        my $old     = $lengths->{$name};
        $lengths->{$name} = $length;
        return $old;
    }
    return 79 unless ref $self;
    my $old = $self->{fold_length};
    $self->{fold_length} = $length if defined $length;
    return $old;
}

sub fold {
    my ($self, $length) = @_;
    for my $field ($self->_fields) {
        _set($field, $self->_folded($field->[NAME], $field->[TEXT], $length)) if defined $field->[NAME];
    }
    return $self;
}

sub unfold {
    my ($self, $tag) = @_;
    for my $field (defined $tag ? $self->_named($tag) : grep { defined $_->[NAME] } $self->_fields) {
        my $text = $field->[TEXT];
        _set($field, _clean($text)) if $text =~ s/\r?\n[ \t]+/ /g;
    }
    return $self;
}

# Returns the value as it now stands in the field; undef where an mbox line is to be ignored.
sub add {
    my ($self, $tag, $line, $index) = @_;
    my $field  = $self->_made($tag, $line) or return undef;
    my $fields = $self->{fields};
    my $at     = @$fields;
    if (defined $index) {
        # From the end, -1 is behind the last field.
        $at = $index < 0 ? @$fields + 1 + $index : $index;
        $at = $at < 0 ? 0 : $at > @$fields ? @$fields : int $at;
    }
    splice @$fields, $at, 0, $field;
    return _rest($field);
}

sub replace {
    my ($self, $tag, $line, $index) = @_;
    my $field = $self->_made($tag, $line) or return undef;
    my $old   = _nth($index || 0, $self->_named($field->[NAME]));
    if ($old) {
        @$old = @$field;
    }
    else {
        push @{$self->{fields}}, $field;
    }
    return _rest($field);
}

# Returns the values that are gone.
sub delete {
    my ($self, $tag, $index) = @_;
    my @gone = $self->_named($tag);
    @gone = grep { $_ } _nth($index, @gone) if defined $index;
    my %gone = map { $_ => 1 } @gone;
    $self->{fields} = [grep { !$gone{$_} } $self->_fields] if @gone;
    my @values = map { _rest($_) } @gone;
    return @values;
}

# One field in the place of the first one of that name; returns its text.
sub combine {
    my ($self, $tag, $with) = @_;
    my ($first, @others) = $self->_named($tag) or return undef;
    if (@others) {
        my ($name) = $first->[TEXT] =~ /^($NAME_CHARS)/;
        my @values = map { _value($_) } $first, @others;
        s/\n//g, s/\s+\z// for @values;
        my $text = join defined $with ? $with : ' ', @values;
        $self->replace($name, "$name: $text");
        $self->delete($tag, -1) for @others;
    }
    return $first->[TEXT];
}

# The first or the nth value of that name; all of them in list context without an index.
sub get {
    my ($self, $tag, $index) = @_;
    my @found = $self->_named($tag);
    if (defined $index || !wantarray) {
        my $field = _nth($index || 0, @found);
        return $field ? _value($field) : wantarray && !@found ? () : undef;
    }
    return map { _value($_) } @found;
}

sub count {
    my ($self, $tag) = @_;
    my @found = $self->_named($tag);
    return scalar @found;
}

sub tags {
    my ($self) = @_;
    my %seen;
    my @tags = grep { defined && !$seen{$_}++ } map { $_->[NAME] } $self->_fields;
    return @tags;
}

# Drops the fields, of these names or all, that have nothing but white space behind the name.
sub cleanup {
    my ($self, @tags) = @_;
    my %tag = map { _spell($_) => 1 } @tags;
    $self->{fields} = [
        grep {
            my $name = $_->[NAME];
            !defined $name || @tags && !$tag{$name} || length _value($_)
        } $self->_fields
    ];
    return $self;
}

sub print {
    my ($self, $handle) = @_;
    $handle ||= \*STDOUT;
    return print {$handle} $self->as_string;
}

sub as_string {
    my ($self) = @_;
    return join '', map { $_->[TEXT] } $self->_fields;
}

sub _fields { return @{$_[0]{fields}} }

sub _named {
    my ($self, $tag) = @_;
    return unless defined $tag;
    my $name = _spell($tag);
    return grep { defined $_->[NAME] && $_->[NAME] eq $name } $self->_fields;
}

sub _nth {
    my ($index, @found) = @_;
    return $index >= -@found ? $found[$index] : undef;
}

sub _set {
    my ($field, $text) = @_;
    @$field[TEXT, BASE] = ($text, undef) if $text ne $field->[TEXT];
}

# What get() gives: without the white space in front.
sub _value {
    my ($field) = @_;
    $field->[TEXT] =~ /$LEAD\s*(.*)\z/s;
    return $1;
}

# What add(), replace() and delete() give: behind the colon only one blank is missing.
sub _rest {
    my ($field) = @_;
    $field->[TEXT] =~ /$LEAD[ ]?(.*)\z/s;
    return $1;
}

# The spelling of a name: words begin with a capital, and abbreviations have nothing else.
sub _spell {
    my ($tag) = @_;
    return $tag if $tag eq 'From ';
    $tag =~ s/\s*:?\s*\z//;
    return join '-',
      map { /^(?:[b-df-hj-np-tv-z]+|id|ldap|mime|soap|swe)\z/i ? uc : ucfirst lc } split /-/, $tag, -1;
}

# The spelled name of a field, undef where the text is none. White space in front of the colon is
# obsolete (RFC 5322 4.5), but readers of mail take such a line for the field that it says it is.
sub _name_in {
    my ($self, $text) = @_;
    return _spell($1) if $text =~ /^($NAME_CHARS)[ \t]*:/;
    return undef unless $text =~ /^From /;
    return $self->{mail_from} eq 'KEEP' ? 'From ' : 'Mail-From';
}

# Reads lines until an empty one. What is no field is dropped, with its folds.
sub _take {
    my ($self, $next) = @_;
    my @texts;
    while (defined(my $line = $next->())) {
        last if $line =~ /^\r?\n?\z/;
        $line .= "\n" unless $line =~ /\n\z/;
        if ($line !~ /^[ \t]/) {
            push @texts, $line;
        }
        elsif (@texts) {
            $texts[-1] .= $line;
        }
    }
    $self->empty;
    for my $text (@texts) {
        next unless $text =~ /^(?:From |$NAME_CHARS:)/;
        my $field = $self->_made(undef, $text) or next;
        push @{$self->{fields}}, $field;
    }
    return $self;
}

# A new field of a name and a value. The name may stand in the line as well, or only there. Undef
# for an mbox line where such lines are not wanted.
sub _made {
    my ($self, $tag, $line) = @_;
    $line = '' unless defined $line;
    if (!defined $tag) {
        ($tag) = $line =~ /^(From |$NAME_CHARS(?=:))/ or Carp::croak('a field without a name');
    }
    if ($tag eq 'From ') {
        my $choice = $self->{mail_from};
        warn "a line 'From ' is no field\n" if $choice eq 'ERROR';
        return undef if $choice eq 'ERROR' || $choice eq 'IGNORE';
        $line =~ s/^From //;
        return [_clean("From $line"), $tag] if $choice eq 'KEEP';
        $tag = 'Mail-From';
    }
    $tag =~ s/\s*:?\s*\z//;
    Carp::croak("no name of a field: '$tag'") unless $tag =~ /^$NAME_CHARS\z/;
    my $name = _spell($tag);
    if ($line !~ /^\Q$tag\E:/i) {
        $line =~ s/^\s+//;
        $line = "$tag: $line";
    }
    if ($self->{modify}) {
        $line =~ s/^[^:]*:/$name:/;
        $line =~ s/\s+\z//;
        return [$self->_folded($name, $line), $name];
    }
    return [_clean($line), $name];
}

# Bytes that are one field: no CR, no NUL, and no line but the first that begins without a blank.
# Empty lines are left out, because a line of blanks alone can be taken for the end of the header.
sub _clean {
    my ($text) = @_;
    utf8::encode($text) unless utf8::downgrade($text, 1);
    $text =~ tr/\r\0//d;
    my ($first, @folds) = split /\n/, $text;
    return join '', "$first\n", map { /^[ \t]/ ? "$_\n" : " $_\n" } grep { /[^ \t]/ } @folds;
}

# The text in lines of at most that length, as far as there is white space to break at.
sub _folded {
    my ($self, $name, $text, $length) = @_;
    my @lengths = ($length, $self->{fold_lengths}{$name}, $FOLD_LENGTH{$name}, $self->{fold_length});
    ($length) = grep { defined } @lengths;
    $text =~ s/\r?\n//g;
    $text =~ s/[ \t]+\z//;
    my ($line) = $text =~ /($LEAD[ \t]*[^ \t]*)/;
    my $done = '';
    for my $word (substr($text, length $line) =~ /([ \t]+[^ \t]+)/g) {
        if (length($line) + length($word) > $length) {
            $done .= "$line\n";
            $line = '';
        }
        $line .= $word;
    }
    return _clean("$done$line\n");
}

1;
