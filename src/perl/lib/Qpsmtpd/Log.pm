package Qpsmtpd::Log;

# Lines of the log: those of Perl's handlers on their way out, and those for loggers in Perl.
#
# The worker knows who logs. Where only Perl plugins do, lines of a handler go to them at once;
# otherwise they go to the worker. Where loggers are of both kinds the worker can call Perl's only when
# this process listens, and holds the lines until then.

use strict;
use warnings;

use Qpsmtpd::Constants;

# How many seconds a logger may take for a line.
use constant TIMEOUT => 2;

# For how many seconds it is not asked again then.
use constant REST => 30;

# The highest level that anybody keeps, and who logs: '', 'mixed' or 'perl'.
our $level = 7;
our $loggers = '';

# Has the worker lines that it holds?
our $held = 0;

# May a line be a secret? Then the worker, which knows what is one, has to look at it.
our $is_private = 0;

# Is a handler of the hook logging running?
our $is_logging = 0;

# The hook and the plugin whose handler is running, and whether the plugin's lines may have other levels
# than it says.
our @running;

# Until when a logger is not asked, by its number; and those of which it is known that they fail.
my (%rests, %fails);

sub line {
    my ($wanted, $text) = @_;
    my ($hook, $plugin, $shifts) = @running;
    $shifts ||= $Qpsmtpd::Chain::is_late;
    return if $wanted > $level && !$shifts || $is_logging;
    return print STDERR "$$ $text\n" unless Qpsmtpd::Host::is_itself();
    return Qpsmtpd::Host::undisturbed(\&Qpsmtpd::Host::converse, 'log', $wanted, $text)
        if $Qpsmtpd::Host::LOADING;
    $text =~ s/\s+\z//;
    # The worker makes other characters safe to look at.
    my $is_plain = $wanted =~ /^[0-7]\z/ && $text !~ /[^\x20-\x7e]/;
    return take_lines([0, [$wanted, $hook, $plugin, $text]])
        if $loggers eq 'perl' && $is_plain && !$is_private && defined $hook && !$shifts && !%rests;
    $held = $loggers eq 'mixed';
    Qpsmtpd::Host::undisturbed(\&Qpsmtpd::Host::put_aside, 't', 'log', [$wanted, $text]);
}

# Asks the loggers about lines, each with the number of the first logger that is to be asked.
sub take_lines {
    for my $line (@_) {
        my ($first, $record) = @$line;
        for my $logger (grep { $_->[0] >= $first } Qpsmtpd::Chain::loggers()) {
            my ($number, $most) = @$logger;
            last if $record->[0] <= $most && ask($number, @$record) eq OK;
        }
    }
}

# What a logger says to a line.
sub ask {
    my ($number, @record) = @_;
    if (my $until = $rests{$number}) {
        return DECLINED if time < $until;
        delete $rests{$number};
    }
    my $qp = Qpsmtpd::the_server();
    local $is_logging = 1;
    my $run = sub { (Qpsmtpd::Chain::run($number, 'logging', $qp, $qp->transaction, @record))[0] };
    my $is_late = 0;
    my $code = eval {
        # A plugin that uses alarms keeps its own.
        return $run->() if $SIG{ALRM} && $SIG{ALRM} ne 'DEFAULT';
        local $SIG{ALRM} = sub { $is_late = 1; die "took too long\n" };
        alarm TIMEOUT;
        my $said = $run->();
        alarm 0;
        $said;
    };
    my $why = $@;
    return defined $code ? $code : DECLINED unless $why;
    alarm 0 unless $is_late;
    $rests{$number} = time + REST if $is_late;
    Qpsmtpd::Host::put_aside('t', 'logger_failed', [$number, $is_late, "$why"])
        if $is_late || !$fails{$number}++;
    return DECLINED;
}

1;
