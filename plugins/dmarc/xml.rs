//! The elements of a report (RFC 9990 3.1).

/// The longest text that strangers choose.
const LONGEST: usize = 255;

/// An element with a text in it.
pub(super) fn text(name: &str, text: &str) -> String {
    element(name, &escaped(text))
}

/// An element with elements in it.
pub(super) fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

/// What stands in the first element of that name, as [`text`] wrote it; empty if there is none.
pub(super) fn within<'a>(xml: &'a str, name: &str) -> &'a str {
    let behind = xml.split_once(&format!("<{name}>")).map_or("", |(_, behind)| behind);
    behind.split_once(&format!("</{name}>")).map_or("", |(content, _)| content)
}

/// Foreign text as it may stand in a document of XML 1.0: nothing that ends it, no character that there
/// must not be (2.2), and no more than a name is long.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&apos;",
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(text("a", "x.example"), "<a>x.example</a>");
        assert_eq!(text("a", "</a><b>&'\""), "<a>&lt;/a&gt;&lt;b&gt;&amp;&apos;&quot;</a>");
        assert_eq!(
            text("a", "\0\u{1b}\u{ffff}\u{85}\u{f6}"),
            "<a>\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{f6}</a>"
        );
        assert_eq!(text("a", &"<".repeat(9000)), element("a", &"&lt;".repeat(LONGEST)));
        assert_eq!(within("<a>1</a><b>2</b>", "b"), "2");
        assert_eq!(within("<a>1</a>", "b"), "");
    }
}
