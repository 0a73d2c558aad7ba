package Qpsmtpd::Wire;

# Values as octets, see src/perl/wire.rs.

use strict;
use warnings;

# Data in plugins' notes may be deep or go round in circles; nothing deeper is shared.
use constant DEEPEST => 30;

sub encode {
    my ($value, $depth) = @_;
    return 'u' unless defined $value;
    my $kind = ref $value;
    if (!$kind) {
        utf8::encode($value) if utf8::is_utf8($value);
        return pack 'a N/a*', 's', $value;
    }
    $depth = ($depth || 0) + 1;
    return 'u' if $depth > DEEPEST;
    if ($kind eq 'ARRAY') {
        return join '', 'l', pack('N', scalar @$value), map { encode($_, $depth) } @$value;
    }
    if ($kind eq 'HASH') {
        return join '', 'm', pack('N', scalar keys %$value),
            map { (encode_key($_), encode($value->{$_}, $depth)) } sort keys %$value;
    }
    return $depth > 1 ? 'u' : 'o';
}

sub encode_key {
    my ($key) = @_;
    utf8::encode($key) if utf8::is_utf8($key);
    return pack 'N/a*', $key;
}

# Decodes the value at $_[1] of $_[0], and moves $_[1] behind it.
sub decode {
    my $tag = substr $_[0], $_[1]++, 1;
    return undef if $tag eq 'u';
    my $count = unpack 'N', substr $_[0], $_[1], 4;
    $_[1] += 4;
    if ($tag eq 's') {
        my $text = substr $_[0], $_[1], $count;
        $_[1] += $count;
        return $text;
    }
    return [map { decode($_[0], $_[1]) } 1 .. $count] if $tag eq 'l';
    my %map;
    for (1 .. $count) {
        my $length = unpack 'N', substr $_[0], $_[1], 4;
        my $key = substr $_[0], $_[1] + 4, $length;
        $_[1] += 4 + $length;
        $map{$key} = decode($_[0], $_[1]);
    }
    return \%map;
}

1;
