# Takes the arguments of a command apart, by the rules of SMTP or by a plugin's own parser.
#
# Replaces the Qpsmtpd::Command of Perl qpsmtpd. A plugin's hook_*_parse returns OK and a function;
# that one gets an object of this class, the command and the rest of the line, and returns OK and
# the arguments for the hook of the command, or something else and a text for the client.
package Qpsmtpd::Command;

use strict;
use warnings;

use Qpsmtpd::Constants;

# A plugin's parser may use its object as it would the session.
our @ISA = ('Qpsmtpd::SMTP');
{ package Qpsmtpd::SMTP }

# A parameter of MAIL or RCPT (RFC 5321 4.1.2 esmtp-param).
my $PARAMETER = qr/[a-zA-Z0-9][-a-zA-Z0-9]*(?:=[^= \x00-\x1f]+)?/;

sub parse {
    my ($class, $command, $line, $parser) = @_;
    my $self = bless {}, $class;
    if (ref $parser eq 'CODE') {
        my @result = eval { $parser->($self, $command, $line) };
        return @result unless $@;
        $self->log(LOGERROR, "the parser for $command died: $@");
        return (DENY, 'Syntax error in command');
    }
    return $self->parse_mail($command, $line) if lc $command eq 'mail';
    return $self->parse_rcpt($command, $line) if lc $command eq 'rcpt';
    return (OK, split / +/, defined $line ? $line : '');
}

# An absent sender is the null sender: very old clients leave it out.
sub parse_mail {
    my ($self, $command, $line) = @_;
    my ($code, $address, @parameters) = _path_and_parameters('from', $line);
    return ($code, $code == OK && $address eq '' ? '<>' : $address, @parameters);
}

sub parse_rcpt {
    my ($self, $command, $line) = @_;
    my ($code, $address, @parameters) = _path_and_parameters('to', $line);
    return (DENY, 'Syntax error in address') if $code == OK && $address eq '';
    return ($code, $address, @parameters);
}

# To the log of the session, or of the process where there is none.
sub log {
    my ($self, $level, @text) = @_;
    my $log = Qpsmtpd->can('log');
    return $log ? $self->$log($level, @text) : warn "@text\n";
}

# The address is not looked into, for plugins may allow what is none. But white space behind an @
# can only stand in quotes, or a parameter is wrong.
sub _path_and_parameters {
    my ($word, $line) = @_;
    my ($rest) = (defined $line ? $line : '') =~ /^$word:\s*(.*?)\s*\z/si;
    return (DENY, 'Syntax error in command') unless defined $rest;
    my @parameters;
    unshift @parameters, $1 while $rest =~ s/\s+($PARAMETER)\z//;
    (my $unquoted = $rest) =~ s/"(?:[^"\\]|\\.)*"//gs;
    return (DENY, 'Syntax error in parameters') if $unquoted =~ /\@.*\s/s;
    return (OK, $rest, @parameters);
}

1;
