# The numbers by which plugins and the daemon talk about verdicts and log levels.
#
# Replaces the Qpsmtpd::Constants of Perl qpsmtpd: the same names and numbers, exported into whoever
# says `use Qpsmtpd::Constants`. Where several names share a number, return_code() and log_level()
# always give the same one of them.
package Qpsmtpd::Constants;

use strict;
use warnings;

use Exporter 'import';

# Pairs and not hashes: the first name that fits is the one that is told.
my (@CODES, @LEVELS);

BEGIN {
    @CODES = (
        [DECLINED            => 909],
        [DENY                => 901],
        [DENYSOFT            => 902],
        [DENY_DISCONNECT     => 903],
        [DENYHARD            => 903],
        [DENYSOFT_DISCONNECT => 904],
        [DONE                => 910],
        [YIELD               => 911],
        [CONTINUATION        => 911],
        [OK                  => 900],
    );
    @LEVELS = (
        [LOGEMERG  => 0],
        [LOGRADAR  => 0],
        [LOGALERT  => 1],
        [LOGCRIT   => 2],
        [LOGERROR  => 3],
        [LOGWARN   => 4],
        [LOGNOTICE => 5],
        [LOGINFO   => 6],
        [LOGDEBUG  => 7],
    );
}

use constant { map { @$_ } @CODES, @LEVELS };

our @EXPORT = (qw(return_code log_level), map { $_->[0] } @CODES, @LEVELS);

# The number of a verdict's name, or the name of its number.
sub return_code { return _other_form($_[0], @CODES) }

# The number of a log level's name, or the name of its number.
sub log_level { return _other_form($_[0], @LEVELS) }

# An unknown name is undef, an unknown number the empty string. Digits that only occur in a number
# count as that number: plugins return 0 or 1 and it has always been taken as a verdict.
sub _other_form {
    my ($asked, @pairs) = @_;
    return undef unless defined $asked;
    if ($asked =~ /^\d+$/) {
        my ($name) = map { $_->[0] } grep { index($_->[1], $asked) >= 0 } @pairs;
        return defined $name ? $name : '';
    }
    my ($number) = map { $_->[1] } grep { $_->[0] eq $asked } @pairs;
    return $number;
}

1;
