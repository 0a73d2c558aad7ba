# Qpsmtpd::Constants: the names and numbers of Perl qpsmtpd.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Constants;

my %code = (
    OK => 900, DENY => 901, DENYSOFT => 902, DENYHARD => 903, DENY_DISCONNECT => 903,
    DENYSOFT_DISCONNECT => 904, DECLINED => 909, DONE => 910, CONTINUATION => 911, YIELD => 911,
);
my %level = (
    LOGDEBUG => 7, LOGINFO => 6, LOGNOTICE => 5, LOGWARN => 4, LOGERROR => 3, LOGCRIT => 2,
    LOGALERT => 1, LOGEMERG => 0, LOGRADAR => 0,
);

is_deeply [sort @Qpsmtpd::Constants::EXPORT], [sort keys %code, keys %level, qw(return_code log_level)], 'exports';
for my $name (sort keys %code) {
    is(main->can($name)->(), $code{$name}, $name);
    is prototype("main::$name"), '', 'is a constant';
    is return_code($name), $code{$name}, 'by its name';
    is $code{return_code($code{$name})}, $code{$name}, 'and back';
    is log_level($name), undef, 'is no level';
}
for my $name (sort keys %level) {
    is(main->can($name)->(), $level{$name}, $name);
    is log_level($name), $level{$name}, 'by its name';
    is $level{log_level($level{$name})}, $level{$name}, 'and back';
    is return_code($name), undef, 'is no verdict';
}
for my $number (0, 1, 2, 9, 90) {
    isnt return_code($number), '', "$number is a part of a number";
}
for my $number (5, 99, 905, 912, 1000) {
    is return_code($number), '', "$number is none";
}
is return_code(903), 'DENY_DISCONNECT', 'one of two names';
is return_code(911), 'YIELD',           'always the same';
is log_level(0),     'LOGEMERG',        'here too';
is log_level(8),     '',                'no level';
for my $text (undef, '', 'deny', 'OK ', '-1', '9 ') {
    is_deeply [return_code($text), log_level($text)], [undef, undef], 'no name';
}

done_testing;
