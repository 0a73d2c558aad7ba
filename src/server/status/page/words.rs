//! Texts, figures and times as the page shows them.

/// `text` as text of HTML, also within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out += " ",
            c => out.push(c),
        }
    }
    out
}

/// A count with its thousands apart.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A narrow blank that is not broken.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A time in one or two units.
pub(in crate::server::status) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    let two = |large: u64, one: &str, small: u64, other: &str| match small {
        0 => format!("{large} {one}"),
        _ => format!("{large} {one} {small} {other}"),
    };
    match whole {
        86_400.. => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
        3600.. => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        60.. => two(whole / 60, "min", whole % 60, "s"),
        10.. => format!("{whole} s"),
        _ if seconds >= 1.0 => format!("{seconds:.1} s"),
        _ if seconds == 0.0 => "0 s".into(),
        _ if seconds >= 0.01 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds >= 0.001 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_text_only() {
        assert_eq!(
            escaped("<a href='x'>\"&\"\u{1b}"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot; "
        );
    }

    #[test]
    fn figures_are_read_at_a_glance() {
        let shown = [7, 999, 1000, 1_234_567].map(|count| number(count).replace('\u{202f}', " "));
        assert_eq!(shown, ["7", "999", "1 000", "1 234 567"]);
        for (seconds, want) in [
            (0.0, "0 s"),
            (0.0004, "400 µs"),
            (0.0042, "4.2 ms"),
            (0.25, "250 ms"),
            (2.5, "2.5 s"),
            (59.9, "59 s"),
            (61.0, "1 min 1 s"),
            (7200.0, "2 h"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), want);
        }
    }
}
