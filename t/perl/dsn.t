# Qpsmtpd::DSN: every status with its defaults, a code and a text.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Constants;
use Qpsmtpd::DSN;

# Of each, the code and the answer without arguments.
my %DEFAULT = map { my ($name, $code, $text) = /^(\S+) (\S+) (.+)$/ or die; ($name => [return_code($code), $text]) }
  grep { /\S/ } split /\n/, <<'END';
unspecified DENYSOFT Other or Undefined Status (#4.0.0)
addr_unspecified DENYSOFT Other address status. (#4.1.0)
addr_bad_dest_mbox DENY Bad destination mailbox address. (#5.1.1)
no_such_user DENY No such user (#5.1.1)
addr_bad_dest_system DENY Bad destination system address. (#5.1.2)
addr_bad_dest_syntax DENY Bad destination mailbox address syntax. (#5.1.3)
addr_dest_ambigous DENYSOFT Destination mailbox address ambiguous. (#4.1.4)
addr_rcpt_ok OK Destination address valid. (#2.1.5)
addr_mbox_moved DENY Destination mailbox has moved, No forwarding address. (#5.1.6)
addr_bad_from_syntax DENY Bad sender's mailbox address syntax. (#5.1.7)
addr_bad_from_system DENY Bad sender's system address. (#5.1.8)
mbox_unspecified DENYSOFT Other or undefined mailbox status. (#4.2.0)
mbox_disabled DENY Mailbox disabled, not accepting messages. (#5.2.1)
mbox_full DENYSOFT Mailbox full. (#4.2.2)
mbox_msg_too_long DENY Message length exceeds administrative limit. (#5.2.3)
mbox_list_expansion_problem DENYSOFT Mailing list expansion problem. (#4.2.4)
sys_unspecified DENYSOFT Other or undefined mail system status. (#4.3.0)
sys_disk_full DENYSOFT Mail system full. (#4.3.1)
sys_not_accepting_mail DENYSOFT System not accepting network messages. (#4.3.2)
sys_not_supported DENYSOFT System not capable of selected features. (#4.3.3)
sys_msg_too_big DENY Message too big for system. (#5.3.4)
net_unspecified DENYSOFT Other or undefined network or routing status. (#4.4.0)
net_directory_server_failed DENYSOFT Directory server failure. (#4.4.3)
temp_resolver_failed DENYSOFT Temporary address resolution failure (#4.4.3)
net_system_congested DENYSOFT Mail system congestion. (#4.4.5)
net_routing_loop DENY Routing loop detected. (#5.4.6)
too_many_hops DENY Too many hops (#5.4.6)
proto_unspecified DENYSOFT Other or undefined protocol status. (#4.5.0)
proto_invalid_command DENY Invalid command. (#5.5.1)
proto_syntax_error DENY Syntax error. (#5.5.2)
proto_rcpt_list_too_long DENYSOFT Too many recipients. (#4.5.3)
too_many_rcpts DENYSOFT Too many recipients. (#4.5.3)
proto_invalid_cmd_args DENY Invalid command arguments. (#5.5.4)
proto_wrong_version DENYSOFT Wrong protocol version. (#4.5.5)
media_unspecified DENYSOFT Other or undefined media error. (#4.6.0)
media_unsupported DENY Media not supported. (#5.6.1)
media_conv_prohibited DENY Conversion required and prohibited. (#5.6.2)
media_conv_unsupported DENYSOFT Conversion required but not supported. (#4.6.3)
media_conv_lossy DENYSOFT Conversion with loss performed. (#4.6.4)
sec_unspecified DENYSOFT Other or undefined security status. (#4.7.0)
bad_sender_ip DENY Bad sender's IP (#5.7.1)
relaying_denied DENY Relaying denied (#5.7.1)
sec_sender_unauthorized DENY Delivery not authorized, message refused. (#5.7.1)
sec_list_dest_prohibited DENY Mailing list expansion prohibited. (#5.7.2)
sec_conv_failed DENY Security conversion required but not possible. (#5.7.3)
sec_feature_unsupported DENY Security features not supported. (#5.7.4)
sec_crypto_failure DENY Cryptographic failure. (#5.7.5)
sec_crypto_algorithm_unsupported DENYSOFT Cryptographic algorithm not supported. (#4.7.6)
sec_msg_integrity_failure DENY Message integrity failure. (#5.7.7)
END

is keys %DEFAULT, 49, 'all of them';
for my $name (sort keys %DEFAULT) {
    my ($code, $text) = @{$DEFAULT{$name}};
    my ($status) = $text =~ /( \(#\d\.\d\.\d\))$/;
    (my $refused  = $text)   =~ s/#\d/#5/;
    (my $deferred = $status) =~ s/#\d/#4/;
    is_deeply [Qpsmtpd::DSN->$name], [$code, $text], $name;
    is_deeply [Qpsmtpd::DSN->$name('no')],           [$code, "no$status"],         'with a text';
    is_deeply [Qpsmtpd::DSN->$name(DENY)],           [DENY, $refused],             'with a code';
    is_deeply [Qpsmtpd::DSN->$name(DENYSOFT, 'no')], [DENYSOFT, "no$deferred"],    'with both';
    is_deeply [Qpsmtpd::DSN->$name('')],             [$code, $text],               'with an empty text';
}

my %class = (
    OK, 2, DONE, 2, 0, 2, DENY, 5, DENY_DISCONNECT, 5, DENYSOFT, 4, DENYSOFT_DISCONNECT, 4, DECLINED, 4, YIELD, 4, 1, 4,
);
for my $code (sort keys %class) {
    is_deeply [Qpsmtpd::DSN->mbox_full($code, 't')], [$code, "t (#$class{$code}.2.2)"], "class of $code";
}
is_deeply [Qpsmtpd::DSN->mbox_full(@$_)], [DENYSOFT, 't (#4.2.2)'], 'odd arguments'
  for ['t', 'u'], ['t', DENY], [undef, 't'];
is_deeply [Qpsmtpd::DSN->mbox_full(DENY, $_)], [DENY, 'Mailbox full. (#5.2.2)'], 'no text' for undef, '';
is_deeply [Qpsmtpd::DSN->mbox_full('12 of them')], [DENYSOFT, '12 of them (#4.2.2)'], 'a text with a number in front';
is scalar Qpsmtpd::DSN->mbox_full, 'Mailbox full. (#4.2.2)', 'the text alone';

done_testing;
