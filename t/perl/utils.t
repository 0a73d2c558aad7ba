# Qpsmtpd::Utils: as functions and as methods.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Utils;

my $object = bless {}, 'Qpsmtpd::Utils';

my $root = (getpwnam 'root')[7];
my @paths = (
    ['~'                    => '/h'],
    ['~/x'                  => '/h/x'],
    ['~root/x'              => defined $root ? "$root/x" : '~root/x'],
    ['~no-such-user-here/x' => '~no-such-user-here/x'],
    ['x~'                   => 'x~'],
    ['a/~/b'                => 'a/~/b'],
    ['/x'                   => '/x'],
    [''                     => ''],
);
for my $case (@paths) {
    my ($path, $expanded) = @$case;
    local $ENV{HOME} = '/h';
    is Qpsmtpd::Utils::tildeexp($path), $expanded, "'$path'";
    is(Qpsmtpd::Utils->tildeexp($path), $expanded, 'of the class');
    is $object->tildeexp($path), $expanded, 'of an object';
    is $path, $case->[0], 'leaves its argument alone';
}
{
    local $ENV{HOME};
    local $ENV{LOGDIR} = '/l';
    is Qpsmtpd::Utils::tildeexp('~/x'), '/l/x', 'LOGDIR';
    delete $ENV{LOGDIR};
    my $home = (getpwuid $>)[7];
    is Qpsmtpd::Utils::tildeexp('~/x'), defined $home ? "$home/x" : '~/x', 'the account';
}

for my $ip (qw(127.0.0.1 127.0.0.2 127.255.255.255 ::1 ::ffff:127.0.0.1 ::FFFF:127.1.2.3)) {
    is $object->is_localhost($ip), 1, "$ip is here";
    is Qpsmtpd::Utils::is_localhost($ip), 1, 'as a function';
}
for my $ip (qw(128.0.0.1 ::2 1.127.0.0 2001:db8::127.0.0.1 ::127.0.0.1 127.0.0 127.evil.test localhost), '', undef) {
    is $object->is_localhost($ip), 0, (defined $ip ? "'$ip'" : 'undef') . ' is not';
}
is $object->is_localhost("127.0.0.1\n"), 0, 'a line is no address';

for my $ip (qw(1.2.3.4 1.0.0.0 254.254.254.254 10.255.0.1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff :: ::1 ::FFFF:1.2.3.4)) {
    is $object->is_valid_ip($ip), 1, "$ip is valid";
}
for my $ip (qw(0.0.0.0 255.255.255.255 1.2.3.256 256.1.1.1 1.2.3 1.2.3.4.5 2001:db8:ffff:ffff:ffff:ffff:ffff:fffj 1:2 fe80::1%eth0 a.b.c.d), '', undef) {
    is $object->is_valid_ip($ip), 0, (defined $ip ? "'$ip'" : 'undef') . ' is not';
}

done_testing;
