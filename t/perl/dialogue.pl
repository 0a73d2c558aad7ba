# One SMTP session with the Qpsmtpd modules of Perl qpsmtpd, on standard input and output, which are
# the client's socket. The argument is what the program is called: plugins look beside it.
use strict;
use warnings;

use lib '/usr/share/perl5';
use IO::Socket::INET;
use Qpsmtpd::TcpServer;

$0 = shift;
STDOUT->autoflush(1);
my $client = IO::Socket::INET->new_from_fd(0, 'r+') or die "standard input: $!\n";
my $server = Qpsmtpd::TcpServer->new;
$server->load_plugins;
$server->start_connection;
$server->run($client);
