# What plugins, `$qp` and everything else has: addresses of hosts, home folders, names in the DNS.
#
# Replaces the Qpsmtpd::Base of Perl qpsmtpd. Net::DNS is loaded when a name is looked up first, or
# with the plugin that looks up names; a plugin that does not needs no such module.
package Qpsmtpd::Base;

use strict;
use warnings;

use Socket ();

# How long a name server may take, in seconds, where nobody says otherwise.
use constant TIMEOUT => 5;

sub new {
    my ($class) = @_;
    return bless {}, ref $class || $class;
}

# The path with ~ or ~user in front as the home folder. Where there is none it stays as it is.
sub tildeexp {
    my $path = $_[-1];
    my ($user, $rest) = defined $path ? $path =~ m{^~(.*?)(/.*|)\z}s : ();
    return $path unless defined $user;
    my @homes = length $user ? (getpwnam $user)[7] : (@ENV{qw(HOME LOGDIR)}, (getpwuid $>)[7]);
    my ($home) = grep { $_ } @homes;
    return defined $home ? $home . $rest : $path;
}

# --------------------------------------------------------------------------- IP addresses

# Whether an IP address, of either family, is this machine's own.
sub is_localhost {
    my ($ip) = $_[-1];
    return _family($ip) && $ip =~ /^(?:::ffff:)?127\.|^::1\z/i ? 1 : 0;
}

# Whether the text is an IP address, of either family, that a host can have.
sub is_valid_ip {
    my ($ip) = $_[-1];
    return _family($ip) && $ip !~ /^(?:0\.0\.0\.0|255\.255\.255\.255)\z/ ? 1 : 0;
}

sub is_ipv6 {
    my ($ip) = $_[-1];
    return _family($ip) == 6 ? 1 : 0;
}

# 4 or 6; 0 for what is no address.
sub _family {
    my ($ip) = @_;
    return 0 unless defined $ip && $ip =~ /^[0-9a-f:.]+\z/i;
    my $is_6 = $ip =~ /:/;
    my $family = $is_6 ? Socket::AF_INET6() : Socket::AF_INET();
    return !defined Socket::inet_pton($family, $ip) ? 0 : $is_6 ? 6 : 4;
}

# ------------------------------------------------------------------------------- the DNS

# The one resolver of this object; `timeout` is in seconds, and only the first caller's counts.
sub get_resolver {
    my ($self, %want) = @_;
    return $self->{_resolver} if $self->{_resolver};
    my $seconds = defined $want{timeout} ? $want{timeout} : TIMEOUT;
    my $resolver = _new_resolver();
    $resolver->$_($seconds) for qw(udp_timeout tcp_timeout);
    return $self->{_resolver} = $resolver;
}

# For many questions at once: undef and a warning where Net::DNS::Async is not installed. The
# arguments are that module's, and it does the waiting.
sub get_async_resolver {
    my ($self, %want) = @_;
    return $self->{_async_resolver} if $self->{_async_resolver};
    if (!eval { require Net::DNS::Async }) {
        warn "the Perl module Net::DNS::Async is not installed\n";
        return;
    }
    my $resolver = _new_resolver();
    $resolver->$_(0) for qw(udp_timeout tcp_timeout);
    my $many = Net::DNS::Async->new(%want);
    $many->{Resolver} = $resolver;
    return $self->{_async_resolver} = $many;
}

sub _new_resolver {
    eval { require Net::DNS } or die "the Perl module Net::DNS is not installed (libnet-dns-perl)\n";
    return Net::DNS::Resolver->new(dnsrch => 0);
}

# Record types, each with what plugins want of such a record.
my %WANTED = (A => 'address', AAAA => 'address', MX => 'exchange', NS => 'nsdname', PTR => 'ptrdname');

# resolve_a, resolve_aaaa, resolve_mx, resolve_ns and resolve_ptr: all that the name has of that
# type. resolve_ptr also takes an IP address.
for my $type (keys %WANTED) {
    my $part = $WANTED{$type};
    no strict 'refs';
    *{ 'resolve_' . lc $type } = sub {
        my ($self, $name) = @_;
        my $packet = $self->get_resolver->query($name, $type) or return;
        return map { $_->$part } grep { $_->type eq $type } $packet->answer;
    };
}

1;
