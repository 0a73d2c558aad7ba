# Qpsmtpd::TcpServer: whether there is IPv6.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Socket;
use Test::More;

use Qpsmtpd::TcpServer;

my $here = socket(my $socket, AF_INET6, SOCK_STREAM, 0) ? 1 : 0;
is Qpsmtpd::TcpServer::has_ipv6(), $here, 'a function';
is(Qpsmtpd::TcpServer->has_ipv6, $here, 'a method');
ok !main->can('has_ipv6'), 'nothing is exported';

done_testing;
