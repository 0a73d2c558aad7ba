# Loads each plugin line of standard input into Perl qpsmtpd, in a process of its own; says for each,
# after a tab, which hooks it has registered for, or after an exclamation mark why it cannot be loaded.
# The argument is the folder of the plugins.
use strict;
use warnings;

use lib '/usr/share/perl5';
use FindBin ();
use POSIX ();
use Qpsmtpd::TcpServer;

my $folder = shift;
$0 = "$ENV{QPSMTPD_CONFIG}/../qpsmtpd";
$| = 1;
while (my $line = <STDIN>) {
    chomp $line;
    my $pid = fork;
    die "fork: $!\n" unless defined $pid;
    if ($pid) {
        waitpid $pid, 0;
        next;
    }
    # Plugins may write what they like.
    open my $out, '>&', \*STDOUT or die "standard output: $!\n";
    open STDOUT, '>&', \*STDERR or die "standard error: $!\n";
    my $server = Qpsmtpd::TcpServer->new;
    my $why = eval { $server->_load_plugin($line, $folder); 1 } ? undef : $@;
    my $hooks = join ' ', sort keys %{ $server->hooks };
    $hooks = '!' . ($why =~ /(.*)/)[0] if defined $why;
    syswrite $out, "$line\t$hooks\n";
    POSIX::_exit(0);
}
