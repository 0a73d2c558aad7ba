# Qpsmtpd::Base: addresses of hosts, and names in the DNS where Net::DNS is installed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd;
use Qpsmtpd::Address;
use Qpsmtpd::Base;
use Qpsmtpd::Plugin;
use Qpsmtpd::Transaction;

my @methods = qw(
    tildeexp is_localhost is_valid_ip is_ipv6 get_resolver get_async_resolver resolve_a resolve_aaaa
    resolve_mx resolve_ns resolve_ptr
);
can_ok $_, @methods for qw(Qpsmtpd::Base Qpsmtpd::Plugin Qpsmtpd Qpsmtpd::Transaction);

my $base = Qpsmtpd::Base->new;
for my $ip (qw(:: ::1 2001:db8::1 ::ffff:192.0.2.1)) {
    is $base->is_ipv6($ip), 1, "$ip is IPv6";
}
for my $ip (qw(192.0.2.1 1:2 ::g x), '', undef) {
    is $base->is_ipv6($ip), 0, (defined $ip ? "'$ip'" : 'undef') . ' is not';
}

{
    local @INC;
    delete local @INC{qw(Net/DNS.pm Net/DNS/Async.pm)};
    eval { Qpsmtpd::Base->new->resolve_a('a.test') };
    like $@, qr/Net::DNS is not installed/, 'says what is missing';
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    is $base->get_async_resolver, undef, 'many questions at once need another module';
    like "@warned", qr/Net::DNS::Async is not installed/, 'which the warning names';
}

SKIP: {
    skip 'needs Net::DNS', 1 unless eval { require Net::DNS };
    my $resolver = $base->get_resolver(timeout => 7);
    is $resolver->udp_timeout, 7, 'timeout';
    is $base->get_resolver(timeout => 8), $resolver, 'there is one resolver';
    is(Qpsmtpd::Base->new->get_resolver->tcp_timeout, 5, 'timeout where none is said');

    # A zone for one name: each type has one answer, and one of another type.
    my %zone = (
        A => 'a.test. 60 A 192.0.2.1', AAAA => 'a.test. 60 AAAA 2001:db8::1', MX => 'a.test. 60 MX 10 mx.test.',
        NS => 'a.test. 60 NS ns.test.', PTR => '1.2.0.192.in-addr.arpa. 60 PTR a.test.',
    );
    no warnings qw(redefine once);
    local *Net::DNS::Resolver::query = sub {
        my ($self, $name, $type) = @_;
        return if $name eq 'none.test';
        my $packet = Net::DNS::Packet->new($name, $type);
        $packet->push(answer => map { Net::DNS::RR->new($_) } 'a.test. 60 CNAME b.test.', $zone{$type});
        return $packet;
    };
    my %wanted = (a => '192.0.2.1', aaaa => '2001:db8:0:0:0:0:0:1', mx => 'mx.test', ns => 'ns.test', ptr => 'a.test');
    for my $type (sort keys %wanted) {
        my $method = "resolve_$type";
        is_deeply [$base->$method($type eq 'ptr' ? '192.0.2.1' : 'a.test')], [$wanted{$type}], $method;
        is_deeply [$base->$method('none.test')], [], "$method of nothing";
    }
}

done_testing;
