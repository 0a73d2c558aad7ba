# An envelope address as plugins see it: the sender or a recipient, in two parts without quoting.
#
# Replaces the Qpsmtpd::Address of Perl qpsmtpd. It reads every path that the daemon takes, and the
# odd ones that Perl qpsmtpd took. Control characters cannot get in, for an address ends up in
# headers, logs and queue files. UTF-8 (RFC 6531) is text like any other.
package Qpsmtpd::Address;

use strict;
use warnings;

use Scalar::Util ();

use overload '""' => sub { $_[0]->format }, cmp => \&_compare;

# What the parts look like. Site plugins may set these; $domain_expr, where it is set, counts in
# place of the two above it, and an empty $address_literal_expr turns literals off.
our $atom_expr            = q([-a-zA-Z0-9!#$%&'*+/=?^_`{|}~\x80-\xff]+);
our $subdomain_expr       = q((?:(?!-)[-a-zA-Z0-9_\x80-\xff]+(?<!-)));
our $address_literal_expr = q((?:\[(?:[0-9]{1,3}(?:[.][0-9]{1,3}){3}|[-a-zA-Z0-9]+(?<!-):[!-;=?-Z^-~]+)\]));
our $domain_expr;
our $qtext_expr = q([ !\x23-\x5b\x5d-\x7e\x80-\xff]);
our $text_expr  = q([\x20-\x7e\x80-\xff]);

# Of a path in angle brackets, or undef where it is none; of user@host; or of a user and a host,
# which are taken as they are.
sub new {
    my ($class, @parts) = @_;
    my $text = defined $parts[0] ? $parts[0] : '';
    if ($text =~ /^<.*>\n?\z/s) {
        @parts = $class->canonify($text);
        defined $parts[0] or return undef;
    }
    elsif (!defined $parts[1]) {
        @parts = $text =~ /^(.*)\@(.*)\z/s;
    }
    my %address;
    @address{qw(_user _host)} = map { _clean($_) } @parts[0, 1];
    return bless \%address, $class;
}

sub parse {
    my ($class, $path) = @_;
    return $class->new($path);
}

# The local part without quoting and the domain of a path in angle brackets, then what it was taken
# for: an empty string for the null sender, undef for what is no path. In scalar context the local
# part.
sub canonify {
    my (undef, $text) = @_;
    my @found = _parts_of($text);
    return wantarray ? @found : $found[0];
}

sub _parts_of {
    my ($text) = @_;
    return (undef, undef, 'no path') if !defined $text || $text =~ /[\x00-\x1f\x7f]/;
    my $name   = "$subdomain_expr(?:[.]$subdomain_expr)*";
    my $domain = $domain_expr || join '|', $address_literal_expr || (), $name;

    # A route, RFC 5321 appendix C, is passed over.
    $text =~ /^<(?:(?:\@(?:$domain),)*\@(?:$domain):)?(?<mailbox>.*)>\z/
        or return (undef, undef, 'no angle brackets');
    my $mailbox = $+{mailbox};
    return ('', undef, 'null path') unless length $mailbox;
    return ('postmaster', undef, 'postmaster') if $mailbox =~ /^postmaster\z/i;

    my ($local, $host) = $mailbox =~ /^(.*)\@($domain)\z/ or return (undef, undef, 'no domain');
    return ($local, $host, 'atoms') if $local =~ /^$atom_expr/;
    $local = _unquoted($local);
    return defined $local ? ($local, $host, 'quoted string') : (undef, undef, 'no local part');
}

# user@host without quoting. Sets both when called with a path, with or without angle brackets.
sub address {
    my ($self, $path) = @_;
    if (defined $path) {
        $path = "<$path>" unless $path =~ /^<.+>\z/s;
        @$self{qw(_user _host)} = ($self->canonify($path))[0, 1];
    }
    my ($user, $host) = @$self{qw(_user _host)};
    return (defined $user ? $user : '') . (defined $host ? "\@$host" : '');
}

# The path as it goes on the wire, in angle brackets and quoted where it has to be.
sub format {
    my ($self) = @_;
    my ($user, $host) = @$self{qw(_user _host)};
    return '<>' unless defined $user;
    my $utf8  = utf8::decode(my $copy = $user);
    my $plain = q(-a-zA-Z0-9!#$%&'*+/=?^_`{|}~.) . ($utf8 ? '\x80-\xff' : '');
    my $quote = $user =~ s/([^$plain])/\\$1/g || $user eq '' && defined $host && $host ne '';
    $user = qq("$user") if $quote;
    return "<$user" . (defined $host ? "\@$host" : '') . '>';
}

sub user { return _part(_user => @_) }
sub host { return _part(_host => @_) }

# Whether the address can only go to servers with SMTPUTF8.
sub has_utf8 {
    my ($self) = @_;
    return $self->address =~ /[^\x00-\x7f]/ ? 1 : 0;
}

# What plugins want to remember with the address: the value of a key, set when there is another.
sub notes {
    my ($self, $key, @value) = @_;
    $self->{_notes}{$key} = $value[0] if @value;
    return $self->{_notes} ? $self->{_notes}{$key} : undef;
}

# The session that the address belongs to.
sub qp {
    my ($self, $qp) = @_;
    Scalar::Util::weaken($self->{_qp} = $qp) if ref $qp;
    return $self->{_qp};
}

# A setting as the user of this address has it, else as it is for everybody.
sub config {
    my ($self, $key) = @_;
    my $qp = $self->qp or return;
    return $qp->config($key, $self);
}

# By host and then by user. The other one may be a string; one that is no address equals none.
sub _compare {
    my ($left, $right, $swapped) = @_;
    my $other = Scalar::Util::blessed($right) && $right->isa(ref $left) ? $right : (ref $left)->new($right);
    my $order = _sort_key($left) cmp ($other ? _sort_key($other) : "$right");
    return $swapped ? -$order : $order;
}

sub _sort_key {
    my $key = join '=', reverse split /@/, $_[0]->format;
    $key =~ tr/<>//d;
    return $key;
}

sub _part {
    my ($name, $address, $new) = @_;
    return $address->{$name} unless defined $new;
    return $address->{$name} = _clean($new);
}

# What a quoted string says, or undef where it is none.
sub _unquoted {
    my ($string) = @_;
    return undef if $string !~ /^"(?:$qtext_expr|\\$text_expr)*"\z/;
    my $says = substr $string, 1, -1;
    $says =~ s/\\(.)/$1/g;
    return $says;
}

sub _clean {
    my ($part) = @_;
    $part =~ tr/\x00-\x1f\x7f//d if defined $part;
    return $part;
}

1;
