# Prints what is in a file of Perl's AnyDBM_File: a line for each entry, key and value in hexadecimal
# digits with a blank between. The argument is the file as a program names it: it may be two on the disk.
use strict;
use warnings;
use Fcntl qw(:flock O_RDONLY);

my ($name) = @ARGV;
my ($file) = grep { -f } $name, "$name.pag", "$name.db" or die "no such file\n";

# Who writes holds this lock. A lock that cannot be opened is nobody's that is running.
my $lock;
if (open $lock, '<', "$name.lock") {
    local $SIG{ALRM} = sub { die "$name.lock: somebody holds this lock\n" };
    alarm 10;
    flock $lock, LOCK_SH or die "$name.lock: $!\n";
    alarm 0;
}

open my $octets, '<:raw', $file or die "$!\n";
read $octets, my $start, 16;
close $octets;
my %gdbm = map { $_ => 1 } 0x13579acd .. 0x13579ad1;
my @numbers = (unpack('V', $start), unpack('N', $start));
my @berkeley = length $start < 16 ? () : (unpack('x12V', $start), unpack('x12N', $start));
my ($class, @tied) =
    (grep { $_ == 0x061561 } @berkeley) ? ('DB_File', $file, O_RDONLY, 0)
    : (grep { $gdbm{$_} } @numbers) ? ('GDBM_File', $file, 0, 0)
    : $file eq "$name.pag" ? ('SDBM_File', $name, O_RDONLY, 0)
    : die "neither a Berkeley DB, nor one of GDBM, NDBM or SDBM\n";

eval "require $class; 1" or die "this Perl has no $class\n";
tie my %entries, $class, @tied or die "$class: $!\n";
while (my ($key, $value) = each %entries) {
    print unpack('H*', $key), ' ', unpack('H*', $value), "\n";
}
close STDOUT or die "$!\n";
