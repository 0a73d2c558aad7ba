# Qpsmtpd::DB: stores for plugins, in files and, against a stand-in, in Redis.
use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::DB;
use Qpsmtpd::DB::File::DBM;
use Qpsmtpd::Plugin;

my $folder = File::Temp->newdir;
my @warned;
local $SIG{__WARN__} = sub { push @warned, @_ };

sub warned_of {
    my ($what, $name) = @_;
    like join('', splice @warned), $what, $name;
}

subtest 'which class' => sub {
    local @Qpsmtpd::DB::child_classes = qw(Bad::One Bad::Two Good);
    isa_ok(Qpsmtpd::DB->new(name => 'x'), 'Good', 'the first that can be made');
    isa_ok(Qpsmtpd::DB->new(class => 'Good'), 'Good', 'the one that is named');
    is(eval { Qpsmtpd::DB->new(class => 'Bad::One') }, undef, 'and no other');
    like $@, qr/no store can be used\nBad::One: one is bad/, 'the reason';
    @Qpsmtpd::DB::child_classes = qw(Bad::One No::Such::Class);
    is(eval { Qpsmtpd::DB->new }, undef, 'none');
    like $@, qr/Bad::One: one is bad\n.*No::Such::Class: Can't locate/s, 'all reasons';
    my $store = Good->new;
    is_deeply [$store->lock, $store->unlock, $store->name('n'), $store->name], [1, 1, 'n', 'n'], 'what all have';
};

subtest 'a file' => sub {
    my $store = Qpsmtpd::DB::File::DBM->new(name => 'mine', dir => "$folder");
    is $store->path, "$folder/mine.dbm", 'path';
    is $store->get('a'), undef, 'not without a lock';
    warned_of qr/get needs a lock/, 'says so';
    is $store->lock, 1, 'lock';
    is $store->set(a => 1), 1, 'set';
    $store->set($_ => "is $_") for qw(b c d);
    is_deeply [$store->get('a'), $store->mget(qw(d b x))], [1, 'is d', 'is b', undef], 'get and mget';
    is $store->size, 4, 'size';
    is_deeply [$store->delete(qw(a x b)), $store->delete('x')], [2, 0], 'delete';
    is_deeply [sort $store->get_keys], [qw(c d)], 'get_keys';
    $store->unlock;
    my $other = Qpsmtpd::DB::File::DBM->new(name => 'mine', dir => "$folder");
    $other->lock;
    is $other->get('c'), 'is c', 'it lasts';
    $other->flush;
    is $other->size, 0, 'flush';
    $other->unlock;
    $store->lock;
    for my $method (qw(get set mget delete)) {
        is_deeply [$store->$method], [], "$method without a key";
        warned_of qr/$method needs a key/, 'says so';
    }
    $store->unlock;
};

subtest 'one at a time' => sub {
    my @stores = map { Qpsmtpd::DB::File::DBM->new(name => 'shared', dir => "$folder") } 1 .. 2;
    $stores[0]->lock;
    pipe my $read, my $write or die;
    my $pid = fork;
    if (!$pid) {
        $stores[1]->lock;
        syswrite $write, $stores[1]->get('who') || 'nobody';
        $stores[1]->unlock;
        require POSIX;
        POSIX::_exit(0);
    }
    $stores[0]->set(who => 'the first');
    $stores[0]->unlock;
    sysread $read, my $seen, 100;
    waitpid $pid, 0;
    is $seen, 'the first', 'the second has waited';
};

subtest 'the folder' => sub {
    local $0 = "$folder/qpsmtpd";
    my $store = Qpsmtpd::DB::File::DBM->new(name => 'x');
    is $store->qphome, "$folder", 'the program\'s';
    my @usual = ("$folder/var/db", "$folder/config");
    is_deeply [$store->candidate_dirs], \@usual, 'the usual ones';
    is_deeply [$store->candidate_dirs("$folder/a")], ["$folder/a", @usual], 'one in front';
    is_deeply [$store->candidate_dirs], ["$folder/a", @usual], 'which is remembered';
    is(eval { $store->dir }, undef, 'none of them is there');
    like $@, qr{no folder for the store x: the folder '$folder/a' does not exist; }, 'the reason';
    mkdir "$folder/config" or die;
    is $store->dir, "$folder/config", 'the last';
    warned_of qr{the store is $folder/config/x.dbm: }, 'says why not the first';
    is(eval { $store->dir('/no/such') }, undef, 'one that is not there');
    is $store->dir("$folder"), "$folder", 'one that is';
    is(eval { $store->validate_dir('') }, undef, 'a folder needs a name');
};

subtest 'of a plugin' => sub {
    my $plugin = Owner->new;
    is_deeply {$plugin->db_args}, {name => 'owner', cnx_timeout => 1}, 'what it is made with';
    is_deeply {$plugin->db_args(name => 'n', x => 1)}, {name => 'n', x => 1, cnx_timeout => 1}, 'arguments';
    is_deeply {$plugin->db_args}, {name => 'n', x => 1, cnx_timeout => 1}, 'are remembered';
    is(eval { $plugin->db('odd') }, undef, 'arguments are pairs');
    my $store = Owner->new->db(class => 'Good');
    is $store->name, 'owner', 'the name is the plugin\'s';
    is $plugin->db(class => 'Good'), $plugin->db, 'there is one';
};

subtest 'Redis' => sub {
    local $INC{'Redis.pm'} = __FILE__;
    my %server = (0 => {}, 2 => {theirs => 1});
    my $store = Qpsmtpd::DB->new(class => 'Qpsmtpd::DB::Redis', name => 'one', server => \%server);
    is $server{0}{___smtpd_reserved___}, 1, 'the database 0 is marked';
    $store->set(k => 'v');
    is_deeply $server{1}, {k => 'v'}, 'the first that is free';
    is_deeply $server{0}{smtpd_stores}, {one => 1}, 'and noted';
    my $other = Qpsmtpd::DB::Redis->new(name => 'two', server => \%server);
    $other->set(a => 1);
    is_deeply $server{3}, {a => 1}, 'not one with other things in it';
    is_deeply [$other->get('a'), $other->mget(qw(a b)), $other->size], [1, 1, undef, 1], 'get, mget, size';
    is_deeply [$other->get_keys], ['a'], 'get_keys';
    is_deeply [$other->delete(qw(a b)), $other->flush], [1, 1], 'delete, flush';
    my $again = Qpsmtpd::DB::Redis->new(name => 'one', server => \%server);
    is $again->get('k'), 'v', 'known by its name';
    my $before = $Redis::connections;
    $again->{owner} = 0;
    is_deeply [$again->get('k'), $Redis::connections - $before], ['v', 1], 'a process connects for itself';
    is(eval { Qpsmtpd::DB::Redis->new(server => {0 => {x => 1}}) }, undef, 'a server that is another\'s');
};

done_testing;

package Bad::One;
sub new { die "one is bad\n" }

package Bad::Two;
sub new { die "two is bad\n" }

package Good;
our @ISA;
BEGIN { @ISA = ('Qpsmtpd::DB') }
sub new { my ($class, %arg) = @_; return bless {%arg}, $class }

package Owner;
BEGIN { our @ISA = ('Qpsmtpd::Plugin') }
sub plugin_name { return 'owner' }

package Redis;
our $connections;
sub new { my ($class, %arg) = @_; $connections++; return bless {all => $arg{server}, at => 0}, $class }
sub here { return $_[0]{all}{ $_[0]{at} } ||= {} }
sub select { $_[0]{at} = $_[1] }
sub dbsize { return scalar keys %{ $_[0]->here } }
sub get { return $_[0]->here->{ $_[1] } }
sub set { return $_[0]->here->{ $_[1] } = $_[2] }
sub mget { my ($self, @keys) = @_; return @{ $self->here }{@keys} }
sub del { my ($self, @keys) = @_; return scalar grep { defined delete $self->here->{$_} } @keys }
sub keys { return keys %{ $_[0]->here } }
sub flushdb { %{ $_[0]->here } = (); return 1 }
sub hgetall { return %{ $_[0]->here->{ $_[1] } || {} } }
sub hset { $_[0]->here->{ $_[1] }{ $_[2] } = $_[3] }
