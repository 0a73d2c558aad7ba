# Qpsmtpd::Header: a received header keeps its bytes, edits are told, plugins cannot inject, and
# otherwise it does what Mail::Header does (compared with it where that is installed).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../../src/perl/lib";
use Test::More;

use Qpsmtpd::Header;

my @RECEIVED = (
    "Received: from a\n\tby b;  x\n",
    "received:two\n",
    "From sender Mon 1 12:00:00\n",
    "Subject:   hello  \n",
    "FROM: x\@y\n",
    "no colon here\n folded\n",
    "X-Spam-status: No,\n  a=1\n",
    "X-Old : v\n",
    "Empty:\n",
    "8bit: \xc3\xa9\xff\n",
    "Long: " . 'word ' x 400 . "\n",
);

sub received { return Qpsmtpd::Header->received([@_ ? @_ : @RECEIVED]) }

subtest 'what was received' => sub {
    my $header = received();
    ok $header->isa('Mail::Header'), 'stands in for a Mail::Header';
    is $header->as_string, join('', @RECEIVED), 'byte for byte';
    is $header->edits, undef, 'no edits';
    is_deeply $header->header, \@RECEIVED, 'header';
    is_deeply [$header->get('RECEIVED')], ["from a\n\tby b;  x\n", "two\n"], 'get';
    is $header->get('subject'),   "hello  \n",             'without the leading blanks';
    is $header->get('Mail-From'), "sender Mon 1 12:00:00\n", 'an mbox line has another name';
    is $header->get('From'),      "x\@y\n",                'which is not that of the author';
    is $header->get('X-Old'),     "v\n",                   'a blank in front of the colon';
    is $header->get('no colon here'), undef, 'a line that is no field has no name';
    is $header->count('Received'), 2, 'count';
    is_deeply [$header->tags],
      [qw(Received Mail-From Subject From X-Spam-Status X-Old Empty 8bit Long)], 'tags';
};

subtest 'edits' => sub {
    my $header = received("A: 1\n", "bad\n", "B: 2\n", "A: 3\n");
    $header->add('N', 'new', 1);
    is_deeply $header->edits, [0, \"N: new\n", 1, 2, 3], 'a field put in';
    $header->delete('N');
    is $header->edits, undef, 'and taken out again';
    $header->replace('a', 'x', 1);
    $header->delete('B');
    $header->add('End', 'z');
    is_deeply $header->edits, [0, 1, \"a: x\n", \"End: z\n"], 'replaced, deleted, appended';
    my $copy = $header->dup;
    is $header->rebase, $header, 'rebase';
    is $header->edits, undef, 'no edits after it';
    is_deeply $copy->edits, [0, 1, \"a: x\n", \"End: z\n"], 'a copy is on its own';
    $header->delete('End');
    is_deeply $header->edits, [0, 1, 2], 'fewer fields';
    is_deeply $header->empty->edits, [], 'none';
    is $header->as_string, '', 'empty';
    is received()->fold(10_000)->unfold('nope')->count('Long'), 1, 'fold and unfold';
    $header = received("A: 1\n", "B: x\n y\n");
    is_deeply $header->unfold->edits, [0, \"B: x y\n"], 'unfold changes what it unfolds';
    $header = received("A: 1\n", "B: x y\n");
    is $header->fold->cleanup->edits, undef, 'nothing to fold, nothing to clean';
    is_deeply received("A: \n", "B: x\n")->cleanup->edits, [1], 'cleanup';
};

subtest 'nothing can be injected' => sub {
    my @cases = (
        ["x\nEvil: y",     "N: x\n Evil: y\n"],
        ["x\r\nEvil: y\r", "N: x\n Evil: y\n"],
        ["x\n\nbody",      "N: x\n body\n"],
        ["x\r\n\r\nbody",  "N: x\n body\n"],
        ["x\n \t\n y",     "N: x\n y\n"],
        ["x\n\ty\n",       "N: x\n\ty\n"],
        ["x\0y\rz",        "N: xyz\n"],
        ["\nEvil: y",      "N: Evil: y\n"],
        ["N: x\nEvil: y",  "N: x\n Evil: y\n"],
        ["\x{263a}",       "N: \xe2\x98\xba\n"],
        ["\xe9",           "N: \xe9\n"],
    );
    for my $case (@cases) {
        my ($value, $text) = @$case;
        my $header = received("A: 1\n");
        $header->add('N', $value);
        is_deeply $header->edits, [0, \$text], 'add';
        $header = received("N: 1\n");
        $header->replace('N', $value);
        is_deeply $header->edits, [\$text], 'replace';
        $header = received("A: 1\n");
        $header->header_hashref({N => $value});
        is_deeply $header->edits, [0, \$text], 'header_hashref';
    }
    my $header = received("A: 1\n", "A: 2\n");
    $header->combine('A', "\nEvil: ");
    is $header->as_string, "A: 1\n Evil: 2\n", 'combine';
    $header->extract(["X: 1\nEvil: y\n", "Y: 2\n"]);
    is $header->as_string, "X: 1\n Evil: y\nY: 2\n", 'extract';
    for my $name ('', ' N', "N\nEvil", 'N M', "N\xe9", 'N:M', ':') {
        ok !eval { $header->add($name, 'v'); 1 }, 'a name that is none';
    }
    ok !eval { $header->add(undef, 'no name'); 1 }, 'no name at all';
    is $header->as_string, "X: 1\n Evil: y\nY: 2\n", 'and nothing was added';
};

subtest 'fold' => sub {
    my $header = received('Long: ' . 'word ' x 9 . "\n", 'Un: ' . 'x' x 99 . "\n");
    $header->fold(20);
    is $header->as_string, "Long: word word word\n word word word word\n word word\n" . 'Un: ' . 'x' x 99 . "\n";
    $header->unfold;
    is $header->get('Long'), 'word ' x 8 . "word\n", 'unfold';
    is $header->fold_length(60), 79, 'the length for all';
    is $header->fold_length, 60, 'is set';
    is $header->fold_length('Long', 30), undef, 'the length for one name';
    is $header->fold_length('long', 5), 30, 'is set';
    $header->fold;
    is scalar(() = $header->get('Long') =~ /\n/g), 3, 'is used, and at least 20';
    is(Qpsmtpd::Header->fold_length('X-Class', 25), undef, 'for all objects');
    is(Qpsmtpd::Header->fold_length('x-class', 26), 25,    'is set');
};

subtest 'From lines' => sub {
    my @lines = ("From a b\n", "X: 1\n");
    my %want = (KEEP => "From a b\nX: 1\n", IGNORE => "X: 1\n", ERROR => "X: 1\n", COERCE => "Mail-From: a b\nX: 1\n");
    for my $choice (sort keys %want) {
        my @warned;
        local $SIG{__WARN__} = sub { push @warned, @_ };
        is(Qpsmtpd::Header->new([@lines], MailFrom => $choice)->as_string, $want{$choice}, $choice);
        is @warned, $choice eq 'ERROR' ? 1 : 0, 'warnings';
    }
    is(Qpsmtpd::Header->new([@lines])->get('From '), "a b\n", 'kept under its own name');
    ok !eval { received()->mail_from('maybe'); 1 }, 'no other choice';
};

# Each is run on a Mail::Header and on ours, over the same fields.
my @SAME = (
    (map { my $i = $_; map { my $tag = $_; ["add $tag $i", sub { $_[0]->add($tag, 'new', $i) }] } qw(A a N) } -60, -8 .. 9),
    (map { my $i = $_; ["replace $i", sub { $_[0]->replace('A', 'new', $i) }] } -9, -3 .. 3),
    (map { my $i = $_; ["delete $i",  sub { $_[0]->delete('A', $i) }] } -9, -3 .. 3),
    (map { my $i = $_; ["get $i", sub { ($_[0]->get('A', $i), scalar $_[0]->get('A', $i)) }] } -9, -3 .. 3),
    (map { my $v = $_; ["value '" . ($v =~ s/\n/\\n/gr) . "'", sub { ($_[0]->add('X-New-id', $v), [$_[0]->get('x-new-ID')]) }] }
      'v', "v\n", "v\n\n", '', '  ', '   v', "\tv", 'v  ', "v\n\tw\n  x", "\n v", 'word ' x 40,
      'X-New-id: v', 'x-new-ID: v', 'Other: v', 'X-New-id : v'),
    (map { my $t = $_; ["tag '$t'", sub { ($_[0]->add($t, 'v'), [$_[0]->get($t)], $_[0]->count($t)) }] }
      qw(x y: X-FOO-ID X-H+BEDV-Virus dkim-signature x-mime-foo SOAP x-ldap swe -foo foo- x--y x_y 3d 8 spf
      x-dkim-result X-SPAM-Checker-Version Message-Id)),
    ['add without a tag',  sub { $_[0]->add(undef, 'N: new') }],
    ['add undef',          sub { $_[0]->add('N',   undef) }],
    ['add a From line',    sub { $_[0]->add(undef, 'From x y') }],
    ['add From',           sub { $_[0]->add('From ', 'x y') }],
    ['replace another',    sub { $_[0]->replace('N', 'new') }],
    ['replace other case', sub { $_[0]->replace('a', 'new') }],
    ['replace no tag',     sub { $_[0]->replace(undef, 'A: new') }],
    ['delete all',         sub { ($_[0]->delete('a'), scalar $_[0]->delete('B')) }],
    ['delete none',        sub { ($_[0]->delete('N'), $_[0]->delete('N', 1), $_[0]->delete(undef)) }],
    ['get none',           sub { ($_[0]->get('N'), $_[0]->get('N', 0), scalar $_[0]->get('N'), scalar $_[0]->get(undef)) }],
    ['get all',            sub { ($_[0]->get('a'), scalar($_[0]->get('A')), scalar $_[0]->get('A:')) }],
    ['count',              sub { map { $_[0]->count($_) } 'A', 'a', 'N', '' }],
    ['empty',              sub { $_[0]->empty->count('A') }],
    ['dup',                sub { my $copy = $_[0]->dup; $_[0]->add('X', 1); $copy->add('Y', 2); $copy->as_string }],
    ['extract',            sub { my @l = ("X: 1\n", " f\n", "bad\n", "Y: 2\n", "\n", "body\n"); $_[0]->extract(\@l); @l }],
    ['extract a fold',     sub { my @l = (" lead\n", "X: 1\n f\n"); $_[0]->extract(\@l); @l }],
    ['header',             sub { my @l = ("X: 1\n", "Y: 2\n", "\n", "body\n"); ($_[0]->header(\@l), @l) }],
    ['header_hashref',     sub { $_[0]->header_hashref({'q-r' => ['x', 'y']}) }],
    ['modify',             sub { ($_[0]->modify, $_[0]->modify(1), $_[0]->modify, $_[0]->add('n-id', 'x ')) }],
    ['fold_length',        sub { ($_[0]->fold_length, $_[0]->fold_length(3), $_[0]->fold_length, $_[0]->fold_length('A', 50), $_[0]->fold_length('A', 40)) }],
    ['cleanup',            sub { $_[0]->add('E', ''); $_[0]->add('F', ' '); $_[0]->cleanup('F'); my $s = $_[0]->as_string; $_[0]->cleanup; $s }],
    ['print',              sub { open my $out, '>', \my $text or die; my $ok = $_[0]->print($out); close $out; ($ok, $text) }],
    ['read', sub { open my $in, '<', \"X: 1\n f\nY: 2\nbad line\nZ: 2\n\nbody\n" or die; $_[0]->read($in); <$in> }],
    ['new',  sub { my @l = ("X: 1\n", "\n", "y\n"); my $new = (ref $_[0])->new(\@l, Modify => 0, FoldLength => 40); ($new->as_string, $new->fold_length, @l) }],
    ['new of nothing', sub { ((ref $_[0])->new->as_string, (ref $_[0])->new(Modify => 1)->modify, (ref $_[0])->new(undef, Modify => 0)->as_string) }],
    ['new of a handle', sub { open my $in, '<', \"X: 1\nY: 2\n\nz" or die; ((ref $_[0])->new($in)->as_string, <$in>) }],
    ['unfold', sub { $_[0]->extract(["A: x\n\ty\n    z\n", "B: q  \n r\n"]); $_[0]->unfold('a'); my $s = $_[0]->as_string; $_[0]->unfold; $s }],
);

SKIP: {
    skip 'Mail::Header is not installed', 1 unless eval { require Mail::Header; 1 };
    subtest 'as Mail::Header' => sub {
        for my $case (@SAME) {
            my ($what, $code) = @$case;
            my @results;
            for my $class ('Mail::Header', 'Qpsmtpd::Header') {
                my @lines = ("A: 1\n", "B: 2\n", "A: 3\n", "C: 4\n f\n", "a: 5\n", "B: 6\n", "E:  x \n");
                my $header = $class->new(\@lines, Modify => 0, MailFrom => 'COERCE');
                my @got    = $code->($header);
                push @results, [@got, $header->as_string, sort $header->tags];
            }
            is_deeply $results[1], $results[0], $what;
        }
    };
}

done_testing;
