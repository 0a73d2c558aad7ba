# Qpsmtpd::Auth: the verdicts on passwords, and the encodings.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Auth;
use Qpsmtpd::Constants;

{
    package Plugin;
    our @logged;
    sub log { my ($self, @line) = @_; push @logged, \@line }
}

# Calls as a plugin of that name does.
#line 1 "/etc/plugins/auth_test"
sub verdict { @Plugin::logged = (); return Qpsmtpd::Auth::validate_password(bless({}, 'Plugin'), @_) }
#line 30 "auth.t"

my $ticket = '<1896.697170952@postoffice.reston.mci.net>';
my $answer = 'b913a602c7eda7a495b4e6e7334d3890';
my $secret = 'tanstaaftanstaaf';

# What is given, the verdict, the text and how the log line begins.
my @CASES = (
    [[method => 'plain', src_clear => 'x', attempt_clear => 'x'], OK, 'auth_test', 'pass'],
    [[method => 'login', src_clear => 'x', attempt_clear => 'y'], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'login', src_clear => 'x', attempt_clear => 'X'], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'login', src_clear => 'x', attempt_clear => ''],  DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'login', src_clear => 'x'],                       DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'login', src_clear => 'x', attempt_clear => 'y', deny => DECLINED], DECLINED, 'auth_test - wrong password', 'fail'],
    [[method => 'login', src_clear => 'x', attempt_clear => 'y', deny => undef], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'login', attempt_clear => 'y'], DENY, 'auth_test - no such user', 'fail'],
    [[method => 'login', src_clear => '', src_crypt => '', attempt_clear => ''], DENY, 'auth_test - no such user', 'fail'],
    [[method => 'login', attempt_clear => 'y', deny => DENYSOFT], DENYSOFT, 'auth_test - no such user', 'fail'],
    [[method => 'CRAM-MD5', src_clear => $secret, attempt_hash => $answer, ticket => $ticket], OK, 'auth_test', 'pass'],
    [[method => 'cram-md5', src_clear => 'other', attempt_hash => $answer, ticket => $ticket], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'cram-md5', src_clear => $secret, attempt_hash => $answer, ticket => 'other'], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'cram-md5', src_clear => $secret, attempt_hash => '', ticket => $ticket], DENY, 'auth_test - wrong password', 'fail'],
    [[method => 'cram-md5', src_clear => $secret, attempt_hash => $answer], DECLINED, 'auth_test', 'skip'],
    [[method => 'cram-md5', src_crypt => 'abMTYwD2z53TY', attempt_hash => $answer, ticket => $ticket], DECLINED, 'auth_test', 'skip'],
    [[method => 'plain', src_crypt => 'x', attempt_clear => 'x'], DENY, 'auth_test - wrong password', 'fail'],
);
my $crypted = crypt 'secret', '$6$abcdefgh$';
if (defined $crypted && $crypted =~ /^\$6\$/) {
    push @CASES,
      [[method => 'plain', src_crypt => $crypted, attempt_clear => 'secret'], OK, 'auth_test', 'pass'],
      [[method => 'plain', src_crypt => $crypted, attempt_clear => 'Secret'], DENY, 'auth_test - wrong password', 'fail'],
      [[method => 'plain', src_crypt => $crypted, attempt_clear => $crypted], DENY, 'auth_test - wrong password', 'fail'],
      [[method => 'plain', src_crypt => $crypted, src_clear => 'other', attempt_clear => 'secret'], OK, 'auth_test', 'pass'],
      [[method => 'plain', src_crypt => $crypted, src_clear => 'other', attempt_clear => 'other'], OK, 'auth_test', 'pass'];
}
for my $case (@CASES) {
    my ($given, $code, $text, $log) = @$case;
    is_deeply [verdict(@$given)], [$code, $text], join ' ', map { defined $_ ? $_ : 'undef' } @$given;
    is @Plugin::logged, 1, 'one line in the log';
    like $Plugin::logged[0][1], qr/^$log: /, 'says why';
    unlike $Plugin::logged[0][1], qr/\Q$secret\E|secret/, 'and no password';
}
my $plugin = bless {auth => {ticket => $ticket}}, 'Plugin';
my @given = (method => 'cram-md5', src_clear => $secret, attempt_hash => $answer);
is((Qpsmtpd::Auth::validate_password($plugin, @given))[0], OK, 'the plugin has the ticket');
ok !eval { verdict(src_clear => 'x', attempt_clear => 'x'); 1 }, 'the method must be given';

is(Qpsmtpd::Auth::e64("a\0b\0c"), 'YQBiAGM=', 'base64');
is(Qpsmtpd::Auth::e64('x' x 60), 'eHh4' x 20, 'in one line');
is(Qpsmtpd::Auth::decode_base64('YQBiAGM='), "a\0b\0c", 'and back');

# RFC 2202 2
is(Qpsmtpd::Auth::hmac_md5_hex('what do ya want for nothing?', 'Jefe'), '750c783e6ab0b503eaa86e310a5db738', 'HMAC-MD5');
is(Qpsmtpd::Auth::hmac_md5_hex('Hi There', "\x0b" x 16), '9294727a3638bb1c13f48ef8158bfc9d', 'with a key of bytes');
is(Qpsmtpd::Auth::hmac_md5_hex('Test Using Larger Than Block-Size Key - Hash Key First', "\xaa" x 80),
    '6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd', 'with a long key');

done_testing;
