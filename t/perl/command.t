# Qpsmtpd::Command: arguments of commands, by our rules and by those of a plugin.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Command;
use Qpsmtpd::Constants;

sub parsed { return [Qpsmtpd::Command->parse(@_)] }

my @PARAMETERS = (DENY, 'Syntax error in parameters');

# Behind FROM: and TO: the same.
my @PATHS = (
    ['<a@b>'                        => OK, '<a@b>'],
    ['  <a@b>  '                    => OK, '<a@b>'],
    ['<a@b> SIZE=10'                => OK, '<a@b>', 'SIZE=10'],
    ["<a\@b>\tBODY=8BITMIME  X"     => OK, '<a@b>', 'BODY=8BITMIME', 'X'],
    ['<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b' => OK, '<a@b>', 'NOTIFY=NEVER', 'ORCPT=rfc822;a@b'],
    ['<a@b> AUTH=<x@y> Z'           => OK, '<a@b>', 'AUTH=<x@y>', 'Z'],
    ['<>'                           => OK, '<>'],
    ['<> SIZE=1'                    => OK, '<>', 'SIZE=1'],
    ['a@b SIZE=1'                   => OK, 'a@b', 'SIZE=1'],
    ['postmaster'                   => OK, 'postmaster'],
    ['SIZE=1'                       => OK, 'SIZE=1'],
    ['<a b@c> X'                    => OK, '<a b@c>', 'X'],
    ['<"a b"@c> X=y'                => OK, '<"a b"@c>', 'X=y'],
    ['<"a@b c"@d> X=y'              => OK, '<"a@b c"@d>', 'X=y'],
    ['<a@b'                         => OK, '<a@b'],
    ['<a@b>X=1'                     => OK, '<a@b>X=1'],
    ['a b= c'                       => OK, 'a b=', 'c'],
    ["<a\@b> X=\xc3\xa9"            => OK, '<a@b>', "X=\xc3\xa9"],
    ['<a@b> =x'                     => @PARAMETERS],
    ['<a@b> X='                     => @PARAMETERS],
    ['<a@b> X=y=z'                  => @PARAMETERS],
    ['<a@b> -X'                     => @PARAMETERS],
    ['<a@b> A_B=1'                  => @PARAMETERS],
    ['<a@b> <c@d>'                  => @PARAMETERS],
    ['<a@b> "c'                     => @PARAMETERS],
    ['<a@b> SIZE=1 <x'              => @PARAMETERS],
    ["<a\@b> X=\x01"                => @PARAMETERS],
);
for my $case (@PATHS) {
    my ($line, @result) = @$case;
    is_deeply parsed('mail', "FROM:$line"), \@result, "FROM:$line";
    is_deeply parsed('RCPT', "to:$line"),   \@result, "to:$line";
}
is_deeply parsed('mail', "FROM:$_"), [OK, '<>'], 'no sender is the null sender' for '', '  ';
is_deeply parsed('rcpt', "TO:$_"), [DENY, 'Syntax error in address'], 'no recipient is none' for '', '  ';
for my $line ('FROM', 'FROM <a@b>', 'FROM :<a@b>', ' FROM:<a@b>', '<a@b>', '', undef) {
    is_deeply parsed('mail', $line), [DENY, 'Syntax error in command'], 'MAIL without FROM:';
}
is_deeply parsed('mail', 'TO:<a@b>'),   [DENY, 'Syntax error in command'], 'MAIL with TO:';
is_deeply parsed('rcpt', 'FROM:<a@b>'), [DENY, 'Syntax error in command'], 'RCPT with FROM:';

is_deeply parsed('helo', 'a  b'), [OK, 'a', 'b'], 'other commands are split at blanks';
is_deeply parsed('helo', ' a'), [OK, '', 'a'], 'one in front counts';
is_deeply parsed('xyz', $_), [OK], 'nothing' for '', undef;
is_deeply parsed('mail', 'FROM:<a@b>', $_), [OK, '<a@b>'], 'no parser' for undef, 'x', [], {};

is_deeply parsed('bdat', '1 LAST', sub { my ($self, @args) = @_; return (OK, ref $self, @args) }),
  [OK, 'Qpsmtpd::Command', 'bdat', '1 LAST'], 'a parser gets the command and the line';
is_deeply parsed('mail', 'x', sub { return (DENY, 'no') }), [DENY, 'no'], 'and may refuse';
is_deeply parsed('mail', 'x', sub { return (DECLINED) }), [DECLINED], 'or decline';
is_deeply parsed('x', 'FROM:<a@b> X', \&Qpsmtpd::Command::parse_mail), [OK, '<a@b>', 'X'], 'ours can be had';
is_deeply parsed('x', 'TO:<a@b> X',   \&Qpsmtpd::Command::parse_rcpt), [OK, '<a@b>', 'X'], 'both';
ok(Qpsmtpd::Command->isa('Qpsmtpd::SMTP'), 'the object stands for a session');

my @warned;
{
    local $SIG{__WARN__} = sub { push @warned, @_ };
    is_deeply parsed('mail', 'x', sub { die "oops\n" }), [DENY, 'Syntax error in command'], 'a parser that dies';
    is_deeply \@warned, ["the parser for mail died: oops\n\n"], 'is told of';
    @warned = ();
    my @logged;
    no warnings 'once';
    local *Qpsmtpd::log = sub { push @logged, [@_[1 .. $#_]] };
    parsed('mail', 'x', sub { $_[0]->log(LOGINFO, 'hello'); die "oops\n" });
    is_deeply \@logged, [[LOGINFO, 'hello'], [LOGERROR, "the parser for mail died: oops\n"]], 'in the log of the session';
    is @warned, 0, 'where there is one';
}

done_testing;
