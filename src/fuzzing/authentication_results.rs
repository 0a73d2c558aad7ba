//! For the fuzz targets: Authentication-Results as others read it (RFC 8601 2.2).

/// The method and the result of each entry, `spf=pass`; None where the value is none of the field.
pub(super) fn methods(value: &str) -> Option<Vec<String>> {
    let mut rest = Rest(value);
    rest.blanks();
    rest.value()?;
    let mut methods = vec![];
    while rest.next(';') {
        rest.blanks();
        methods.push(format!("{}={}", rest.word()?, rest.assigned(Rest::word)?));
        while !rest.0.is_empty() && !rest.0.starts_with(';') {
            rest.word()?;
            if rest.0.starts_with('.') {
                rest.0 = &rest.0[1..];
                rest.word()?;
            }
            rest.assigned(Rest::value)?;
        }
    }
    rest.0.is_empty().then_some(methods)
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Skips blanks, folds and comments.
    fn blanks(&mut self) {
        loop {
            self.0 = self.0.trim_start_matches([' ', '\t', '\n']);
            let Some(comment) = self.0.strip_prefix('(') else { return };
            let Some((_, rest)) = comment.split_once(')') else { return };
            self.0 = rest;
        }
    }

    fn next(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn taken(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(length).filter(|_| length > 0)?;
        self.0 = rest;
        self.blanks();
        Some(taken)
    }

    /// A keyword: letters, digits and hyphens.
    fn word(&mut self) -> Option<&'a str> {
        let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        self.taken(self.0.find(is_end).unwrap_or(self.0.len()))
    }

    /// A token with at most one `@`, or a quoted string.
    fn value(&mut self) -> Option<&'a str> {
        if let Some(quoted) = self.0.strip_prefix('"') {
            return self.taken(quoted.find('"')? + 2).filter(|quoted| !quoted.contains('\\'));
        }
        let is_end = |c: char| !c.is_ascii_graphic() || "()<>,;:\\\"/[]?=".contains(c);
        let value = self.taken(self.0.find(is_end).unwrap_or(self.0.len()))?;
        (value.matches('@').count() < 2 && !value.ends_with('@')).then_some(value)
    }

    fn assigned<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        if !self.next('=') {
            return None;
        }
        self.blanks();
        read(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_authentication_results_and_what_is_not() {
        let found = methods("mx.test; spf=pass (so) smtp.helo=a.b;\n\tdkim=fail reason=\"x; y\"");
        assert_eq!(found.unwrap(), ["spf=pass", "dkim=fail"]);
        for bad in ["", "mx; spf", "mx; spf=", "mx; spf=pass x", "mx; spf=pass a.b=c@d@e", "mx; ="]
        {
            assert_eq!(methods(bad), None, "{bad}");
        }
    }
}
