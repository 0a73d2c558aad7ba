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

# The results of handlers are kept under the name of their plugin; a native plugin's are asked for.
sub notes {
    my ($self, $name, @value) = @_;
    return $self->{_notes}{$name} = $value[0] if @value;
    my $note = $self->{_notes}{$name};
    return $note if defined $note || !Qpsmtpd::Plugin::is_loaded($name);
    my $results = Qpsmtpd::Host::ask('results', $name) or return;
    return { map { ("hook_$_" => { return => $results->{$_} }) } keys %$results };
}

# ---------------------------------------------------------------------------------- header

sub header {
    my ($self, @new) = @_;
    @{$self}{qw(_header _header_set)} = ($new[0], 1) if @new;
    $self->{_header} ||= Qpsmtpd::Header->received(Qpsmtpd::Host::ask('header'))
        if $self->{_has_header};
    return $self->{_header};
}

# The worker's header section has changed, or there is one now.
sub header_is {
    my ($self, $revision) = @_;
    return if defined $self->{_revision} && $self->{_revision} eq $revision;
    $self->{_revision} = $revision;
    $self->{_has_header} = $revision > 0;
    $self->{_header} = undef;
    $self->{_header_set} = 0;
}

# The fields in order, for the worker: an index is one of its own, a list has a new field's text.
sub header_changes {
    my ($self) = @_;
    my $header = $self->{_header} or return;
    if ($self->{_header_set}) {
        $self->{_header_set} = 0;
        $header = Qpsmtpd::Header->of($header);
        my @fields = $header->fields;
        $self->{_header} = Qpsmtpd::Header->received(\@fields);
        return [map { [$_] } @fields];
    }
    my $edits = $header->can('edits') ? $header->edits : undef;
    return unless $edits;
    $header->rebase;
    return [map { ref $_ ? [$$_] : $_ } @$edits];
}

# ------------------------------------------------------------------------------------ body

# The worker has more of the message than before, or another one.
sub body_is {
    my ($self, $length) = @_;
    $self->let_go_of_body if defined $self->{_length} && $self->{_length} ne $length;
    $self->{_length} = $length;
}

sub let_go_of_body {
    my ($self) = @_;
    delete @{$self}{qw(_body_file _filename _body_start _size)};
}

sub open_body {
    my ($self) = @_;
    return $self->{_body_file} if $self->{_body_file};
    @{$self}{qw(_filename _body_start _size)} = @{ Qpsmtpd::Host::ask('body') };
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

sub set_body_start { }

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
    my $size = Qpsmtpd::Host::ask('body_write', $text);
    $self->{_size} = $size if defined $self->{_size};
    return length $text;
}

sub data_size {
    my ($self) = @_;
    return 0 unless $self->{_length};
    $self->{_size} = Qpsmtpd::Host::ask('data_size') unless defined $self->{_size};
    return $self->{_size};
}

sub body_size { return shift->data_size }

sub body_length {
    my ($self) = @_;
    return 0 unless $self->{_length};
    $self->open_body;
    return $self->{_size} - $self->{_body_start};
}

sub size_threshold { return Qpsmtpd::the_server()->size_threshold }

# The worker removes files at the end of the transaction, whatever becomes of this object.
sub DESTROY { }

1;
