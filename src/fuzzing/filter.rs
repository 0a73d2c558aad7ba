//! Lines of filters of OpenSMTPD, and lines for them.

use crate::plugins::filter::protocol::{self as filters, Event, Line, Phase, Request, Version};

/// Lines of a filter, and lines for one with these words in their fields, which stay lines.
pub(super) fn filter(input: &[u8]) {
    for line in input.split(|octet| *octet == b'\n') {
        let owner = filters::session_in_answer(line);
        match filters::parse(line) {
            Ok(Line::Result(request, decision)) => {
                assert_eq!(owner, Some(request.session));
                let reply = format!("{decision:?}");
                filters::reply(reply.split('"').nth(1).unwrap_or(""));
            }
            Ok(Line::Text(request, text)) => {
                assert_eq!(owner, Some(request.session));
                assert!(line.trim_ascii_end().ends_with(text.trim_ascii_end()));
            }
            Ok(Line::Report(session, _)) => assert_eq!(owner, Some(session)),
            Ok(Line::Register(_) | Line::Ready) => assert_eq!(owner, None),
            Err(why) => assert!(!why.is_empty()),
        }
    }
    let text = String::from_utf8_lossy(input);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    let request = Request { session: 1 << 60 | 7, token: 9 };
    for version in [Version::V05, Version::V06, Version::V07] {
        let told = filters::report(version, Event::TxMail, request.session, &["1", one, other]);
        let asked = filters::ask(version, Phase::Connect, request, &[one, other]);
        for (line, bars) in [(told, 7), (asked, 7)] {
            assert_eq!(line.iter().position(|octet| *octet == b'\n'), Some(line.len() - 1));
            assert_eq!(filters::session_of(line.trim_ascii_end()), Some(request.session));
            assert!(line.iter().filter(|octet| **octet == b'|').count() >= bars);
        }
    }
    filters::greeting(Version::V07, &text);
}
