# Hands messages to Postfix's cleanup, by the protocol between its programs.
#
# Replaces the Qpsmtpd::Postfix of Perl qpsmtpd: a socket with methods for records and attributes.
package Qpsmtpd::Postfix;

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;

our @ISA = ('IO::Socket::UNIX');

# Where cleanup is, unless the transaction's note says otherwise.
use constant SOCKET => '/var/spool/postfix/public/cleanup';

# No record of a line is longer.
use constant LONGEST => 1024;

# The letters of records, as in Postfix's global/rec_type.h.
my %LETTER = (
    SIZE => 'C', TIME => 'T', FULL => 'F', INSP => 'I', FILT => 'L', FROM => 'S', DONE => 'D', RCPT => 'R',
    ORCP => 'O', WARN => 'W', ATTR => 'A', MESG => 'M', CONT => 'L', NORM => 'N', XTRA => 'X', RRTO => 'r',
    ERTO => 'e', PRIO => 'P', VERP => 'V', END => 'E',
);

# For those who know the method; there is nothing to prepare.
sub init { }

# A connection to cleanup, at a path or HOST:PORT; undef and a warning where there is none.
sub open_cleanup {
    my ($class, $place) = @_;
    my $socket = $place =~ m{^/} ? IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $place)
        : $place =~ /^(.+):(\d+)\z/ ? IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $1, PeerPort => $2)
        : undef;
    if (!$socket) {
        warn "no connection to $place: $!\n";
        return;
    }
    $socket->autoflush(0);
    return bless $socket, $class;
}

# A record: its kind, REC_TYPE_FROM, and its content, words with blanks between them.
sub print_rec {
    my ($self, $kind, @words) = @_;
    my ($name) = $kind =~ /^REC_TYPE_(\w+)\z/;
    my $letter = $name && $LETTER{$name} or die "there is no record '$kind'\n";
    my $content = "@words";
    my ($length, $head) = (length $content, '');
    # Seven bits an octet, the lowest first; the highest bit says that there is more.
    for (; $length >= 0x80; $length >>= 7) {
        $head .= chr($length & 0x7f | 0x80);
    }
    $self->print($letter, $head, chr $length, $content);
}

sub print_rec_size {
    my ($self, @numbers) = @_;
    $self->print_rec(REC_TYPE_SIZE => join ' ', map { sprintf '%15d', $_ } @numbers[0 .. 2]);
}

sub print_rec_time {
    my ($self, $time) = @_;
    $self->print_rec(REC_TYPE_TIME => int(defined $time ? $time : time));
}

# A line of the message, with or without its end, in as many records as it takes.
sub print_msg_line {
    my ($self, $line) = @_;
    $line =~ s/\r?\n\z//;
    $self->print_rec(REC_TYPE_CONT => substr $line, 0, LONGEST, '') while length $line > LONGEST;
    $self->print_rec(REC_TYPE_NORM => $line);
}

# Names and values.
sub print_attr {
    my ($self, @pairs) = @_;
    $self->print(join '', map { "$_\0" } @pairs, '');
}

# The names and values that cleanup sends.
sub get_attr {
    my ($self) = @_;
    local $/ = "\0";
    my %value;
    while (defined(my $name = $self->getline)) {
        chomp $name;
        last unless length $name;
        my $value = $self->getline;
        chomp $value if defined $value;
        $value{$name} = $value;
    }
    return %value;
}

# Queues the message of a transaction: cleanup's status, 0 where it is queued, the queue id, and the
# reason where there is one. Dies where there is no cleanup.
sub inject_mail {
    my ($class, $transaction) = @_;
    my $places = $transaction->notes('postfix-queue-sockets') || [SOCKET];
    my $cleanup;
    for my $place (@$places) {
        last if $cleanup = $class->open_cleanup($place);
    }
    $cleanup or die "there is no cleanup\n";
    my %hello = $cleanup->get_attr;
    $cleanup->print_attr(flags => $transaction->notes('postfix-queue-flags') || 0);
    $cleanup->put_envelope($transaction);
    $cleanup->put_message($transaction);
    $cleanup->flush;
    my %verdict = $cleanup->get_attr;
    $cleanup->close;
    defined $verdict{status} or die "cleanup gave no status\n";
    my $reason = defined $verdict{reason} ? $verdict{reason} : '';
    return wantarray ? ($verdict{status}, $hello{queue_id}, $reason) : $verdict{status};
}

sub put_envelope {
    my ($self, $transaction) = @_;
    $self->print_rec_time;
    my $sender = $transaction->sender;
    $self->print_rec(REC_TYPE_FROM => $sender ? $sender->address : '');
    $self->print_rec(REC_TYPE_RCPT => $_->address) for $transaction->recipients;
}

sub put_message {
    my ($self, $transaction) = @_;
    $self->print_rec(REC_TYPE_MESG => '');
    my $header = $transaction->header;
    $self->print_msg_line($_) for $header ? split /\n/, $header->as_string : ();
    $transaction->body_resetpos;
    while (defined(my $line = $transaction->body_getline)) {
        $self->print_msg_line($line);
    }
    $self->print_rec(REC_TYPE_XTRA => '');
    $self->print_rec(REC_TYPE_END => '');
}

1;
