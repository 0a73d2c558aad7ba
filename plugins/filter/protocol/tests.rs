use super::tables::Registered;
use super::*;

const REQUEST: Request = Request { session: 0x12, token: 0xab };

/// A line without its time.
fn shown(line: &[u8]) -> String {
    let line = str::from_utf8(line).unwrap();
    let mut words: Vec<&str> = line.split('|').collect();
    let (seconds, micros) = words.remove(2).split_once('.').unwrap();
    assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6);
    words.join("|")
}

#[test]
fn events_have_the_fields_of_their_version() {
    for (version, auth, mail) in [
        (Version::V05, "u|pass", "1|a@b|ok"),
        (Version::V06, "u|pass", "1|ok|a@b"),
        (Version::V07, "pass|u", "1|ok|a@b"),
    ] {
        let line = report(version, Event::LinkAuth, 0x12, &["pass", "u"]);
        let start = format!("report|{version}|smtp-in");
        assert_eq!(shown(&line), format!("{start}|link-auth|0000000000000012|{auth}\n"));
        let line = report(version, Event::TxMail, 0x12, &["1", "ok", "a@b"]);
        assert_eq!(shown(&line), format!("{start}|tx-mail|0000000000000012|{mail}\n"));
    }
    let line = report(Version::V07, Event::Timeout, u64::MAX, &[]);
    assert_eq!(shown(&line), "report|0.7|smtp-in|timeout|ffffffffffffffff\n");
}

#[test]
fn only_the_last_field_may_have_a_bar_and_none_a_line_end() {
    let line = report(Version::V07, Event::LinkAuth, 1, &["a|b", "c|d\ne"]);
    assert!(shown(&line).ends_with("|a?b|c|d?e\n"));
    let line = report(Version::V05, Event::TxMail, 1, &["1", "ok", "a|b"]);
    assert!(shown(&line).ends_with("|1|a?b|ok\n"));
}

#[test]
fn requests_have_a_session_and_a_token() {
    let line = ask(Version::V06, Phase::Connect, REQUEST, &["mx", "192.0.2.1"]);
    let want = "filter|0.6|smtp-in|connect|0000000000000012|00000000000000ab|mx|192.0.2.1\n";
    assert_eq!(shown(&line), want);
    assert_eq!(session_of(&line), Some(0x12));
    let line = ask(Version::V06, Phase::Data, REQUEST, &[]);
    assert!(shown(&line).ends_with("|data|0000000000000012|00000000000000ab|\n"));
    let line = data_head(Version::V06, REQUEST);
    assert!(shown(&line).ends_with("|data-line|0000000000000012|00000000000000ab|"));
    let line = report(Version::V07, Event::Timeout, 7, &[]);
    assert_eq!(session_of(line.trim_ascii_end()), Some(7));
    assert_eq!(session_of(b"config|ready"), None);
}

#[test]
fn answers_are_read() {
    for (line, want) in [
        ("register|ready", Line::Ready),
        ("register|report|smtp-in|tx-mail", Line::Register(Registered::Event(Event::TxMail))),
        ("register|report|smtp-in|*", Line::Register(Registered::AllEvents)),
        ("register|filter|smtp-in|commit", Line::Register(Registered::Phase(Phase::Commit))),
        ("register|report|smtp-out|any", Line::Register(Registered::Outgoing)),
        ("filter-result|12|ab|proceed", Line::Result(REQUEST, Decision::Proceed)),
        ("filter-result|0012|AB|junk\r", Line::Result(REQUEST, Decision::Junk)),
        ("filter-result|12|ab|reject|550 a|b", Line::Result(REQUEST, Decision::Reject("550 a|b"))),
        ("filter-result|12|ab|rewrite|", Line::Result(REQUEST, Decision::Rewrite(""))),
        ("filter-dataline|12|ab|a|b", Line::Text(REQUEST, b"a|b")),
        ("filter-dataline|12|ab|", Line::Text(REQUEST, b"")),
        ("report|1576146008.006099|smtp-in|12|a|b", Line::Report(0x12, "a|b")),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(want), "{line}");
    }
}

#[test]
fn garbage_is_none() {
    for line in [
        "",
        "|",
        "filter-result",
        "filter-result|12",
        "filter-result|12|ab",
        "filter-result|12|ab|",
        "filter-result|12|ab|reject",
        "filter-result|12|ab|accept",
        "filter-result||ab|proceed",
        "filter-result|+12|ab|proceed",
        "filter-result|12345678901234567|ab|proceed",
        "register|",
        "register|filter|smtp-in|nothing",
        "register|report|smtp-in|nothing",
        "register|filter|smtp-in|*",
        "report|1|smtp-out|12|x",
        "Hello",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
    }
    assert!(parse(b"filter-result|12|ab|reject|550 \xff").is_err());
    assert_eq!(parse(b"filter-dataline|12|ab|\xff"), Ok(Line::Text(REQUEST, b"\xff")));
}

#[test]
fn replies_that_refuse() {
    for (text, want) in [
        ("550 no", Some((550, "no"))),
        ("421-no", Some((421, "no"))),
        ("450", Some((450, ""))),
        ("250 yes", None),
        ("55 no", None),
        ("5500", None),
        ("+50 no", None),
        ("", None),
        ("5\u{20ac}", None),
    ] {
        assert_eq!(reply(text), want, "{text}");
    }
}
