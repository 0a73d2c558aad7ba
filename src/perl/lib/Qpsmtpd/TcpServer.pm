# What plugins ask the Qpsmtpd::TcpServer of Perl qpsmtpd as a class: whether there is IPv6.
#
# Connections themselves are the daemon's.
package Qpsmtpd::TcpServer;

use strict;
use warnings;

use Socket ();

# 1 where sockets for IPv6 can be had here, else 0.
sub has_ipv6 {
    return socket(my $socket, Socket::AF_INET6(), Socket::SOCK_DGRAM(), 0) ? 1 : 0;
}

1;
