package Qpsmtpd::Host;

# The Perl side of the Perl host: calls, questions, and the life of the processes.
#
# One process, the nursery, loads every Perl plugin once and never serves.  A worker sends it one end
# of a pair of sockets and one of a pipe, and it forks a child, which answers the calls of that worker
# until the worker is gone.  src/perl/protocol.rs has the messages.
#
# A call may be for several handlers: they run one after the other as long as they decline, and all that
# is said before the last one goes into the pipe, which wakes nobody.

use strict;
use warnings;

use Qpsmtpd;
use Qpsmtpd::Address;
use Qpsmtpd::Chain;
use Qpsmtpd::Command;
use Qpsmtpd::Connection;
use Qpsmtpd::Constants;
use Qpsmtpd::Log;
use Qpsmtpd::Plugin;
use Qpsmtpd::State;
use Qpsmtpd::Transaction;
use Qpsmtpd::Wire;

# How long a child may take to end after its worker has: plugins may have END blocks.
use constant LAST_WORDS => 2;

# What Linux has under these names.
use constant {
    PR_SET_DUMPABLE     => 4,
    PR_SET_NO_NEW_PRIVS => 38,
    MSG_DONTWAIT        => 0x40,
    MSG_CMSG_CLOEXEC    => 0x40000000,
};

# By how many pages of memory a child may grow: 32 MiB where a page has 4 KiB.
use constant MOST_PAGES => 8192;

# How many octets may be in the pipe before the worker is woken: it takes 64 KiB.
use constant ROOM => 16 * 1024;

our $LOADING = 1;

# Whose conversation this is: a plugin may fork, and its child must not take part.  To ask whose process
# this is costs a system call, so it is asked once for each frame.
my $owner = 0;

# Is this such a child, which has come to where it would speak?
my $strayed = 0;

# How many pages this process had when it began to serve.
my $pages = 0;

# How many modules there were when it was found that no object needs to be destroyed at the end, 0 if
# one may.
my $modules = 0;

# Classes whose objects only give memory back.
my %harmless = map { $_ => 1 } qw(
    Config Data::Dumper Digest::MD5 Digest::SHA Encode::Encoding IO::Handle Net::DNS::RR
    Net::DNS::Resolver::Base Regexp SelectSaver base::__inc::scope_guard
);

# May no handler follow the one that is running? The worker knows of a failure.
our $stops = 0;

my ($socket, $pipe);
my $input = '';

# How many octets are in the pipe that the worker was not told of.
my $announced = 0;

# ---------------------------------------------------------------------------------- frames

# The child of a plugin's fork says nothing, and ends where the plugin lets it go on.
sub send_frame {
    return $strayed = 1 if $$ != $owner;
    transmit(@_);
}

sub transmit {
    my ($kind) = @_;
    $Qpsmtpd::Log::held = 0 if $kind ne 't';
    my $text = Qpsmtpd::Wire::encode([@_]);
    my $head = pack 'N N', length $text, $announced;
    $announced = 0;
    put($socket, $head . $text);
}

# The same for what can wait.
sub put_aside {
    return $strayed = 1 if $$ != $owner;
    my $frame = pack 'N/a*', Qpsmtpd::Wire::encode([@_]);
    return transmit(@_) if !$pipe || $announced + length $frame > ROOM;
    $announced += length $frame;
    put($pipe, $frame);
}

sub put {
    my ($handle, $octets) = @_;
    my $sent = 0;
    while ($sent < length $octets) {
        my $count = syswrite $handle, $octets, length($octets) - $sent, $sent;
        next if !defined $count && $!{EINTR};
        exit 0 unless $count;
        $sent += $count;
    }
}

# The other side is gone when there is nothing to read: this process has no more to do.
sub receive_frame {
    exit 0 if $strayed;
    my $head = receive_octets(4);
    my $body = receive_octets(unpack 'N', $head);
    my $at = 0;
    return @{ Qpsmtpd::Wire::decode($body, $at) };
}

sub receive_octets {
    my ($wanted) = @_;
    while (length $input < $wanted) {
        my $count = sysread $socket, $input, $wanted + 65536, length $input;
        next if !defined $count && $!{EINTR};
        exit 0 unless $count;
    }
    return substr $input, 0, $wanted, '';
}

# ------------------------------------------------------------------------- what plugins need

# Asks the worker something, with what has changed here so far, and waits for the answer.
sub ask { return undisturbed(\&asked, @_) }

# A plugin's alarm that dies would tear a frame apart: it has to wait until we are done here.
sub undisturbed {
    my ($run, @args) = @_;
    my $alarm = $SIG{ALRM};
    return $run->(@args) unless ref $alarm;
    my $rang = 0;
    my $answer = do {
        local $SIG{ALRM} = sub { $rang = 1 };
        $run->(@args);
    };
    $alarm->('ALRM') if $rang;
    return $answer;
}

sub asked {
    my ($what, @args) = @_;
    die "a process that a plugin has forked cannot ask for '$what'\n" if $$ != $owner;
    return converse($what, @args);
}

sub converse {
    my ($what, @args) = @_;
    transmit('a', $what, \@args, Qpsmtpd::State::changes());
    while (1) {
        my ($kind, @rest) = receive_frame();
        if ($kind eq 'k') {
            Qpsmtpd::State::update($rest[1]);
            $stops = 1 unless $rest[2];
            return $rest[0];
        }
        die "$rest[0]\n" if $kind eq 'e';
        handle($kind, @rest);
    }
}

sub notify {
    my ($what, @args) = @_;
    # What was logged before comes first.
    undisturbed(\&converse, 'held') if $Qpsmtpd::Log::held && $$ == $owner;
    undisturbed(\&put_aside, 't', $what, \@args);
}

# Is this process what it was when it was made, and not the child of a plugin's fork?
sub is_itself { return $$ == $owner }

# ------------------------------------------------------------------------------------ calls

sub handle {
    my ($kind, @rest) = @_;
    return call(@rest) if $kind eq 'c';
    return Qpsmtpd::State::forget_body() if $kind eq 'b';
    return load(@rest) if $kind eq 'l' && $LOADING;
    return Qpsmtpd::Log::take_lines(@rest) if $kind eq 'n';
    return send_frame('r', own_pages() - $pages > MOST_PAGES ? 1 : 0, [], {}) if $kind eq 'g';
    if ($kind eq 'h') {
        ($Qpsmtpd::Log::level, $Qpsmtpd::Log::loggers, my $names) = @rest;
        return Qpsmtpd::Plugin::are_loaded(@$names);
    }
    die "an unknown frame '$kind'\n";
}

# Which arguments are addresses, and how a hook's arguments are handed to Perl.
my %arguments = (
    mail => \&address_and_pairs,
    rcpt => \&address_and_pairs,
    user_config => \&address_and_name,
    mail_pre => \&text_and_map,
    rcpt_pre => \&text_and_map,
);

sub address_and_name {
    my ($address, $name) = @_;
    return (Qpsmtpd::State::address($address), $name);
}

# The handlers that are asked about one address after another get one object: what the first has
# changed in it, the next one sees.
my %asked = (hook => '', id => 0, text => '');

sub address_and_pairs {
    my ($address, $pairs, $hook, $id) = @_;
    my $text = join "\0", map { defined $_ ? $_ : '' } @$address;
    my $goes_on = $hook eq $asked{hook} && $id > $asked{id} && $text eq $asked{text};
    my $object = $goes_on ? $asked{object} : Qpsmtpd::State::address($address);
    %asked = (hook => $hook, id => $id, text => $text, object => $object);
    return ($object, @$pairs);
}

sub text_and_map {
    my ($text, $pairs) = @_;
    return ($text, {@$pairs});
}

# Runs the handlers of these numbers as long as they decline.
sub call {
    my ($ids, $hook, $state, $args) = @_;
    Qpsmtpd::State::update($state);
    my $began = @$ids > 1 ? now() : 0;
    local $stops = 0;
    while (1) {
        my ($kind, @said) = called(shift @$ids, $hook, $args);
        # What a plugin may have done to the message's file is looked at before others see it.
        my $is_last = !@$ids || $stops || $kind ne 'r' || !defined $said[0] || $said[0] ne DECLINED
            || Qpsmtpd::the_server()->transaction->{_has_file};
        return send_frame($kind, @said) if $is_last;
        put_aside('s', @said, int(1e6 * (now() - $began)));
        return if $strayed;
    }
}

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# What one handler says and has changed, as a message.
sub called {
    my ($id, $hook, $args) = @_;
    my ($changed, $code, @texts);
    if (!eval { ($changed, $code, @texts) = verdict($id, $hook, $args); 1 }) {
        my $died = $@;
        my $text = eval { "$died" };
        $text = 'died without a word' unless defined $text;
        return ('d', $text, Qpsmtpd::State::changes());
    }
    my $changes = Qpsmtpd::State::changes();
    $changes->{p} = Qpsmtpd::State::kept($id) if $hook eq 'pre-connection';
    if ($changed) {
        $changes->{A} = Qpsmtpd::State::parts($changed);
        Qpsmtpd::State::remember($changed);
    }
    return ('r', $code, \@texts, $changes);
}

# The address that the handler was asked about, if it has changed it, and what the handler says.
sub verdict {
    my ($id, $hook, $args) = @_;
    my @args = $arguments{$hook} ? $arguments{$hook}->(@$args, $hook, $id) : @$args;
    my $address = ref $args[0] && ref $args[0] ne 'HASH' ? $args[0] : undef;
    my $before = $address && $address->format;
    my $qp = Qpsmtpd::the_server();
    local $Qpsmtpd::Log::is_logging = $hook eq 'logging' || $Qpsmtpd::Log::is_logging;
    local @Qpsmtpd::Log::running = ($hook, Qpsmtpd::Chain::plugin_of($id));
    my ($code, @texts) = Qpsmtpd::Chain::run($id, $hook, $qp, $qp->transaction, @args);
    if ($hook =~ /^(.+)_parse$/ && ref $texts[0] eq 'CODE') {
        ($code, @texts) = Qpsmtpd::Command->parse($1, $args[0], $texts[0]);
    }
    if (defined $code && $code !~ /^\d+$/) {
        Qpsmtpd::Log::line(LOGERROR, "the $hook hook returned '$code', which is not a return code");
        $code = DECLINED;
    }
    my $changed = $address && $address->format ne $before ? $address : undef;
    # To set a setting to undef is to say that it has no value.
    @texts = grep { defined } @texts if $hook =~ /config$/;
    return ($changed, $code, map { defined $_ ? "$_" : '' } @texts);
}

# --------------------------------------------------------------------------------- loading

sub load {
    (my ($name, $file, $module, $args), $Qpsmtpd::Chain::list) = @_;
    Qpsmtpd::Chain::take_registered();
    $Qpsmtpd::Chain::loading = Qpsmtpd::Plugin::escaped($name);
    $Qpsmtpd::Chain::shifts = grep { $_ eq 'loglevel' } @$args;
    my $failed = eval {
        my $class = $module ? Qpsmtpd::Plugin::load_module($module)
                            : Qpsmtpd::Plugin::load_file($name, $file);
        my $plugin = $class->new;
        $plugin->_register(Qpsmtpd::the_server(), @$args);
        Qpsmtpd::Chain::find_levels($plugin);
        1;
    } ? undef : "$@";
    return send_frame('d', $failed, {}) if defined $failed;
    send_frame('r', 0, [map { @$_ } Qpsmtpd::Chain::take_registered()], {});
}

# ------------------------------------------------------------------------------- processes

# Descriptors 0 and 1 are the control socket and the one on which workers come; after this they are
# what plugins expect, nothing to read and the daemon's standard error.  The system calls that Perl
# has no words for are called by number.
sub run {
    my ($root, $recvmsg, $prctl, $confined, $start) = @_;
    # A file that may not grow further is an error of the write, as a full disk is.
    $SIG{XFSZ} = sub { };
    # Nobody looks into this process or its children, and none of them leaves a core.
    syscall $prctl + 0, PR_SET_DUMPABLE, 0, 0, 0, 0;
    syscall $prctl + 0, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0 if $confined;
    open $socket, '+<&', \*STDIN or die "control socket: $!\n";
    open my $listener, '+<&', \*STDOUT or die "socket for workers: $!\n";
    open STDIN, '<', '/dev/null' or die "/dev/null: $!\n";
    open STDOUT, '>&', \*STDERR or die "standard error: $!\n";
    binmode $_ for $socket, $listener;
    close_others(fileno $socket, fileno $listener);
    # For plugins that look for things beside the program; FindBin insists on a file of that name.
    require FindBin;
    ($FindBin::Bin, $FindBin::RealBin) = ($root) x 2;
    # Perl qpsmtpd has always looked for modules in lib/ of the folder that it was started in.
    push_folders("$root/lib", "$start/lib");
    $0 = "$root/perl-plugins";
    $owner = $$;
    $ENV{PROCESS} = $0;
    # Without it the C library looks at the file each time that a plugin asks for the local time.
    $ENV{TZ} = ':/etc/localtime' unless defined $ENV{TZ};
    local $SIG{__WARN__} = \&warned;
    while (1) {
        my ($kind, @rest) = receive_frame();
        last if $kind eq 's';
        handle($kind, @rest);
    }
    $LOADING = 0;
    require Time::HiRes;
    require IO::Poll;
    Qpsmtpd::State::loaded();
    Qpsmtpd::Chain::loaded();
    require B;
    # What sessions would load is loaded here, once.
    require $_ for qw(IO/File.pm Qpsmtpd/Config.pm Qpsmtpd/Map.pm);
    $modules = has_destroyer('main', {}) ? 0 : keys %INC;
    nurse($socket, $listener, $recvmsg);
}

# Looks for modules in these folders as well, right after this library.
sub push_folders {
    my %known = map { $_ => 1 } grep { !ref } @INC;
    my @new = grep { -d && !$known{$_}++ } @_;
    splice @INC, 1, 0, @new;
}

# Whatever the daemon was started with is not for plugins, which may outlive it for a moment.
sub close_others {
    my %ours = map { $_ => 1 } 0 .. 2, @_;
    require POSIX;
    opendir my $folder, '/proc/self/fd' or return;
    my @open = grep { /^\d+$/ && !$ours{$_} } readdir $folder;
    closedir $folder;
    POSIX::close($_) for @open;
}

# What a logging plugin warns of is the log.
sub warned {
    my ($text) = @_;
    return print STDERR $text if $Qpsmtpd::Log::is_logging;
    chomp $text;
    Qpsmtpd::Log::line(LOGWARN, $text);
}

# Forks children until the daemon is gone and the last child has ended.
sub nurse {
    my ($control, $listener, $recvmsg) = @_;
    my (%link, %late);
    local $SIG{CHLD} = sub { };
    while (1) {
        while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
            delete $link{$pid};
            delete $late{$pid};
        }
        last unless $control || %link || %late;
        my $now = time;
        kill KILL => grep { $late{$_} <= $now } keys %late;
        my @pids = keys %link;
        my @poll = map { (fileno $link{$_}, 0) } @pids;
        push @poll, fileno $control, IO::Poll::POLLIN() if $control;
        push @poll, fileno $listener, IO::Poll::POLLIN() if $control;
        my $ready = IO::Poll::_poll(%link || %late ? 1000 : -1, @poll);
        next if !defined $ready || $ready <= 0;
        for my $index (0 .. $#pids) {
            next unless $poll[2 * $index + 1];
            $late{ $pids[$index] } = $now + LAST_WORDS;
            delete $link{ $pids[$index] };
        }
        next unless $control;
        my ($heard, $called) = @poll[2 * @pids + 1, 2 * @pids + 3];
        if ($heard) {
            ($control, $listener) = ();
            $socket = undef;
            next;
        }
        next unless $called;
        my ($client, $aside) = receive_sockets($listener, $recvmsg) or next;
        my $pid = fork;
        if (!defined $pid) {
            close $client;
        }
        elsif ($pid) {
            $link{$pid} = $client;
        }
        else {
            # Others have references to these.
            close $_ for grep { defined } values %link, $control, $listener;
            %link = ();
            serve($client, $aside);
        }
    }
    exit 0;
}

# The socket and the pipe that a worker has sent: recvmsg(2) with room for one octet and two
# descriptors.
sub receive_sockets {
    my ($listener, $recvmsg) = @_;
    my $word = length pack 'L!', 0;
    my ($octet, $control) = ("\0", "\0" x ($word + 16));
    # The kernel writes into these, so they have to be this variable's alone.
    vec($_, 0, 8) = 0 for $octet, $control;
    my $parts = pack 'P L!', $octet, 1;
    my $message = pack 'L! L! P L! P L! L!', 0, 0, $parts, 1, $control, length $control, 0;
    my $got = syscall $recvmsg + 0, fileno $listener, $message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
    return unless $got == 1;
    my ($length, undef, undef, @descriptors) = unpack 'L! l l l l', $control;
    return if $length < $word + 16;
    open my $client, '+<&=', $descriptors[0] or return;
    open my $aside, '>&=', $descriptors[1] or return;
    return ($client, $aside);
}

# To destroy all objects at the end of a process takes as long as a session. Where no class has more to do
# then than to give memory back, the process ends without; END blocks have run, and what was printed is
# written: exec does that, too, before it fails. The program calls this after all other END blocks.
sub end {
    return unless $modules && $modules == keys %INC && $$ == $owner;
    my $status = $?;
    no warnings 'exec';
    exec { '/dev/null/nothing' } 'nothing';
    POSIX::_exit($status);
}

# Is there a class in this package, or below it, whose objects have to be destroyed?
sub has_destroyer {
    my ($package, $seen) = @_;
    return 0 if $seen->{$package}++;
    no strict 'refs';
    return 1 if defined &{"${package}::DESTROY"} && !$harmless{$package}
        && !is_empty(\&{"${package}::DESTROY"});
    for my $name (keys %{"${package}::"}) {
        my ($below) = $name =~ /^(\w+)::\z/ or next;
        next if $below eq 'main';
        return 1 if has_destroyer($package eq 'main' ? $below : "${package}::$below", $seen);
    }
    return 0;
}

# Has this method no statement?
sub is_empty {
    my $root = B::svref_2object($_[0])->ROOT;
    return 0 unless $root->can('first');
    my $step = $root->first;
    $step = $step->first if $step->can('first') && $step->name eq 'lineseq';
    $step = $step->sibling while $step->isa('B::COP') || $step->can('name') && $step->name eq 'stub';
    return $step->isa('B::NULL');
}

# Answers the calls of one worker.
sub serve {
    my ($client, $aside) = @_;
    $SIG{CHLD} = 'DEFAULT';
    ($socket, $pipe, $input, $owner) = ($client, $aside, '', $$);
    binmode $_ for $socket, $pipe;
    srand;
    $pages = own_pages();
    handle(receive_frame()) while 1;
}

# How many pages of memory are this process's own, see proc_pid_statm(5).
sub own_pages {
    open my $file, '<', '/proc/self/statm' or return 0;
    my (undef, $resident, $shared) = split ' ', scalar readline $file;
    return $resident - $shared;
}

1;
