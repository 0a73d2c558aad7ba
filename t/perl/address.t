# Qpsmtpd::Address: what is read, how it is written, compared and sorted.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Address;

# Path, user, host; and the path that is written, where that differs.
my @GOOD = (
    ['<>', '', undef],
    ['<postmaster>', 'postmaster', undef],
    ['<PostMaster>', 'postmaster', undef, '<postmaster>'],
    ['<a@b>', 'a', 'b'],
    ['<A.b@C.Example>', 'A.b', 'C.Example'],
    ['<a@1.2.3.4>', 'a', '1.2.3.4'],
    ['<a@my_host._x.test>', 'a', 'my_host._x.test'],
    ['<a@xn--bcher-kva.example>', 'a', 'xn--bcher-kva.example'],
    ['<!#$%&\'*+-/=?^_`{|}~@b.test>', '!#$%&\'*+-/=?^_`{|}~', 'b.test'],
    ['<a..b@x>', 'a..b', 'x'],
    ['<a.@x>', 'a.', 'x'],
    ['<".a"@x>', '.a', 'x', '<.a@x>'],
    ['<a b@x>', 'a b', 'x', '<"a\\ b"@x>'],
    ['<a@b@x>', 'a@b', 'x', '<"a\\@b"@x>'],
    ['<a<b>@x>', 'a<b>', 'x', '<"a\\<b\\>"@x>'],
    ['<a"b@x>', 'a"b', 'x', '<"a\\"b"@x>'],
    ['<"a b"@x>', 'a b', 'x', '<"a\\ b"@x>'],
    ['<"a\\ b"@x>', 'a b', 'x'],
    ['<"a@b"@x>', 'a@b', 'x', '<"a\\@b"@x>'],
    ['<"a\\"b\\\\c"@x>', 'a"b\\c', 'x'],
    ['<"plain"@x>', 'plain', 'x', '<plain@x>'],
    ['<"\\p\\l"@x>', 'pl', 'x', '<pl@x>'],
    ['<"<>,:;[]()"@x>', '<>,:;[]()', 'x', '<"\\<\\>\\,\\:\\;\\[\\]\\(\\)"@x>'],
    ['<""@x>', '', 'x'],
    ['<@r.test:a@b.test>', 'a', 'b.test', '<a@b.test>'],
    ['<@r1.test,@r2.test:a@b.test>', 'a', 'b.test', '<a@b.test>'],
    ['<@[IPv6:::1],@[127.0.0.1]:a@b.test>', 'a', 'b.test', '<a@b.test>'],
    ['<@r.test:"a:b"@b.test>', 'a:b', 'b.test', '<"a\\:b"@b.test>'],
    ['<@r.test:postmaster>', 'postmaster', undef, '<postmaster>'],
    ['<@r.test:>', '', undef, '<>'],
    ['<a@[127.0.0.1]>', 'a', '[127.0.0.1]'],
    ['<a@[ipv6:2001:DB8::1]>', 'a', '[ipv6:2001:DB8::1]'],
    ['<a@[IPv6:::ffff:192.0.2.1]>', 'a', '[IPv6:::ffff:192.0.2.1]'],
    ['<a@[x-tag:a@b!c:d]>', 'a', '[x-tag:a@b!c:d]'],
    ["<m\xc3\xbcl\@b\xc3\xbccher.example>", "m\xc3\xbcl", "b\xc3\xbccher.example"],
    ["<\xc3\xbc\@x>", "\xc3\xbc", 'x'],
    ["<\"\xc3\xbc e\"\@x>", "\xc3\xbc e", 'x', "<\"\xc3\xbc\\ e\"\@x>"],
    ["<a\xffb\@x>", "a\xffb", 'x', "<\"a\\\xffb\"\@x>"],
);

my @BAD = (
    '<a>', '<a@>', '<@b>', '<a@-b>', '<a@b->', '<a@b.>', '<a@.b>', '<a@b..c>', '<a@b c>', '<a@b!c>', '<a@b,c>',
    '<.a@b>', '< a@b>', '<a@b >', '<<a@b>>', '<"a@b>', '<"a"b@c>', '<a@[]>', '<a@[1.2.3]>', '<a@[IPv6:::1>',
    '<@a,b:c@d>', '<a b c>', '<a@user@>',
    (map { my $c = $_; ("<a${c}b\@x>", "<${c}a\@x>", "<a\@x${c}y>", "<a\@x$c>", qq(<"a$c"\@x>), qq(<"a\\$c"\@x>), "<$c>") }
      "\0", "\t", "\n", "\r", "\x1b", "\x7f"),
    "<a\@b>\n",
);

for my $case (@GOOD) {
    my ($path, $user, $host, $written) = @$case;
    $written = $path unless defined $written;
    my $address = Qpsmtpd::Address->new($path) or fail($path), next;
    is_deeply [$address->user, $address->host], [$user, $host], $path;
    is $address->format,  $written, 'written';
    is "$address",        $written, 'the same as a string';
    is $address->address, $user . (defined $host ? "\@$host" : ''), 'without quoting';
    is_deeply [(Qpsmtpd::Address->canonify($path))[0, 1]], [$user, $host], 'canonify';
    is scalar(Qpsmtpd::Address->canonify($path)), $user, 'in scalar context';
    ok $address eq $path, 'equals its path';
    is(Qpsmtpd::Address->parse($written)->user, $user, 'and back') unless $written =~ /^<[.]/;
}

for my $path (@BAD) {
    (my $name = $path) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    is(Qpsmtpd::Address->new($path), undef, $name);
    my ($user, $host, $why) = Qpsmtpd::Address->canonify($path);
    is_deeply [$user, $host], [undef, undef], 'canonify';
    like $why, qr/^no /, 'why';
    my $address = Qpsmtpd::Address->new('<a@b.test>');
    ok !($address eq $path) && !($path eq $address), 'comparing with it is safe';
}
is_deeply [(Qpsmtpd::Address->canonify($_))[0, 1]], [undef, undef], 'no path' for undef, '', 'a@b', '<a@b', 'a@b>';

subtest 'without brackets' => sub {
    my @cases = (
        ['a@b.c' => 'a', 'b.c'], ['a@b@c' => 'a@b', 'c'], ['a b@c' => 'a b', 'c'], ['@' => '', ''],
        ['a' => undef, undef], ['' => undef, undef], ['postmaster' => undef, undef],
    );
    for my $case (@cases) {
        my ($text, $user, $host) = @$case;
        my $address = Qpsmtpd::Address->new($text);
        is_deeply [$address->user, $address->host], [$user, $host], "'$text'";
    }
    is_deeply(Qpsmtpd::Address->new(undef), bless({_user => undef, _host => undef}, 'Qpsmtpd::Address'), 'undef');
    is(Qpsmtpd::Address->new(undef)->format, '<>', 'is the null sender');
};

subtest 'two arguments' => sub {
    my @cases = (
        [['u', 'h'] => '<u@h>'], [['a b', 'h'] => '<"a\\ b"@h>'], [['u@v', 'h'] => '<"u\\@v"@h>'],
        [[undef, 'h'] => '<>'], [['0', '0'] => '<0@0>'], [['<a@b>', 'h'] => '<a@b>'],
        [["u\nv\0", "h\r\n"] => '<uv@h>'],
    );
    for my $case (@cases) {
        my ($given, $written) = @$case;
        is(Qpsmtpd::Address->new(@$given)->format, $written, $written);
    }
};

subtest 'setting' => sub {
    my $address = Qpsmtpd::Address->new('<a@b>');
    is $address->user('c d'), 'c d', 'user';
    is $address->host('e'),   'e',   'host';
    is "$address", '<"c\\ d"@e>', 'both';
    is $address->user("x\n"), 'x', 'no control characters';
    is $address->user(undef), 'x', 'undef asks';
    is $address->address('f@g'),   'f@g', 'address';
    is $address->address('<h@i>'), 'h@i', 'with brackets';
    is "$address", '<h@i>', 'is set';
    is $address->address('none'), '', 'what is no address';
    is "$address", '<>', 'makes it null';
    is $address->notes('k'), undef, 'no note';
    is $address->notes('k', 5), 5, 'a note';
    is $address->notes('k'), 5, 'is kept';
    is $address->notes('k', undef), undef, 'undef is a value';
    is $address->notes('k'), undef, 'and kept';
};

subtest 'order' => sub {
    my @sorted = qw(<> <a@b.co> <A@b.com> <a@b.com> <b@b.com> <postmaster> <a@z.org>);
    my @given  = map { Qpsmtpd::Address->new($_) } sort @sorted;
    is_deeply [map { "$_" } sort { $a cmp $b } @given], [qw(<> <a@b.co> <A@b.com> <a@b.com> <b@b.com> <postmaster> <a@z.org>)],
      'by host and then by user';
    my $address = Qpsmtpd::Address->new('<a@b.com>');
    ok $address eq 'a@b.com', 'equals a string';
    ok 'a@b.com' eq $address, 'from either side';
    ok $address ne '<A@b.com>', 'case counts';
    is $address cmp '<b@b.com>', -1, 'before';
    is '<b@b.com>' cmp $address, 1,  'after';
    ok !($address eq undef), 'undef is the null sender';
    ok(Qpsmtpd::Address->new('<>') eq undef, 'which it equals');
};

subtest 'what a site may set' => sub {
    {
        local $Qpsmtpd::Address::address_literal_expr = '';
        is(Qpsmtpd::Address->new('<a@[1.2.3.4]>'), undef, 'no literals');
        ok(Qpsmtpd::Address->new('<a@b.c>'), 'but domains');
    }
    local $Qpsmtpd::Address::domain_expr = '[a-z]+\.test';
    is(Qpsmtpd::Address->new('<a@b.c>'), undef, 'domains');
    ok(Qpsmtpd::Address->new('<a@b.test>'), 'of its own');
    local $Qpsmtpd::Address::atom_expr = 'x+';
    is(Qpsmtpd::Address->new('<a@b.test>'), undef, 'local parts');
    ok(Qpsmtpd::Address->new('<x@b.test>'), 'of its own');
};

subtest 'config and UTF-8' => sub {
    {
        package Session;
        sub config { my ($self, @asked) = @_; return "@asked" }
    }
    my $address = Qpsmtpd::Address->new('<a@b>');
    is $address->config('x'), undef, 'no session, no setting';
    my $session = bless {}, 'Session';
    is $address->qp($session), $session, 'a session';
    is $address->config('x'), 'x <a@b>', 'is asked for this address';
    undef $session;
    is $address->qp, undef, 'and is not kept alive';
    is $address->has_utf8, 0, 'ASCII';
    is(Qpsmtpd::Address->new("<a\@\xc3\xbc>")->has_utf8, 1, 'UTF-8');
    is(Qpsmtpd::Address->new('<>')->has_utf8, 0, 'nothing');
};

done_testing;
