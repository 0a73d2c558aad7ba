package Qpsmtpd::Transaction;

# One message and its envelope as Perl plugins see them.
#
# The message stays with the worker.  When a plugin wants to read it, the worker writes it to a
# file, with "\n" line ends, which is removed at the end of the transaction.

use strict;
use warnings;

use Qpsmtpd;
use Qpsmtpd::Header;

our @ISA = qw(Qpsmtpd);

sub new {
    my ($class) = @_;
    return bless { started => time, _recipients => [] }, ref $class || $class;
}

sub start { return new(@_) }

# -------------------------------------------------------------------------------- envelope

sub sender {
    my ($self, @new) = @_;
    ($self->{_sender}) = @new if @new;
    return $self->{_sender};
}

sub recipients {
    my ($self, @new) = @_;
    $self->set_recipients(@new) if @new;
    return @{ $self->{_recipients} };
}

sub set_recipients {
    my ($self, @recipients) = @_;
    $self->{_recipients} = \@recipients;
}

sub add_recipient {
    my ($self, $more) = @_;
    $self->set_recipients($self->recipients, $more) if $more;
}

sub remove_recipient {
    my ($self, $less) = @_;
    $self->set_recipients(grep { $_->address ne $less->address } $self->recipients) if $less;
}

# What the handlers of a plugin have answered is at `$transaction->notes(NAME)->{hook_rcpt}{return}`:
# where the note NAME is a hash, and where there is no such note but the caller takes it for a hash.
sub notes {
    my ($self, $name, @value) = @_;
    return $self->{_notes}{$name} = $value[0] if @value;
    my $note = $self->{_notes}{$name};
    return $note unless Qpsmtpd::Plugin::is_loaded($name);
    return $note unless ref $note eq 'HASH' || !defined $note && is_taken_for_hash((caller)[1, 2]);
    my $results = Qpsmtpd::Host::ask('results', $name) || {};
    my $hash = $note || {};
    $hash->{"hook_$_"}{return} = $results->{$_} for keys %$results;
    return $hash;
}

my %taken_for_hash;

# Does the code near that line of a file have notes(...)->{hook_...? Without a hash it would die.
# The line that Perl tells is one of the statement's, not always its first.
sub is_taken_for_hash {
    my ($path, $number) = @_;
    my $known = $taken_for_hash{"$path:$number"};
    return $known if defined $known;
    open my $file, '<', $path or return 0;
    my @lines = ('', <$file>);
    my $itself = $lines[$number] =~ /\bnotes\s*\(/;
    my $text = join '', grep { defined } @lines[$itself ? $number : ($number > 3 ? $number - 3 : 0) .. $number + 2];
    $text =~ s/[;}]\s*\n.*//s if $itself;
    return $taken_for_hash{"$path:$number"} = $text =~ /\bnotes\s*\([^;]*?\)\s*->\s*\{\s*["']?hook_/ ? 1 : 0;
}

# ---------------------------------------------------------------------------------- header

sub header {
    my ($self, @new) = @_;
    if (@new && $new[0] && (!$self->{_header} || $new[0] != $self->{_header})) {
        @{$self}{qw(_header _header_set)} = ($new[0], 1);
    }
    $self->{_header} ||= Qpsmtpd::Header->received($self->{_fields} || Qpsmtpd::Host::ask('header'))
        if $self->{_has_header};
    return $self->{_header};
}

# The worker's header section has changed, or there is one now, with these fields if it tells them.
sub header_is {
    my ($self, $revision, $fields) = @_;
    return if defined $self->{_revision} && $self->{_revision} eq $revision;
    @{$self}{qw(_revision _fields)} = ($revision, $fields);
    $self->{_has_header} = $revision > 0;
    @{$self}{qw(_header _header_set _header_text)} = (undef, 0, undef);
}

# The fields in order, for the worker: an index is one of its own, a list has a new field's text.
# A header object of another class cannot tell, so its text is compared.
sub header_changes {
    my ($self) = @_;
    my $header = $self->{_header} or return;
    my $is_ours = $header->can('edits');
    if ($is_ours && !$self->{_header_set}) {
        my $edits = $header->edits or return;
        $header->rebase;
        return [map { ref $_ ? [$$_] : $_ } @$edits];
    }
    my @fields = Qpsmtpd::Header->of($header)->fields;
    my $text = join '', @fields;
    return if !$self->{_header_set} && defined $self->{_header_text} && $text eq $self->{_header_text};
    @{$self}{qw(_header_set _header_text)} = (0, $text);
    $header->rebase if $is_ours;
    return [map { [$_] } @fields];
}

# ------------------------------------------------------------------------------------ body

# The worker has more of the message than before, or another one.
sub body_is {
    my ($self, $stamp) = @_;
    $self->let_go_of_body if defined $self->{_stamp} && $self->{_stamp} ne $stamp;
    $self->{_stamp} = $stamp;
    return unless $stamp;
    tie my @lines, 'Qpsmtpd::Transaction::Lines';
    $self->{_body_array} = \@lines;
}

sub let_go_of_body {
    my ($self) = @_;
    delete @{$self}{qw(_body_file _body_array _has_file _filename _body_start _told_start)};
}

# What plugins have written is in the file, for the worker, which looks whether the file has changed.
# Says where the text begins if a plugin has said so.
sub finish_body {
    my ($self) = @_;
    my $file = $self->{_body_file} or return;
    $file->flush if defined fileno $file;
    my $start = $self->{_body_start};
    return if $start == $self->{_told_start};
    return $self->{_told_start} = $start;
}

sub open_body {
    my ($self) = @_;
    return $self->{_body_file} if $self->{_body_file};
    @{$self}{qw(_filename _body_start)} = @{ Qpsmtpd::Host::ask('body') };
    $self->{_has_file} = 1;
    @{$self}{qw(_told_start _body_array)} = $self->{_body_start};
    open my $file, '+<', $self->{_filename}
        or die "cannot open the message in $self->{_filename}: $!\n";
    require IO::File;
    $self->{_body_file} = bless $file, 'IO::File';
    seek $file, $self->{_body_start}, 0;
    return $file;
}

sub body_start {
    my ($self) = @_;
    $self->open_body;
    return $self->{_body_start};
}

# The text begins where the file is read or written next.
sub set_body_start {
    my ($self) = @_;
    $self->{_body_start} = $self->body_current_pos;
}

sub body_current_pos {
    my ($self) = @_;
    return tell $self->open_body;
}

sub body_resetpos {
    my ($self) = @_;
    my $file = $self->open_body;
    seek $file, $self->{_body_start}, 0;
    return 1;
}

sub body_getline {
    my ($self) = @_;
    my $file = $self->open_body;
    return scalar <$file>;
}

sub body_as_string {
    my ($self) = @_;
    $self->body_resetpos;
    my $file = $self->open_body;
    local $/;
    my $text = <$file>;
    return defined $text ? $text : '';
}

sub body_filename {
    my ($self) = @_;
    $self->open_body;
    return $self->{_filename};
}

sub body_spool { return shift->open_body }

sub body_fh { return shift->open_body }

sub dup_body_fh {
    my $file = $_[0]->open_body;
    my $opened = open my $copy, '<&', $file;
    return $opened ? $copy : undef;
}

sub body_write {
    my ($self, $data) = @_;
    my $text = ref $data ? $$data : $data;
    Qpsmtpd::Host::ask('body_write', $text);
    # What has been told of its length until now may be that there is nothing.
    $self->{_stamp} ||= length $text;
    return length $text;
}

# A transaction of a plugin's own has the size that the plugin gives it.
sub data_size {
    my ($self) = @_;
    return $self->{_body_size} || 0 unless $self->{_stamp};
    return Qpsmtpd::Host::ask('data_size') unless $self->{_body_file};
    $self->{_body_file}->flush;
    return -s $self->{_filename} || 0;
}

sub body_size { return shift->data_size }

sub body_length {
    my ($self) = @_;
    return 0 unless $self->{_stamp};
    $self->open_body;
    return $self->data_size - $self->{_body_start};
}

sub size_threshold { return Qpsmtpd::the_server()->size_threshold }

# The worker removes files at the end of the transaction, whatever becomes of this object.
sub DESTROY { }

# All lines of the message, read when one of them is first wanted: what plugins find in
# `$transaction->{_body_array}` as long as no plugin has wanted a file. What they change there is
# written to the file at once.
package Qpsmtpd::Transaction::Lines;

require Tie::Array;

our @ISA = ('Tie::Array');

sub TIEARRAY { return bless {}, $_[0] }

sub lines {
    my ($self) = @_;
    return $self->{lines} if $self->{lines};
    ($self->{path}) = @{ Qpsmtpd::Host::ask('body') };
    Qpsmtpd::the_server()->transaction->{_has_file} = 1;
    open my $file, '<', $self->{path} or die "cannot open the message in $self->{path}: $!\n";
    return $self->{lines} = [<$file>];
}

sub changed {
    my ($self) = @_;
    my $text = join '', map { defined $_ ? $_ : '' } @{ $self->{lines} };
    open my $file, '>', $self->{path} or die "cannot open the message in $self->{path}: $!\n";
    (print {$file} $text) && close $file or die "cannot write to $self->{path}: $!\n";
}

sub FETCHSIZE { return scalar @{ $_[0]->lines } }
sub FETCH { return $_[0]->lines->[$_[1]] }

sub STORE {
    my ($self, $index, $line) = @_;
    $self->lines->[$index] = $line;
    $self->changed;
}

sub STORESIZE {
    my ($self, $size) = @_;
    $#{ $self->lines } = $size - 1;
    $self->changed;
}

1;
