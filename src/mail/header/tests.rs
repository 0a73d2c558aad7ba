use super::edit::clean_name;
use super::*;

const MAIL: &[u8] = b"Received: from a\r\n\tby b\r\nSubject: =?x?=\r\nreceived:c\r\nTo: d\r\n";

fn text(header: &Header) -> String {
    String::from_utf8(header.to_bytes()).expect("the test's header is UTF-8")
}

fn all(header: &Header, name: &str) -> Vec<String> {
    header.get_all(name).map(Cow::into_owned).collect()
}

/// What a field of this value looks like in the message.
fn written(name: &str, value: &str) -> String {
    let mut header = Header::default();
    header.add(name, value);
    text(&header)
}

#[test]
fn reads() {
    let header = Header::parse(MAIL);
    assert_eq!(header.len(), 4);
    assert!(!header.is_empty());
    assert_eq!(header.get("subject").as_deref(), Some("=?x?="));
    assert_eq!(header.get("RECEIVED").as_deref(), Some("from a\n\tby b"));
    assert_eq!(all(&header, "Received"), ["from a\n\tby b", "c"]);
    assert_eq!(header.get_raw("Received"), Some(&b" from a\r\n\tby b\r\n"[..]));
    assert_eq!(header.get_raw("TO"), Some(&b" d\r\n"[..]));
    assert_eq!((header.count("Received"), header.count("From")), (2, 0));
    assert_eq!((header.get("From"), header.get_raw("Subj")), (None, None));
    assert_eq!(header.names().collect::<Vec<_>>(), ["Received", "Subject", "received", "To"]);
    assert_eq!(header.byte_len(), MAIL.len());
}

#[test]
fn empty() {
    let header = Header::parse(b"");
    assert!(header.is_empty());
    assert_eq!((header.len(), header.byte_len(), header.names().count()), (0, 0, 0));
    assert_eq!(text(&header), "");
}

#[test]
fn values_for_reading() {
    let get = |raw: &[u8]| Header::parse(raw).get("a").map(Cow::into_owned);
    let is = |raw: &[u8], value: &str| assert_eq!(get(raw).as_deref(), Some(value), "{raw:?}");
    is(b"A:b\r\n", "b");
    is(b"A: \t b \r\n", "b ");
    is(b"A : b\n", "b");
    is(b"A\t: b", "b");
    is(b"A: b:c", "b:c");
    is(b"A:\r\n", "");
    is(b"A:", "");
    is(b"A:\r\n b\r\n", "b");
    is(b"A:\r\n \r\n", "");
    is(b"A: b\n c\r\n\td\r\n", "b\n c\n\td");
    is(b"A: b\rc\r\r\n", "b\rc\r");
    is(b"A: b\0c\n", "b\0c");
    is(b"A: \xff\xc3\xa9\r\n", "\u{fffd}é");
    assert!(matches!(Header::parse(b"A: b\r\n").get("A"), Some(Cow::Borrowed("b"))));
}

#[test]
fn lines_that_are_no_field_stay() {
    let raw = b"From a@b.test Mon Jan  1 10:00:00 2024\nA: 1\ngarbage\n more: x\n: none\n\
                S\xc3\xa9: x\nB C: 2\n\nD: 3\n";
    let mut header = Header::parse(raw);
    assert_eq!(header.to_bytes(), raw);
    assert_eq!(header.len(), 8);
    assert_eq!(header.names().collect::<Vec<_>>(), ["A", "D"]);
    assert_eq!((header.count(""), header.get("more"), header.get("From")), (0, None, None));
    assert_eq!(header.delete(""), 0);
    header.add_at(1, "X", "y");
    assert!(text(&header).starts_with("From a@b.test Mon Jan  1 10:00:00 2024\nX: y\r\nA: 1\n"));
}

/// For some who read a message its text begins with the first line that is no field.
#[test]
fn fields_are_added_before_what_is_no_field() {
    let mut header = Header::parse(b"A: 1\r\ngarbage\r\nC: 3\r\n");
    header.add("B", "2");
    assert_eq!(text(&header), "A: 1\r\nB: 2\r\ngarbage\r\nC: 3\r\n");
    let parts = [Ok(0), Err(&b"X: y"[..]), Ok(2), Ok(3), Err(b"D: 4"), Err(b"E: 5")];
    header.rebuild(parts.into_iter());
    assert_eq!(text(&header), "A: 1\r\nX: y\r\nD: 4\r\nE: 5\r\ngarbage\r\nC: 3\r\n");
}

#[test]
fn lines_of_an_mbox_become_fields() {
    let mut header = Header::parse(b"From a@b.test Mon 10:00:00\n>from x\r\nA: 1\r\nFrom z\r\n");
    header.name_mailbox_lines();
    let named = "X-Mailbox-Line: From a@b.test Mon 10:00:00\nX-Mailbox-Line: >from x\r\nA: 1\r\n\
                 From z\r\n";
    assert_eq!(text(&header), named);
    assert_eq!(header.count("x-mailbox-line"), 2);
}

#[test]
fn adds() {
    let mut header = Header::parse(b"A: 1\r\nB: 2\r\n");
    header.add("C", "3");
    header.add_at(0, "Top", "0");
    header.add_at(2, "Mid", "1.5");
    header.add_at(99, "End", "4");
    assert_eq!(text(&header), "Top: 0\r\nA: 1\r\nMid: 1.5\r\nB: 2\r\nC: 3\r\nEnd: 4\r\n");
    assert_eq!(header.byte_len(), text(&header).len());
    assert_eq!(header.get("mid").as_deref(), Some("1.5"));
}

#[test]
fn replaces() {
    let mut header = Header::parse(MAIL);
    header.replace("RECEIVED", "x");
    header.replace("From", "y");
    assert_eq!(text(&header), "RECEIVED: x\r\nSubject: =?x?=\r\nTo: d\r\nFrom: y\r\n");

    let mut header = Header::parse(MAIL);
    assert!(header.replace_nth("Received", 1, "second"));
    assert!(!header.replace_nth("Received", 2, "third"));
    assert!(!header.replace_nth("From", 0, "y"));
    assert_eq!(
        text(&header),
        "Received: from a\r\n\tby b\r\nSubject: =?x?=\r\nReceived: second\r\nTo: d\r\n"
    );
}

#[test]
fn replacing_a_bad_name_twice_leaves_one_field() {
    let mut header = Header::default();
    header.replace("X Y", "1");
    header.replace("X Y", "2");
    header.replace("", "3");
    header.replace("", "4");
    assert_eq!(text(&header), "X-Y: 2\r\n-: 4\r\n");
}

#[test]
fn deletes() {
    let mut header = Header::parse(MAIL);
    assert!(!header.delete_nth("Received", 2));
    assert!(header.delete_nth("Received", 0));
    assert_eq!(text(&header), "Subject: =?x?=\r\nreceived:c\r\nTo: d\r\n");
    header.add("Received", "e");
    assert_eq!(header.delete("Received"), 2);
    assert_eq!(header.delete("Received"), 0);
    assert_eq!(text(&header), "Subject: =?x?=\r\nTo: d\r\n");
}

#[test]
fn renames() {
    let mut header = Header::parse(b"A : 1\n \xff\nB: 2\r\na:\t3");
    assert_eq!(header.rename("A", "X-Old\nA"), 2);
    assert_eq!(header.rename("A", "C"), 0);
    assert_eq!(header.to_bytes(), b"X-Old-A: 1\n \xff\nB: 2\r\nX-Old-A:\t3");
    header.add("D", "4");
    assert!(header.to_bytes().ends_with(b"X-Old-A:\t3\r\nD: 4\r\n"));
}

#[test]
fn a_missing_line_end_stays_until_something_follows() {
    for (raw, then) in [
        (&b"A: 1"[..], &b"A: 1\r\nB: 2\r\n"[..]),
        (b"A: 1\r", b"A: 1\r\nB: 2\r\n"),
        (b"A: 1\n", b"A: 1\nB: 2\r\n"),
        (b"A: 1\n x", b"A: 1\n x\r\nB: 2\r\n"),
    ] {
        let mut header = Header::parse(raw);
        assert_eq!(header.to_bytes(), raw);
        header.add("B", "2");
        assert_eq!(header.to_bytes(), then);
    }
    let mut header = Header::parse(b"A: 1");
    header.add_at(0, "B", "2");
    assert_eq!(header.to_bytes(), b"B: 2\r\nA: 1");
}

#[test]
fn a_field_on_top_is_not_continued_by_a_fold_without_a_field() {
    let raw = b" ; spf=pass\r\nA: 1\r\n";
    let mut header = Header::parse(raw);
    assert_eq!(header.to_bytes(), raw);
    header.add("B", "2");
    assert_eq!(text(&header), " ; spf=pass\r\nA: 1\r\nB: 2\r\n");
    header.add_at(0, "Authentication-Results", "mx.test; spf=fail");
    assert_eq!(
        text(&header),
        "Authentication-Results: mx.test; spf=fail\r\nX-Unnamed: ; spf=pass\r\nA: 1\r\nB: 2\r\n"
    );
}

#[test]
fn values_cannot_break_out() {
    for (value, line) in [
        ("b", "A: b\r\n"),
        ("", "A:\r\n"),
        (" \t", "A:\r\n"),
        ("  b ", "A: b \r\n"),
        ("é\t用", "A: é\t用\r\n"),
        ("b\n c\n\td", "A: b\r\n c\r\n\td\r\n"),
        ("b\r\n c\r\n\td\r\n", "A: b\r\n c\r\n\td\r\n"),
        ("b\nBcc: c", "A: b\r\n Bcc: c\r\n"),
        ("b\r\nBcc: c", "A: b\r\n Bcc: c\r\n"),
        ("b\n\nbody", "A: b\r\n body\r\n"),
        ("b\r\n\r\nbody", "A: b\r\n body\r\n"),
        ("b\n \t\n c", "A: b\r\n c\r\n"),
        ("b\n\n", "A: b\r\n"),
        ("\n\n b", "A: b\r\n"),
        ("b\rBcc: c", "A: b?Bcc: c\r\n"),
        ("b\r\r\n c", "A: b?\r\n c\r\n"),
        ("b\0c\x0bd\x0ce\x7ff\u{85}g", "A: b?c?d?e?f?g\r\n"),
    ] {
        assert_eq!(written("A", value), line, "{value:?}");
    }
}

#[test]
fn names_cannot_break_out() {
    for (name, line) in [
        ("X-Spam_1!", "X-Spam_1!: v\r\n"),
        ("A:b", "A-b: v\r\n"),
        ("A\r\nB", "A--B: v\r\n"),
        (" A\t\0", "-A--: v\r\n"),
        ("É\u{7f}", "--: v\r\n"),
        ("", "-: v\r\n"),
    ] {
        assert_eq!(written(name, "v"), line, "{name:?}");
    }
}

#[test]
fn write_errors_are_returned() {
    let mut small = [0; 3];
    assert!(Header::parse(MAIL).write_to(&mut &mut small[..]).is_err());
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        const PARTS: [&[u8]; 16] = [
            b"A",
            b"b",
            b"A:",
            b"B: ",
            b"X-Unnamed:",
            b":",
            b" ",
            b"\t",
            b"\n",
            b"\n",
            b"\r\n",
            b"\r\n",
            b"\r",
            b"\0",
            b"\xff",
            "é".as_bytes(),
        ];
        (0..self.below(most)).flat_map(|_| PARTS[self.below(PARTS.len())]).copied().collect()
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes(8)).into_owned()
    }
}

#[test]
fn an_unedited_header_is_written_as_received() {
    let mut lcg = Lcg(1);
    for _ in 0..20_000 {
        let raw = lcg.bytes(25);
        let header = Header::parse(&raw);
        let mut out = Vec::new();
        header.write_to(&mut out).expect("a Vec takes everything");
        assert_eq!(out, raw);
        assert_eq!(header.to_bytes(), raw);
        assert_eq!(header.byte_len(), raw.len());
    }
}

/// Whatever is edited, a reader of the result finds the fields that are meant to be there and
/// no others.
#[test]
fn an_edited_header_reads_back() {
    let mut lcg = Lcg(2);
    for _ in 0..20_000 {
        let raw = lcg.bytes(15);
        let mut header = Header::parse(&raw);
        for _ in 0..lcg.below(6) {
            let (name, value) = (lcg.text(), lcg.text());
            let (before, had) = (header.len(), header.count(&name));
            let grown = match lcg.below(7) {
                0 => {
                    header.add(&name, &value);
                    1
                }
                1 => {
                    header.add_at(lcg.below(4), &name, &value);
                    1
                }
                2 => {
                    let had = header.count(&clean_name(&name));
                    header.replace(&name, &value);
                    assert_eq!(header.count(&clean_name(&name)), 1);
                    1 - had as isize
                }
                3 => {
                    let index = lcg.below(2);
                    assert_eq!(header.replace_nth("A", index, &value), index < header.count("A"));
                    0
                }
                4 => {
                    assert_eq!(header.delete(&name), had);
                    -(had as isize)
                }
                5 => -isize::from(header.delete_nth("b", 0)),
                _ => {
                    let had = header.count("A");
                    assert_eq!(header.rename("A", &name), had);
                    0
                }
            };
            assert_eq!(header.len() as isize, before as isize + grown);
        }
        let written = header.to_bytes();
        assert_eq!(header.byte_len(), written.len());
        let again = Header::parse(&written);
        assert_eq!(again.len(), header.len(), "{written:?}");
        assert!(again.names().eq(header.names()), "{written:?}");
        for name in header.names() {
            assert!(again.get_all(name).eq(header.get_all(name)), "{written:?}");
        }
    }
}

#[test]
fn fields_of_octets_stand_where_they_are_put() {
    let mut header = Header::parse(b"A: 1\r\nB: 2\r\n");
    header.add_raw_at(1, "X", b"\tcaf\xe9  x\n more\r\n\tlast\r\n");
    header.add_raw_at(99, "Last", b"");
    assert!(header.replace_raw(0, "a", b"no blank") && !header.replace_raw(9, "a", b"x"));
    assert_eq!(
        header.to_bytes(),
        b"a:no blank\r\nX:\tcaf\xe9  x\r\n more\r\n\tlast\r\nB: 2\r\nLast:\r\n"
    );
    let entries: Vec<_> = header.entries().collect();
    assert_eq!(entries[0], (&b"a"[..], &b"no blank\r\n"[..]));
    assert!(header.remove(3) && header.remove(1) && !header.remove(2));
    // Nothing in a value ends the field or the section.
    header.add_raw(" b\r\nad:", b" 1\r\n\r\nEvil: 2\x00\x01\r3");
    assert_eq!(header.to_bytes(), b"a:no blank\r\nB: 2\r\n-b--ad-: 1\r\n Evil: 23\r\n");
    assert_eq!(Header::parse(&header.to_bytes()).len(), 3);
}

#[test]
fn our_own_trace_is_known_whatever_stands_around_it() {
    let mut header = Header::parse(b"Received: theirs\r\nA: 1\r\n");
    assert_eq!(header.trace(), None);
    header.add_trace("ours");
    header.add_at(0, "Received", "later");
    assert_eq!(header.trace(), Some(1));
    let mut again = Header::parse(&[b"X: 0\r\n", &header.to_bytes()[..]].concat());
    again.keep_trace(&header);
    assert_eq!(again.trace(), Some(2));
    header.remove(1);
    assert_eq!(header.trace(), None);
}
