# Small helpers that plugins borrow, as functions or as methods of a class or an object.
#
# Replaces the Qpsmtpd::Utils of Perl qpsmtpd 0.94; later releases have these in Qpsmtpd::Base.
package Qpsmtpd::Utils;

use strict;
use warnings;

use Qpsmtpd::Base;

no strict 'refs';
*$_ = \&{"Qpsmtpd::Base::$_"} for qw(tildeexp is_localhost is_valid_ip is_ipv6);

1;
