//! The line of a command.

/// A line as its verb and its argument; white space at the end means nothing (RFC 5321 4.1.1).
pub fn split(line: &str) -> (&str, &str) {
    let line = line.trim_end_matches([' ', '\t']);
    match line.split_once(' ') {
        Some((verb, argument)) => (verb, argument.trim_start_matches(' ')),
        None => (line, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_the_first_blank() {
        assert_eq!(split("MAIL FROM:<a@b>  SIZE=1 "), ("MAIL", "FROM:<a@b>  SIZE=1"));
        assert_eq!(split("NOOP"), ("NOOP", ""));
        assert_eq!(split(""), ("", ""));
        assert_eq!(split("  x"), ("", "x"));
    }

    #[test]
    fn white_space_at_the_end_means_nothing() {
        for (line, verb, argument) in [
            ("NOOP\t", "NOOP", ""),
            ("QUIT \t", "QUIT", ""),
            ("RSET\t \t ", "RSET", ""),
            ("RCPT TO:<a@b>\t", "RCPT", "TO:<a@b>"),
            ("MAIL FROM:<a@b>\tSIZE=1 \t", "MAIL", "FROM:<a@b>\tSIZE=1"),
            ("\t", "", ""),
        ] {
            assert_eq!(split(line), (verb, argument), "{line:?}");
        }
    }
}
