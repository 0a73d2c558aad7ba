# Small helpers that plugins borrow, as functions or as methods of a class or an object.
#
# Replaces the Qpsmtpd::Utils of Perl qpsmtpd, with what later releases put beside tildeexp.
package Qpsmtpd::Utils;

use strict;
use warnings;

use Socket ();

# The path with ~ or ~user in front as the home folder. Where there is none it stays as it is.
sub tildeexp {
    my $path = $_[-1];
    my ($user, $rest) = defined $path ? $path =~ m{^~(.*?)(/.*|)\z}s : ();
    return $path unless defined $user;
    my @homes = length $user ? (getpwnam $user)[7] : (@ENV{qw(HOME LOGDIR)}, (getpwuid $>)[7]);
    my ($home) = grep { $_ } @homes;
    return defined $home ? $home . $rest : $path;
}

# Whether an IP address, of either family, is this machine's own.
sub is_localhost {
    my ($ip) = $_[-1];
    return is_valid_ip($ip) && $ip =~ /^(?:::ffff:)?127\.|^::1\z/i ? 1 : 0;
}

# Whether the text is an IP address of either family.
sub is_valid_ip {
    my ($ip) = $_[-1];
    return 0 unless defined $ip && $ip =~ /^[0-9a-f:.]+\z/i;
    my $family = $ip =~ /:/ ? Socket::AF_INET6() : Socket::AF_INET();
    return defined Socket::inet_pton($family, $ip) ? 1 : 0;
}

1;
