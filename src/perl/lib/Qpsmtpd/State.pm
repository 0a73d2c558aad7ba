package Qpsmtpd::State;

# What a worker and its Perl child both know: the connection and the transaction.
#
# The worker sends what has changed since the last time with each call and each answer; with each
# verdict and each question this side sends what plugins have changed.  Notes that only Perl can
# hold, objects and code references, stay here.
#
# Keys: S session, C configuration that is not what it was, q whether lines of the log may be secrets,
# X transaction, c connection's fields, n and N notes of the connection set and
# gone, t and T those of the transaction, f reverse-path, r recipients, R more of them, h the
# header's revision or its new fields, H all its fields, b the message's length, B where its text begins
# in the file, A an address argument that a handler changed, L the hooks that have late handlers,
# p what plugins keep of the client since pre-connection, l the list of plugins that the client has.

use strict;
use warnings;

use Qpsmtpd::Address;
use Qpsmtpd::Connection;
use Qpsmtpd::Constants;
use Qpsmtpd::Header;
use Qpsmtpd::Transaction;

# What both sides have agreed on last.
my ($session, $epoch) = ('', '');
my (%fields, %connection_notes, %transaction_notes);
my ($sender, $recipients) = ('', '');
my %recent;

# What is in the environment of Perl qpsmtpd, for plugins and the programs that they start.
my %variable = map { ($_ => 'TCP' . join '', map { uc } split /_/) }
    qw(remote_ip remote_port remote_host local_ip local_port);

# Plugins leave notes on the connection while they are loaded: each connection begins with them.
my %left;

# The fields of objects with handlers of pre-connection, by the handler's number.
my %as_loaded;

sub update {
    my ($state) = @_;
    return unless $state && %$state;
    my $qp = Qpsmtpd::the_server();
    if (defined $state->{S} && $state->{S} ne $session) {
        $session = $state->{S};
        $qp->{_connection} = Qpsmtpd::Connection->new;
        $qp->{_connection}{_notes} = {%left};
        $qp->{_missing_maps} = {};
        $Qpsmtpd::Log::is_private = 0;
        @{$qp}{qw(_auth _auth_user _auth_mechanism)} = ();
        (%fields, %connection_notes, %recent) = ();
        delete @ENV{ values %variable };
        $Qpsmtpd::Chain::list = '';
    }
    $Qpsmtpd::Chain::list = $state->{l} if defined $state->{l};
    take_kept(@$_) for @{ $state->{p} || [] };
    delete @{ $qp->{_lines} }{ @{ $state->{C} } } if $state->{C};
    $Qpsmtpd::Log::is_private = $state->{q} if defined $state->{q};
    if (defined $state->{X} && "$session $state->{X}" ne $epoch) {
        $epoch = "$session $state->{X}";
        $qp->{_transaction} = Qpsmtpd::Transaction->new;
        (%transaction_notes, %recent) = ();
        ($sender, $recipients) = ('', '');
    }
    my $connection = $qp->connection;
    my $transaction = $qp->transaction;
    if (my $changed = $state->{c}) {
        for my $name (keys %$changed) {
            $connection->{"_$name"} = $changed->{$name};
            $fields{$name} = $changed->{$name};
            $qp->{"_$name"} = $changed->{$name} if $name =~ /^auth_/;
            set_environment($name, $changed->{$name}) if $variable{$name};
        }
        $qp->{_auth} = defined $qp->{_auth_user} ? OK : undef;
    }
    take_notes($connection, \%connection_notes, @{$state}{qw(n N)});
    take_notes($transaction, \%transaction_notes, @{$state}{qw(t T)});
    if (exists $state->{f}) {
        $transaction->{_sender} = $state->{f} && address($state->{f});
        $sender = $state->{f} ? summary($transaction->{_sender}) : q{};
    }
    if (my $list = $state->{r} || $state->{R}) {
        my @more = map { address($_) } @$list;
        if ($state->{R}) {
            # There may be very many, so those that are known are not looked at.
            push @{ $transaction->{_recipients} }, @more;
            $recipients .= summary(@more);
        }
        else {
            $recent{ $_->format } = $_ for $transaction->recipients;
            $transaction->{_recipients} = \@more;
            $recipients = summary(@more);
        }
    }
    $transaction->header_is(@{$state}{qw(h H)}) if defined $state->{h};
    $transaction->body_is($state->{b}) if defined $state->{b};
}

# What a session asked of the configuration is kept until the worker says otherwise.
sub keeps_config { return length $session && !$Qpsmtpd::Log::is_logging }

sub set_environment {
    my ($name, $value) = @_;
    return delete $ENV{ $variable{$name} } unless defined $value;
    $ENV{ $variable{$name} } = $value;
}

sub loaded {
    %left = %{ Qpsmtpd::the_server()->connection->{_notes} || {} };
    for my $number (Qpsmtpd::Chain::numbers_of('pre-connection')) {
        my $object = Qpsmtpd::Chain::object_of($number) or next;
        $as_loaded{$number} = forms($object);
    }
}

sub take_notes {
    my ($owner, $agreed, $set, $gone) = @_;
    for my $name (@{ $gone || [] }) {
        delete $owner->{_notes}{$name};
        delete $agreed->{$name};
    }
    for my $name (keys %{ $set || {} }) {
        $owner->{_notes}{$name} = $set->{$name};
        $agreed->{$name} = form($set->{$name});
    }
}

# A note as a text that is another one as soon as the note is.
sub form {
    my ($note) = @_;
    return ref $note ? Qpsmtpd::Wire::encode($note) : defined $note ? "s$note" : 'u';
}

# What plugins have changed since the last agreement.
sub changes {
    my $qp = Qpsmtpd::the_server();
    my %changed;
    my $connection = $qp->{_connection} or return \%changed;
    for my $name (@Qpsmtpd::Connection::FIELDS) {
        my ($value, $known) = ($connection->{"_$name"}, $fields{$name});
        next if defined $value ? defined $known && $value eq $known : !defined $known;
        $fields{$name} = $changed{c}{$name} = defined $value ? "$value" : undef;
    }
    for my $name (qw(auth_user auth_mechanism)) {
        my ($value, $known) = ($qp->{"_$name"}, $fields{$name});
        next if defined $value ? defined $known && $value eq $known : !defined $known;
        $fields{$name} = $connection->{"_$name"} = $changed{c}{$name} = $value;
    }
    $changed{L} = Qpsmtpd::Chain::late();
    @changed{qw(n N)} = changed_notes($connection, \%connection_notes);
    my $transaction = $qp->{_transaction};
    if ($transaction && length $epoch) {
        @changed{qw(t T)} = changed_notes($transaction, \%transaction_notes);
        my $from = $transaction->{_sender};
        my $text = defined $from ? summary($from) : q{};
        if ($text ne $sender) {
            ($sender, $changed{f}) = ($text, $from && parts($from));
        }
        $text = summary(@{ $transaction->{_recipients} });
        if ($text ne $recipients) {
            $recipients = $text;
            $changed{r} = [map { parts($_) } $transaction->recipients];
        }
        $changed{h} = $transaction->header_changes;
        $changed{B} = $transaction->finish_body;
    }
    defined $changed{$_} or $_ eq 'f' or delete $changed{$_} for keys %changed;
    return \%changed;
}

# Addresses as a text that is another one as soon as one of them is.  It is made with every call, and
# there may be very many addresses.
sub summary {
    no warnings 'uninitialized';
    my $text = q{};
    for my $address (@_) {
        $text .= ref $address eq 'Qpsmtpd::Address'
            ? "$address->{_user}\0$address->{_host}\0"
            : join "\0", @{ parts($address) }, q{};
    }
    return $text;
}

sub changed_notes {
    my ($owner, $agreed) = @_;
    my $notes = $owner->{_notes};
    my (%set, @gone);
    for my $name (keys %{ $notes || {} }) {
        my $text = form($notes->{$name});
        next if defined $agreed->{$name} && $text eq $agreed->{$name};
        # To the other side, what only Perl can hold is a note that is not there.
        if ($text eq 'o') {
            push @gone, $name if defined $agreed->{$name};
        }
        else {
            $set{$name} = $notes->{$name};
        }
        $agreed->{$name} = $text;
    }
    for my $name (keys %$agreed) {
        next if $notes && exists $notes->{$name};
        push @gone, $name;
        delete $agreed->{$name};
    }
    return (%set ? \%set : undef, @gone ? \@gone : undef);
}

# Handlers of pre-connection run in the parent. What they have made of their objects, as far as these are
# hashes, the session's handlers have to find in theirs, which are as they were when all was loaded. What
# only Perl can hold stays here.
sub kept {
    my ($number) = @_;
    my ($object, $first) = (Qpsmtpd::Chain::object_of($number), $as_loaded{$number});
    return unless $object && $first;
    my $now = forms($object);
    my %set = map { ($_ => $object->{$_}) }
        grep { $now->{$_} ne 'o' && (!defined $first->{$_} || $now->{$_} ne $first->{$_}) } keys %$now;
    my @gone = grep { !exists $object->{$_} } keys %$first;
    return %set || @gone ? [[$number, \%set, \@gone]] : undef;
}

sub forms {
    my ($object) = @_;
    return { map { ($_ => form($object->{$_})) } grep { !/^_(?:qp|hook)\z/ } keys %$object };
}

sub take_kept {
    my ($number, $set, $gone) = @_;
    my $object = Qpsmtpd::Chain::object_of($number) or return;
    @{$object}{ keys %$set } = values %$set;
    delete @{$object}{@$gone};
}

sub forget_body {
    my $transaction = Qpsmtpd::the_server()->{_transaction} or return;
    $transaction->let_go_of_body;
}

# An address object: the same one as long as the address is the same, so that its notes last.
sub address {
    my ($parts) = @_;
    my ($user, $host) = @$parts;
    my $address = bless {_user => $user, _host => $host}, 'Qpsmtpd::Address';
    $address->qp(Qpsmtpd::the_server());
    return $recent{ $address->format } ||= $address;
}

sub remember {
    my ($address) = @_;
    $recent{ $address->format } = $address;
}

sub parts {
    my ($address) = @_;
    $address = Qpsmtpd::Address->new("$address") || Qpsmtpd::Address->new('<>')
        unless ref $address;
    return [$address->user, $address->host];
}

1;
