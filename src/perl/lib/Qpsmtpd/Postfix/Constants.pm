# Flags and statuses of Postfix's cleanup, as in its global/cleanup_user.h.
#
# Replaces the Qpsmtpd::Postfix::Constants of Perl qpsmtpd, with what later releases of Postfix have.
package Qpsmtpd::Postfix::Constants;

use strict;
use warnings;

use Exporter 'import';

our $postfix_version = '3.7';

# The bits of each.
my (@FLAGS, @STATUSES);

BEGIN {
    @FLAGS = (
        NONE => [], BOUNCE => [0], FILTER => [1], HOLD => [2], DISCARD => [3], BCC_OK => [4], MAP_OK => [5],
        MILTER => [6], SMTP_REPLY => [7], SMTPUTF8 => [8], AUTOUTF8 => [9], FILTER_ALL => [1, 6],
        MASK_EXTERNAL => [1, 4, 5, 6], MASK_INTERNAL => [5], MASK_EXTRA => [2, 3],
    );
    @STATUSES = (
        OK => [], BAD => [0], WRITE => [1], SIZE => [2], CONT => [3], HOPS => [4], RCPT => [6], PROXY => [7],
        DEFER => [8], NOPERM => [9], MASK_CANT_BOUNCE => [0, 1, 8], MASK_INCOMPLETE => [0, 1, 2, 8],
    );
}

sub _named {
    my ($kind, %bits) = @_;
    return map {
        my $sum = 0;
        $sum |= 1 << $_ for @{ $bits{$_} };
        ("CLEANUP_${kind}_$_" => $sum);
    } keys %bits;
}

use constant { _named(FLAG => @FLAGS), _named(STAT => @STATUSES) };

# What to say to the client, by the name of a status: for now, and for good.
our %cleanup_soft = (
    CLEANUP_STAT_DEFER => 'service unavailable (#4.7.1)',
    CLEANUP_STAT_PROXY => 'queue file write error (#4.3.0)',
    CLEANUP_STAT_BAD   => 'internal protocol error (#4.3.0)',
    CLEANUP_STAT_WRITE => 'queue file write error (#4.3.0)',
);
our %cleanup_hard = (
    CLEANUP_STAT_RCPT   => 'no recipients specified (#5.1.0)',
    CLEANUP_STAT_HOPS   => 'too many hops (#5.4.0)',
    CLEANUP_STAT_SIZE   => 'message file too big (#5.3.4)',
    CLEANUP_STAT_CONT   => 'message content rejected (#5.7.1)',
    CLEANUP_STAT_NOPERM => 'service denied (#5.7.1)',
);

my %constants = (_named(FLAG => @FLAGS), _named(STAT => @STATUSES));
our @EXPORT = (qw(%cleanup_soft %cleanup_hard $postfix_version), sort keys %constants);

1;
