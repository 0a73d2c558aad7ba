# Qpsmtpd::Postfix: what cleanup is sent, and what it says.
use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use IO::Socket::UNIX;
use Test::More;

use Qpsmtpd::Address;
use Qpsmtpd::Header;
use Qpsmtpd::Postfix;
use Qpsmtpd::Postfix::Constants;

is CLEANUP_FLAG_MASK_EXTERNAL, CLEANUP_FLAG_FILTER_ALL | CLEANUP_FLAG_BCC_OK | CLEANUP_FLAG_MAP_OK, 'flags';
is CLEANUP_STAT_MASK_INCOMPLETE, 1 | 2 | 4 | 256, 'statuses';
for my $name (sort keys %cleanup_soft, keys %cleanup_hard) {
    ok(main->can($name)->(), "$name is a status with a text");
}

my $folder = File::Temp->newdir;
my $path = "$folder/cleanup";

# A cleanup that says $says and tells what it was sent.
sub cleanup {
    my ($says, $run) = @_;
    unlink $path;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!";
    my ($read, $write);
    pipe $read, $write or die;
    my $pid = fork;
    if (!$pid) {
        my $client = $listener->accept;
        syswrite $client, "queue_id\0ABC\0\0";
        my $sent = '';
        1 while $sent !~ /X\0E\0\z/ && sysread $client, $sent, 4096, length $sent;
        syswrite $client, $says;
        syswrite $write, $sent;
        require POSIX;
        POSIX::_exit(0);
    }
    close $write;
    my @result = $run->();
    my $sent = do { local $/; <$read> };
    waitpid $pid, 0;
    return ($sent, @result);
}

my $transaction = bless {
    notes => {'postfix-queue-sockets' => ["$folder/none", $path], 'postfix-queue-flags' => 6},
    lines => ["\n", "text\n", 'x' x 1500 . "\n", 'no end'],
}, 'Message';

my @warned;
local $SIG{__WARN__} = sub { push @warned, @_ };
{
    my ($sent, @result) = cleanup("status\0000\0reason\0fine\0\0", sub { Qpsmtpd::Postfix->inject_mail($transaction) });
    is_deeply \@result, [0, 'ABC', 'fine'], 'status, queue id, reason';
    like $sent, qr/\Aflags\0006\0\0T\x0a\d{10}S\x0da\@example\.netR\x0db\@example\.comR\x06c\@testM\0/, 'the envelope';
    my $message = join '', map { "N" . chr(length $_) . $_ } 'Subject: a', "\tb", '', 'text';
    like $sent, qr/M\0\Q$message\EL\x80\x08x{1024}N\xdc\x03x{476}N\x06no endX\0E\0\z/, 'the message';
    like "@warned", qr{no connection to $folder/none}, 'the first is not there';
}
my ($sent, $status) = cleanup("status\00064\0\0", sub { scalar Qpsmtpd::Postfix->inject_mail($transaction) });
is $status, 64, 'in scalar context the status';
(undef, my $failed) = cleanup('', sub { eval { Qpsmtpd::Postfix->inject_mail($transaction) }; $@ });
like $failed, qr/gave no status/, 'a cleanup that dies is no success';
$transaction->{notes}{'postfix-queue-sockets'} = [];
eval { Qpsmtpd::Postfix->inject_mail($transaction) };
like $@, qr/there is no cleanup/, 'none';
eval { Qpsmtpd::Postfix->print_rec(REC_TYPE_ODD => 'x') };
like $@, qr/there is no record/, 'a record that is none';

done_testing;

package Message;
sub notes { return $_[0]{notes}{ $_[1] } }
sub sender { return Qpsmtpd::Address->new('<a@example.net>') }
sub recipients { return map { Qpsmtpd::Address->new($_) } '<b@example.com>', '<c@test>' }
sub header { return Qpsmtpd::Header->received(["Subject: a\n\tb\n"]) }
sub body_resetpos { $_[0]{at} = 0 }
sub body_getline { return $_[0]{lines}[ $_[0]{at}++ ] }
