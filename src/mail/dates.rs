//! The dates of messages, leniently.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The moment that the value of a Date field stands for (RFC 5322 3.3, 4.3).
///
/// Also understood are common mistakes: a wrong day of the week, no zone or one that nobody knows
/// (which is UTC then), the order of ctime(3), `24-Nov-2026`, a zone `+01:00` or `GMT+0100`, names
/// of months in full, and ISO 8601.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    PARSER
        .parse_timestamp(text)
        .ok()
        .or_else(|| PARSER.parse_timestamp(rewritten(text)?).ok())
        .or_else(|| iso(text))
}

/// ISO 8601, with a blank or a T in the middle and perhaps one before the zone.
fn iso(text: &str) -> Option<Timestamp> {
    let text = text.replacen(' ', "T", 1).replace(' ', "");
    text.parse().or_else(|_| (text + "Z").parse()).ok()
}

/// The parts of a date, whatever their order, as RFC 5322 has them.
fn rewritten(text: &str) -> Option<String> {
    let (mut day, mut month, mut year) = (None, None, None);
    let (mut time, mut zone) = (None, None);
    let text = without_comments(text);
    for word in text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()) {
        let is_date = word.contains('-') && word.contains(|c: char| c.is_ascii_alphabetic());
        let parts = if is_date && day.is_none() { word.split('-').collect() } else { vec![word] };
        for part in parts {
            let number = part.bytes().all(|byte| byte.is_ascii_digit());
            let start = part.get(..3).unwrap_or("").to_ascii_lowercase();
            if part.contains(':') && time.is_none() {
                time = Some(clock(part)?);
            } else if let Some(at) = MONTHS.iter().position(|month| *month == start)
                && month.is_none()
            {
                month = Some(&MONTHS[at]);
            } else if number && day.is_none() && part.len() <= 2 {
                day = Some(part);
            } else if number && year.is_none() {
                year = Some(part);
            } else if time.is_some() && zone.is_none() {
                zone = offset(part);
            }
        }
    }
    let (time, zone) = (time?, zone.unwrap_or_else(|| "+0000".into()));
    Some(format!("{} {} {} {time} {zone}", day?, month?, year?))
}

/// `9:05` and `09:05:00.123` as `09:05` and `09:05:00`.
fn clock(text: &str) -> Option<String> {
    let text = text.split('.').next()?;
    let parts = text.split(':').map(|part| part.parse::<u8>().ok().map(|n| format!("{n:02}")));
    Some(parts.collect::<Option<Vec<_>>>()?.join(":"))
}

/// `+01:00`, `GMT+1` and the like as `+0100`; None where it says no number.
fn offset(text: &str) -> Option<String> {
    let sign = text.find(['+', '-'])?;
    let digits: String = text[sign + 1..].chars().filter(|c| *c != ':').collect();
    let digits = match digits.len() {
        1 | 2 => format!("{digits:0>2}00"),
        3 | 4 => format!("{digits:0>4}"),
        _ => return None,
    };
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| format!("{}{digits}", &text[sign..=sign]))
}

fn without_comments(text: &str) -> String {
    let mut depth = 0u32;
    let keep = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_many_forms() {
        let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for text in [
            "Mon, 23 Nov 2026 12:00:00 +0000",
            "23 Nov 2026 12:00 +0000",
            "Mon, 23 Nov 2026 13:00:00 +0100 (CET)",
            "Mon, 23 Nov 2026 07:00:00 EST",
            "Mon, 23 Nov 2026 12:00:00 GMT",
            "Mon, 23 Nov 26 12:00:00 UT",
            "Mon,\n 23 Nov 2026 12:00:00 -0000",
            "Fri, 23 Nov 2026 12:00:00 +0000",
            "Mon, 23 Nov 2026 12:00:00",
            "Mon, 23 Nov 2026 12:00:00 UTC",
            "Mon, 23 Nov 2026 12:00:00 XYZT",
            "Mon 23 Nov 2026 12:00:00 +0000",
            "Monday, 23 November 2026 12:00:00 +0000",
            "Mon, 23 Nov 2026 13:00:00 +01:00",
            "Mon, 23 Nov 2026 13:00:00 GMT+01:00",
            "Mon, 23 Nov 2026 13:00:00 GMT+1",
            "Mon, 23-Nov-2026 12:00:00 GMT",
            "Mon Nov 23 12:00:00 2026",
            "Mon Nov 23 12:00:00 UTC 2026",
            "Mon Nov 23 13:00:00 2026 +0100",
            "Mon, 23 Nov 2026 12:00:00.987 +0000",
            "Mon (a (b) c) Nov 23 2026 12:00:00 (noon)",
            "2026-11-23T12:00:00Z",
            "2026-11-23 12:00:00 +0000",
            "2026-11-23 12:00:00",
            "2026-11-23 13:00:00+01:00",
            "  Mon, 23 Nov 2026 12:00:00 +0000  ",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        let early: Timestamp = "2026-11-03T09:05:07Z".parse().unwrap();
        assert_eq!(parse("Tue, 3 Nov 2026 9:5:7 +0000"), Some(early));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "23 Nov",
            "12:00",
            "99 Nov 2026 12:00:00 +0000",
            "(",
            "23 Nov 2026 ::",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
