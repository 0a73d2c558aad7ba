#!/usr/bin/perl
# Stands in for qmail-queue, as its manual describes it: reads a message from descriptor 0, then an
# envelope from descriptor 1, and has them in its queue when it exits with 0.  The queue is the
# folder "queue" beside it: mess/PID has the message, todo/PID the envelope.
#
# With a sender exit-N@... it exits with N, with kill@... it is killed, with hang@... it never ends.
# With a file "refuse" beside it, it reads nothing and exits with the number in that file.

use strict;
use warnings;
use Fcntl qw(:mode F_GETFL O_ACCMODE O_RDONLY);
use IO::Handle;

(my $home = $0) =~ s{[^/]*\z}{};
my $id = $$;

if (open my $refuse, '<', "${home}refuse") {
    print STDERR "no room\n";
    exit <$refuse> + 0;
}

open my $message,  '<&=', 0 or exit 54;
open my $envelope, '<&=', 1 or exit 54;
my @places;
for my $in ($message, $envelope) {
    S_ISFIFO((stat $in)[2]) or exit 54;
    (fcntl($in, F_GETFL, 0) & O_ACCMODE) == O_RDONLY or exit 54;
    push @places, (stat _)[1];
    binmode $in;
}
$places[0] != $places[1] or exit 54;

my $text = do { local $/; <$message> } // '';
my $who  = do { local $/; <$envelope> } // '';

# The manual: F, the sender, NUL; for each recipient T, the address, NUL; NUL, and nothing more.
my ($sender, $recipients) = $who =~ /\AF([^\0]*)\0((?:T[^\0]+\0)+)\0\z/ or exit 91;
length > 1003 and exit 11 for split /\0/, $recipients;
$sender =~ /\Aexit-(\d+)\@/ and exit $1;
$sender =~ /\Akill\@/ and kill 'KILL', $$;
$sender =~ /\Ahang\@/ and sleep;

keep("mess/$id", sprintf("Received: (qmail %d invoked by uid %d); x\n", $id, $<) . $text);
keep("todo/$id", $who);
exit 0;

sub keep {
    my ($name, $bytes) = @_;
    open my $out, '>', "${home}queue/$name" or exit 53;
    binmode $out;
    print {$out} $bytes or exit 53;
    $out->flush && $out->sync && close $out or exit 53;
}
