//! Queries with placeholders, which the database gets as parameters and never as text.

use super::driver::Driver;
use crate::error::{Error, Result};

/// A query that has been taken apart.
pub(crate) struct Query {
    /// Texts, and after each but the last a placeholder.
    texts: Vec<String>,
    parameters: Vec<Parameter>,
}

/// A part of the user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    /// All of it.
    User,
    /// What is in front of the @.
    Name,
    /// What is behind it.
    Domain,
}

const PARAMETERS: [(&str, Parameter); 3] =
    [("user", Parameter::User), ("name", Parameter::Name), ("domain", Parameter::Domain)];

impl Query {
    /// Reads a query with the placeholders `:user`, `:name` and `:domain`; within quotes, and after
    /// another colon, they are none.
    ///
    /// # Errors
    /// There is none of them, a quote does not end, or a parameter of the database's own is there.
    pub(crate) fn parse(text: &str) -> Result<Query> {
        let mut query = Query { texts: vec![String::new()], parameters: vec![] };
        let mut quote = None;
        let mut rest = text;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            let word = after.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = &after[..word.unwrap_or(after.len())];
            let row = PARAMETERS.iter().find(|(name, _)| *name == word);
            if let (':', None, Some((_, parameter)), false) = (c, quote, row, before == ':') {
                query.parameters.push(*parameter);
                query.texts.push(String::new());
                rest = &after[word.len()..];
                before = ' ';
                continue;
            }
            match quote {
                Some(open) if open == c => quote = None,
                None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
                None if c == '?' => return Err("the query has parameters of its own: '?'".into()),
                _ => {}
            }
            query.texts.iter_mut().next_back().expect("there is one").push(c);
            before = c;
            rest = after;
        }
        if quote.is_some() {
            return Err("the query has a quote that does not end".into());
        }
        if query.parameters.is_empty() {
            return Err(Error::new("the query has none of :user, :name and :domain"));
        }
        Ok(query)
    }

    /// The query as a database wants it.
    pub(super) fn text(&self, driver: &Driver) -> String {
        let mut texts = self.texts.iter();
        let first = texts.next().cloned().unwrap_or_default();
        let rest = texts.enumerate().map(|(at, text)| (driver.parameter)(at + 1) + text);
        first + &rest.collect::<String>()
    }

    /// The values of its parameters for a user.
    pub(super) fn values(&self, user: &str) -> Vec<String> {
        let (name, domain) = user.split_once('@').unwrap_or((user, ""));
        let value = |parameter: &Parameter| match parameter {
            Parameter::User => user.to_owned(),
            Parameter::Name => name.to_owned(),
            Parameter::Domain => domain.to_owned(),
        };
        self.parameters.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::DRIVERS;
    use super::*;

    #[test]
    fn placeholders_become_parameters() {
        for (text, driver, want, values) in [
            ("SELECT p FROM u WHERE a = :user", 0, "SELECT p FROM u WHERE a = ?", vec!["ann@x@y"]),
            (
                "SELECT p FROM u WHERE (n=:name AND d=:domain) OR a=:user",
                1,
                "SELECT p FROM u WHERE (n=$1 AND d=$2) OR a=$3",
                vec!["ann", "x@y", "ann@x@y"],
            ),
            (":user::text||':name'", 1, "$1::text||':name'", vec!["ann@x@y"]),
            (
                "\":user\" `:user` a::name :names :Name :name",
                2,
                "\":user\" `:user` a::name :names :Name ?",
                vec!["ann"],
            ),
            ("'it''s :user' = :user", 2, "'it''s :user' = ?", vec!["ann@x@y"]),
            ("\u{e9}:user\u{20ac}", 0, "\u{e9}?\u{20ac}", vec!["ann@x@y"]),
        ] {
            let query = Query::parse(text).unwrap();
            assert_eq!(query.text(&DRIVERS[driver]), want);
            assert_eq!(query.values("ann@x@y"), values);
        }
        assert_eq!(Query::parse(":domain").unwrap().values("ann"), [""]);
    }

    #[test]
    fn a_query_about_nobody_is_refused() {
        for (text, error) in [
            ("", "the query has none of :user, :name and :domain"),
            ("SELECT ':user'", "the query has none of :user, :name and :domain"),
            ("SELECT ':user", "the query has a quote that does not end"),
            ("SELECT ? = :user", "the query has parameters of its own: '?'"),
        ] {
            assert_eq!(Query::parse(text).err().unwrap().to_string(), error, "{text}");
        }
    }
}
