# A store in a file NAME.dbm, of whatever kind this Perl has; what is in it is there from lock() to
# unlock() only.
#
# Replaces the Qpsmtpd::DB::File::DBM of Perl qpsmtpd, for the same files.
package Qpsmtpd::DB::File::DBM;

use strict;
use warnings;

# The order in which Perl qpsmtpd tries them: the file may be older than this program.
BEGIN { @AnyDBM_File::ISA = qw(DB_File GDBM_File NDBM_File SDBM_File ODBM_File) }
use AnyDBM_File;
use Fcntl qw(:flock O_CREAT O_RDWR);

use Qpsmtpd::DB;

our @ISA = ('Qpsmtpd::DB');

# For a lock over NFS, in seconds: how long to wait for it, and when its holder is taken for dead.
use constant { NFS_TIMEOUT => 10, NFS_STALE => 30 * 60 };

sub new {
    my ($class, %arg) = @_;
    return bless {%arg}, $class;
}

# -------------------------------------------------------------------------- lock and unlock

# Waits for others, opens the file and says 1; or warns and says nothing.
sub lock {
    my ($self) = @_;
    my $held = $self->nfs_locking ? $self->nfs_file_lock : $self->file_lock;
    return $held ? $self->tie_dbm : ();
}

sub file_lock {
    my ($self) = @_;
    my $file = $self->path . '.lock';
    my $opened = open my $lock, '>', $file;
    return _cannot("open $file") if !$opened;
    return _cannot("lock $file") if !flock $lock, LOCK_EX;
    return $self->{lock} = $lock;
}

sub nfs_file_lock {
    my ($self) = @_;
    require File::NFSLock;
    my $file = $self->path . '.lock';
    my $held = File::NFSLock->new({
        file => $file, lock_type => LOCK_EX | LOCK_NB,
        blocking_timeout => NFS_TIMEOUT, stale_lock_timeout => NFS_STALE,
    });
    return $held ? $self->{lock} = $held : _cannot("lock $file");
}

sub tie_dbm {
    my ($self) = @_;
    my $file = $self->path;
    my $tied = tie my %store, 'AnyDBM_File', $file, O_CREAT | O_RDWR, 0640;
    if (!$tied) {
        _cannot("open $file");
        $self->unlock;
        return;
    }
    $self->{tied} = \%store;
    return 1;
}

sub unlock {
    my ($self) = @_;
    my $store = delete $self->{tied};
    untie %$store if $store;
    # The file is written by now. A process that was forked meanwhile has the lock's handle as well.
    my $lock = delete $self->{lock};
    flock $lock, LOCK_UN if ref $lock eq 'GLOB';
    return 1;
}

sub nfs_locking {
    my ($self, @value) = @_;
    $self->{nfs_locking} = $value[0] if @value;
    return $self->{nfs_locking};
}

# ------------------------------------------------------------------------ keys and values

sub get {
    my ($self, $key) = @_;
    return unless $self->_has_key(get => $key);
    my $store = $self->_store('get') or return;
    return $store->{$key};
}

sub mget {
    my ($self, @keys) = @_;
    return unless $self->_has_key(mget => @keys);
    my $store = $self->_store('mget') or return;
    return map { $store->{$_} } @keys;
}

sub set {
    my ($self, $key, $value) = @_;
    return unless $self->_has_key(set => $key);
    my $store = $self->_store('set') or return;
    return $store->{$key} = $value;
}

# How many of these keys there were.
sub delete {
    my ($self, @keys) = @_;
    return unless $self->_has_key(delete => @keys);
    my $store = $self->_store('delete') or return;
    my @there = grep { exists $store->{$_} } @keys;
    delete $store->{$_} for @there;
    return scalar @there;
}

sub get_keys {
    my ($self) = @_;
    my $store = $self->_store('get_keys') or return;
    return keys %$store;
}

sub size {
    my ($self) = @_;
    my $store = $self->_store('size') or return;
    return scalar keys %$store;
}

sub flush {
    my ($self) = @_;
    my $store = $self->_store('flush') or return;
    %$store = ();
    return;
}

sub _store {
    my ($self, $method) = @_;
    return $self->{tied} if $self->{tied};
    warn "$method needs a lock first\n";
    return;
}

# -------------------------------------------------------------------------------- the file

sub path {
    my ($self) = @_;
    return $self->dir . '/' . $self->name . '.dbm';
}

# The folder: what was said with this method, else the first of candidate_dirs that will do.
sub dir {
    my ($self, $dir) = @_;
    if ($dir) {
        $self->validate_dir($dir);
        return $self->{dir} = $dir;
    }
    return $self->{dir} if $self->{dir};
    my @why;
    for my $candidate ($self->candidate_dirs) {
        next if !eval { $self->validate_dir($candidate) } && push @why, $@;
        $self->{dir} = $candidate;
        warn 'the store is ', $self->path, ': ', _list(@why), "\n" if @why;
        return $candidate;
    }
    die 'no folder for the store ', $self->name || '', ': ', _list(@why), "\n";
}

# Folders in front of the usual ones, var/db and config beside the plugins.
sub candidate_dirs {
    my ($self, @first) = @_;
    if (@first || !$self->{candidate_dirs}) {
        my $home = $self->qphome;
        $self->{candidate_dirs} = [@first, "$home/var/db", "$home/config"];
    }
    return @{ $self->{candidate_dirs} };
}

sub validate_dir {
    my (undef, $dir) = @_;
    my $why = !$dir ? 'is no name' : !-d $dir ? 'does not exist' : !-w _ ? 'cannot be written to' : undef;
    return 1 unless $why;
    die sprintf "the folder '%s' %s\n", defined $dir ? $dir : '', $why;
}

# The server's folder.
sub qphome {
    my ($home) = $0 =~ m{^(.*?)/[^/]+\z}s;
    return $home;
}

sub _list {
    my $list = join '; ', @_;
    $list =~ s/\n//g;
    return $list;
}

sub _cannot {
    my ($what) = @_;
    warn "cannot $what: $!\n";
    return;
}

1;
