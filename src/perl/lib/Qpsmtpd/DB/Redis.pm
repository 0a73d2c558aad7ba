# A store in Redis: a database of its own for each plugin.  The database 0 says which is whose, in
# the hash smtpd_stores.
#
# Replaces the Qpsmtpd::DB::Redis of Perl qpsmtpd, for the same databases.  Needs the Perl module
# Redis.
package Qpsmtpd::DB::Redis;

use strict;
use warnings;

use Qpsmtpd::DB;

our @ISA = ('Qpsmtpd::DB');

# Marks a server whose database 0 is ours.
use constant MARK => '___smtpd_reserved___';

# The highest number of a database that is tried.
use constant LAST => 255;

# Arguments in pairs: name, and those of the module Redis, such as server.
sub new {
    my ($class, %arg) = @_;
    my $self = bless {}, $class;
    my $name = delete $arg{name};
    $self->name($name) if defined $name;
    $self->{redis_args} = \%arg;
    $self->init_db;
    return $self;
}

# Connects. A connection belongs to one process: two would read each other's answers.
sub init_redis {
    my ($self) = @_;
    eval { require Redis } or die "the Perl module Redis is not installed (libredis-perl)\n";
    @{$self}{qw(redis owner selected)} = (Redis->new(%{ $self->{redis_args} }), $$, 0);
    return $self->{redis};
}

sub init_db {
    my ($self) = @_;
    my $redis = $self->init_redis;
    return if $redis->get(MARK);
    die "the Redis database 0 has other things in it\n" if $redis->dbsize;
    $redis->set(MARK, 1);
}

# The connection, with a database selected: that of this number, or our own.
sub redis {
    my ($self, $index) = @_;
    $self->{redis} or die "there is no connection to Redis\n";
    $index = $self->index unless defined $index;
    $self->init_redis if defined $self->{owner} && $self->{owner} != $$;
    my $redis = $self->{redis};
    my $selected = $self->{selected};
    $redis->select($index) if !defined $selected || $selected != $index;
    # Where the connection is not of our making, others may select, too.
    $self->{selected} = $index if defined $self->{owner};
    return $redis;
}

# The number of our database: the one in the hash, else the first that is empty and nobody's.
sub index {
    my ($self) = @_;
    return $self->{index} if $self->{index};
    my %number_of = $self->redis(0)->hgetall('smtpd_stores');
    my $known = $number_of{ $self->name };
    return $self->{index} = $known if $known;
    my %taken = map { $_ => 1 } values %number_of;
    for my $number (grep { !$taken{$_} } 1 .. LAST) {
        next if $self->redis($number)->dbsize;
        $self->redis(0)->hset(smtpd_stores => $self->name, $number);
        return $self->{index} = $number;
    }
    die "Redis has no database left for '", $self->name, "'\n";
}

sub get {
    my ($self, $key) = @_;
    return unless $self->_has_key(get => $key);
    return $self->redis->get($key);
}

sub mget {
    my ($self, @keys) = @_;
    return unless $self->_has_key(mget => @keys);
    return $self->redis->mget(@keys);
}

sub set {
    my ($self, $key, $value) = @_;
    return unless $self->_has_key(set => $key);
    return $self->redis->set($key, $value);
}

# How many of these keys there were.
sub delete {
    my ($self, @keys) = @_;
    return unless $self->_has_key(delete => @keys);
    return $self->redis->del(@keys);
}

sub get_keys { return $_[0]->redis->keys('*') }
sub size { return $_[0]->redis->dbsize }
sub flush { return $_[0]->redis->flushdb }

1;
