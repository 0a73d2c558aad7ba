//! The domains of a message's authors.

use std::collections::HashSet;

/// The domains of the addresses in the value of a field From (RFC 5322 3.6.2), as they stand there,
/// each once.  Comments, quoted strings and display names are no addresses, whatever they look like.
///
/// Where a value is broken, readers differ in what they show, so all that some of them may take for a
/// domain is there.
pub fn author_domains(value: &str) -> Vec<String> {
    let (mut domains, mut known) = (Vec::new(), HashSet::new());
    let (mut found, is_whole) = mailboxes(value);
    if !is_whole {
        found.extend(mailboxes(&value.replace(['"', '(', ')', '\\'], " ")).0);
    }
    for mailbox in found {
        let Some((_, domain)) = mailbox.rsplit_once('@') else { continue };
        let shown: String =
            domain.chars().filter(|c| c.is_whitespace() || !c.is_control()).collect();
        let domain = shown.trim();
        let joined: String = domain.split_whitespace().collect();
        let first = domain.split_whitespace().next().unwrap_or_default();
        // A blank beside a dot is obsolete syntax (RFC 5322 4.4).
        let is_cut = first.contains('.') && !first.ends_with('.');
        let behind = domain.get(first.len()..).unwrap_or_default().trim_start();
        let readings = [Some(joined), (is_cut && !behind.starts_with('.')).then(|| first.into())];
        for domain in readings.into_iter().flatten() {
            let domain = domain.trim_end_matches('.');
            // There may be very many.
            if !domain.is_empty() && known.insert(domain.to_ascii_lowercase()) {
                domains.push(domain.to_owned());
            }
        }
    }
    domains
}

/// The addresses in a list, without display names, comments and quoted local parts; and whether
/// everything ends that begins.
fn mailboxes(value: &str) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    let mut plain = String::new();
    let mut angle: Option<String> = None;
    let mut open = false;
    let mut comments = 0;
    let mut quoted = false;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || comments > 0 => {
                chars.next();
            }
            '"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => comments += 1,
            ')' if comments > 0 => comments -= 1,
            _ if comments > 0 => {}
            '<' => {
                open = true;
                angle = Some(String::new());
            }
            '>' => open = false,
            ',' | ';' if !open => {
                all.push(angle.take().unwrap_or_else(|| std::mem::take(&mut plain)));
                plain.clear();
            }
            // The name of a group stands in front of its addresses.
            ':' if !open => plain.clear(),
            _ => match &mut angle {
                Some(address) if open => address.push(c),
                _ => plain.push(c),
            },
        }
    }
    all.push(angle.unwrap_or(plain));
    (all, !quoted && comments == 0 && !open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn domains_of_authors() {
        for (value, expected) in [
            (" a@b.example", &["b.example"][..]),
            ("Joe <a@b.example>", &["b.example"]),
            ("\"x@evil.example\" <a@b.example>", &["b.example"]),
            ("x@evil.example <a@b.example>", &["b.example"]),
            ("(a@evil.example) a@b.example (c\\)@d)", &["b.example"]),
            ("\"a@x\\\"y\"@b.example", &["b.example"]),
            ("a@b.example, c@B.example., d@e.example", &["b.example", "e.example"]),
            ("Team: a@b.example, <c@d.example>;", &["b.example", "d.example"]),
            ("<@route.example:a@b.example>", &["b.example"]),
            ("a@b. example", &["b.example"]),
            ("a@b .example (c)", &["b.example"]),
            ("a@b.exa\r\n mple", &["b.example", "b.exa"]),
            ("<a@b.example x>", &["b.examplex", "b.example"]),
            ("a@b\u{0}.exam\u{1}ple", &["b.example"]),
            ("\"Bank <a@b.example>", &["b.example"]),
            ("(Bank <a@b.example>", &["b.example"]),
            ("a@b.example (", &["b.example"]),
            ("<a@b.example", &["b.example"]),
            ("undisclosed:;", &[]),
            ("nobody", &[]),
            ("<>", &[]),
            ("", &[]),
        ] {
            assert_eq!(author_domains(value), expected, "{value}");
        }
    }

    /// A header section of a megabyte has room for so many.
    #[test]
    fn very_many_authors_cost_no_more_than_one_pass() {
        let value: String = (0..80_000).map(|one| format!("a@{one}.b,")).collect();
        let begun = Instant::now();
        assert_eq!(author_domains(&value).len(), 80_000);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
