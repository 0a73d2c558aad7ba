package Qpsmtpd::Chain;

# The handlers of Perl plugins, and the table of them that `$qp->hooks` is.
#
# The worker knows those that were registered while plugins were loaded, by number, and calls them
# among the native ones. A plugin may change the table later: handlers that are gone from it are
# passed over, and those that have come run where they are in it. Where no known handler follows them,
# the worker is told that the hook has late handlers, and calls once more at the end of its chain.

use strict;
use warnings;

use Qpsmtpd::Constants;

# By number: what the worker knows.
my @handlers;

# The number of a handler, by the address of its entry.
my %number;

# For the plugin that is being loaded: hook, number, whether it is to run first, and up to which level
# it logs if it does.
my @registered;

# That plugin's name, and whether its argument `loglevel` gives its lines other levels.
our ($loading, $shifts) = ('', 0);

# The handlers of the hook logging: number, highest level.
my @loggers;

# The table as it was when all plugins were loaded, and its lists.
my $loaded = $Qpsmtpd::hooks;
my %list;

# May the table have changed? From the moment that a plugin has seen it, it may.
my $is_seen = 0;

# The hooks with late handlers that the worker has been told of.
my $told = '';

# For each hook whose chain is under way: the handlers that are still to run.
our %rest;

# Is a handler running that the worker does not know? Then it does not know the plugin, either.
our $is_late = 0;

# The list of plugins that the client has, or that is being loaded: other clients may have others.
our $list = '';

# Not in the table of what can come late: these hooks run in other processes, or before all else.
my %never_late = map { $_ => 1 } qw(logging pre-connection post-fork);

sub is_known { $is_seen = 1 }

# An entry is a hash with `code` and `name`.
sub add {
    my ($hook, $entry, $goes_first) = @_;
    $entry->{list} = $list;
    my $all = $Qpsmtpd::hooks->{$hook} ||= [];
    $goes_first ? unshift @$all, $entry : push @$all, $entry;
    return $is_seen = 1 unless $Qpsmtpd::Host::LOADING;
    push @handlers, $entry;
    $number{$entry} = $#handlers;
    @{$entry}{qw(plugin shifts)} = ($loading, $shifts);
    push @registered, [$hook, $#handlers, $goes_first ? 1 : 0, undef];
    return;
}

# The plugin is loaded: how much its loggers keep is known now.
sub find_levels {
    my ($plugin) = @_;
    my @found;
    for my $row (grep { $_->[0] eq 'logging' } @registered) {
        my $level = Qpsmtpd::Plugin::logs_up_to($plugin, $handlers[$row->[1]]{method});
        $row->[3] = defined $level ? $level : LOGDEBUG;
        # A logger that is in several lists gets each line once.
        my $is_again = length $list && grep { $handlers[$_->[0]]{plugin} eq $loading } @loggers;
        push @found, [@{$row}[1, 3]] unless $is_again;
    }
    push @loggers, @found;
}

sub loggers { return @loggers }

sub numbers_of {
    my ($hook) = @_;
    return grep { defined } map { $number{$_} } @{ $Qpsmtpd::hooks->{$hook} || [] };
}

# The plugin's object, if it is a hash.
sub object_of {
    my ($number) = @_;
    my $object = $number < 0 ? undef : $handlers[$number]{object};
    return $object && UNIVERSAL::isa($object, 'HASH') ? $object : undef;
}

# The name of the plugin that a handler is of, as it is in the log, and whether its lines may have other
# levels than it says. Of handlers that have come late only the worker can tell.
sub plugin_of {
    my ($number) = @_;
    return $number < 0 ? ('', 1) : @{ $handlers[$number] }{qw(plugin shifts)};
}

sub take_registered {
    my @taken = @registered;
    @registered = ();
    return @taken;
}

sub loaded {
    $loaded = $Qpsmtpd::hooks;
    %list = map { ($_ => [@{ $loaded->{$_} }]) } keys %$loaded;
}

# Runs what the worker has called: the handler of that number, or, for a number below zero, what is
# left at the end of its chain.
sub run {
    my ($number, $hook, @args) = @_;
    my $entry = $number < 0 ? undef : $handlers[$number];
    return $entry->{code}->(@args) if $entry && $Qpsmtpd::Host::LOADING;
    if ($entry && is_as_loaded()) {
        my @said = $entry->{code}->(@args);
        # What comes now is for the next time.
        $rest{$hook} = [following($hook, $entry)] unless is_as_loaded();
        return @said;
    }
    my ($first) = grep { is_asked($_) } @{ $list{$hook} || [] };
    my $starts = $entry && $first && $entry == $first;
    my $rest = $starts ? undef : $rest{$hook};
    $rest = $rest{$hook} = [@{ $Qpsmtpd::hooks->{$hook} || [] }] unless $rest;
    return DECLINED if $entry && !grep { $_ == $entry } @$rest;
    my @said = (DECLINED);
    while (my $next = shift @$rest) {
        next unless is_asked($next);
        local $is_late = !defined $number{$next};
        my @more = $next->{code}->(@args);
        @said = @more if defined $more[0];
        last if $said[0] ne DECLINED || $entry && $next == $entry;
    }
    delete $rest{$hook} if $said[0] ne DECLINED || !$entry;
    return @said;
}

# Is it in the client's list, or in none, as what a plugin has put into the table itself?
sub is_asked {
    my ($entry) = @_;
    return !defined $entry->{list} || $entry->{list} eq $list;
}

sub is_as_loaded { return !$is_seen && $Qpsmtpd::hooks == $loaded }

# The handlers that the worker will call after this one.
sub following {
    my ($hook, $entry) = @_;
    my @all = @{ $list{$hook} };
    shift @all while @all && $all[0] != $entry;
    return @all[1 .. $#all];
}

# Runs something that may run whole chains, of hooks whose chains are under way as well.
sub apart {
    my ($run) = @_;
    local %rest;
    return $run->();
}

# The hooks with late handlers, where the worker does not know that yet.
sub late {
    return unless $is_seen || $Qpsmtpd::hooks != $loaded;
    my $hooks = $Qpsmtpd::hooks;
    my @late = grep { !$never_late{$_} && grep { !defined $number{$_} } @{ $hooks->{$_} || [] } } sort keys %$hooks;
    return if $told eq "@late";
    $told = "@late";
    return \@late;
}

1;
