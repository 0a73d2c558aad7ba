# Mail::DKIM signs or verifies the messages of a folder: see ../peers.rs.
use strict;
use warnings;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Net::DNS;

my ($what, $folder, $domain, $selector) = @ARGV;
open my $file, '<', "$folder/record" or die;
my $record = do { local $/; <$file> };
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name) = @_;
        return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => $record);
    };
}
my $number = 0;
for my $path (sort glob "$folder/*.$what") {
    my ($name) = $path =~ m{([^/]+)\.\w+$};
    open my $in, '<:raw', $path or die;
    my $message = do { local $/; <$in> };
    my @forms = map { $_ ? 'relaxed' : 'simple' } $number & 1, $number & 2;
    $number++;
    my $said = eval {
        my $dkim = $what eq 'sign'
            ? Mail::DKIM::Signer->new(
                Algorithm => 'rsa-sha256', Method => join('/', @forms), Domain => $domain,
                Selector => $selector, KeyFile => "$folder/$selector.pem")
            : Mail::DKIM::Verifier->new;
        $dkim->PRINT($message);
        $dkim->CLOSE;
        if ($what eq 'sign') {
            my $field = $dkim->signature->as_string;
            $field =~ s/\r?\n/\r\n/g;
            open my $out, '>:raw', "$folder/$name.signed" or die;
            print $out "$field\r\n$message";
            close $out;
            return 'signed';
        }
        my $result = $dkim->result;
        return $result eq 'pass' || $result eq 'fail' ? $result : "error " . $dkim->result_detail;
    };
    $said = "error $@" unless defined $said;
    $said =~ s/\n/ /g;
    print "$name $said\n";
}
