# What AUTH plugins need to judge a password: the check against what is on file, and the encodings
# that go with it.
#
# Replaces the Qpsmtpd::Auth of Perl qpsmtpd, but for the dialogue, which is the daemon's.
package Qpsmtpd::Auth;

use strict;
use warnings;

use Digest::MD5 ();
use File::Basename ();
use MIME::Base64 qw(decode_base64 encode_base64);

use Qpsmtpd::Constants;

# Called as a function, with the plugin and then pairs: method; src_clear or src_crypt, the password
# on file; attempt_clear, the password tried, or attempt_hash, the answer to ticket; and deny, the
# verdict for a wrong password. Gives a verdict and a text for hook_auth to return.
sub validate_password {
    my ($plugin, %given) = @_;
    my ($clear, $crypted) = @given{qw(src_clear src_crypt)};
    my $method = $given{method} || die "validate_password needs the method\n";
    my $deny   = $given{deny} || DENY;
    my $ticket = $given{ticket} || $plugin->{auth}{ticket};
    # The reply names the plugin by the file that calls.
    my $name = File::Basename::basename((caller)[1]);

    if (!$clear && !$crypted) {
        $plugin->log(LOGINFO, 'fail: no password on file');
        return ($deny, "$name - no such user");
    }
    if (!$clear && $method =~ /CRAM-MD5/i) {
        $plugin->log(LOGINFO, 'skip: CRAM-MD5 needs the password in clear');
        return (DECLINED, $name);
    }
    if (defined $given{attempt_clear}) {
        my $hashed = $crypted ? crypt($given{attempt_clear}, $crypted) : undef;
        my $fits   = $clear && $clear eq $given{attempt_clear} ? 'clear' : undef;
        $fits ||= 'crypt' if defined $hashed && $hashed eq $crypted;
        if ($fits) {
            $plugin->log(LOGINFO, "pass: password fits ($fits)");
            return (OK, $name);
        }
    }
    if ($clear && defined $given{attempt_hash}) {
        if (!$ticket) {
            $plugin->log(LOGERROR, 'skip: an answer without a ticket');
            return (DECLINED, $name);
        }
        if ($given{attempt_hash} eq hmac_md5_hex($ticket, $clear)) {
            $plugin->log(LOGINFO, 'pass: answer fits');
            return (OK, $name);
        }
    }
    $plugin->log(LOGINFO, 'fail: wrong password');
    return ($deny, "$name - wrong password");
}

# Base64 in one line, as challenges and answers have to be (RFC 4954 4).
sub e64 {
    my ($bytes) = @_;
    return encode_base64($bytes, '');
}

# HMAC-MD5 in hexadecimal (RFC 2104), as of Digest::HMAC_MD5, which need not be installed.
sub hmac_md5_hex {
    my ($data, $key) = @_;
    $key = Digest::MD5::md5($key) if length $key > 64;
    $key .= "\0" x (64 - length $key);
    my ($inner, $outer) = map { $key ^ chr($_) x 64 } 0x36, 0x5c;
    return Digest::MD5::md5_hex($outer, Digest::MD5::md5($inner, $data));
}

1;
