//! The domains of a message's authors.

/// The domains of the addresses in the value of a field From (RFC 5322 3.6.2), as they stand there,
/// each once.  Comments, quoted strings and display names are no addresses, whatever they look like.
pub fn author_domains(value: &str) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for mailbox in mailboxes(value) {
        let Some((_, domain)) = mailbox.rsplit_once('@') else { continue };
        let domain: String = domain.chars().filter(|c| !c.is_whitespace()).collect();
        let domain = domain.trim_end_matches('.');
        if !domain.is_empty() && !domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
            domains.push(domain.to_owned());
        }
    }
    domains
}

/// The addresses in a list, without display names, comments and quoted local parts.
fn mailboxes(value: &str) -> Vec<String> {
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
    all
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("a@b.exa\r\n mple", &["b.example"]),
            ("undisclosed:;", &[]),
            ("nobody", &[]),
            ("<>", &[]),
            ("", &[]),
        ] {
            assert_eq!(author_domains(value), expected, "{value}");
        }
    }
}
