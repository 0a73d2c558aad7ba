//! The options of an old command line, as our programs take them.

use clap::Parser;

use crate::cli::{Forkserver, Inetd, Prefork};

/// What a command line comes to.
#[derive(Default)]
pub(super) struct Options {
    pub(super) user: Option<String>,
    pub(super) addresses: Vec<String>,
    pub(super) ports: Vec<u16>,
}

/// The options as our program of that name takes them.
///
/// # Errors
/// Why it does not, in a line.
pub(super) fn parse(program: &str, words: &[String]) -> Result<Options, String> {
    let line = std::iter::once(program).chain(words.iter().map(String::as_str));
    let why = |error: clap::Error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("{program}: {}", first.trim_start_matches("error: "))
    };
    Ok(match program {
        "qpsmtpd-forkserver" => {
            let options = Forkserver::try_parse_from(line).map_err(why)?;
            options.daemon.common.refuse_words().map_err(why)?;
            let (user, addresses) = (options.daemon.user, options.listen_address);
            Options { user, addresses, ports: options.port }
        }
        "qpsmtpd-prefork" => {
            let options = Prefork::try_parse_from(line).map_err(why)?;
            options.daemon.common.refuse_words().map_err(why)?;
            let (user, addresses) = (options.daemon.user, options.listen_address);
            Options { user, addresses, ports: options.port }
        }
        _ => {
            let options = Inetd::try_parse_from(line).map_err(why)?;
            options.common.refuse_words().map_err(why)?;
            Options { user: options.user, ..Options::default() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_options_are_taken_and_others_named() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = words("-u qpsmtpd -l 0.0.0.0 -p 465 -c 40 -m 5");
        let options = parse("qpsmtpd-forkserver", &line).unwrap();
        assert_eq!(options.user.as_deref(), Some("qpsmtpd"));
        assert_eq!(
            (&*options.addresses, &*options.ports),
            (&["0.0.0.0".to_owned()][..], &[465][..])
        );
        assert!(
            parse("qpsmtpd-prefork", &words("--interface ::1 --children 9 --pretty-child")).is_ok()
        );
        for (word, program) in
            [("--fast", "qpsmtpd"), ("start", "qpsmtpd-prefork"), ("x", "qpsmtpd-forkserver")]
        {
            let why = parse(program, &words(word)).err().unwrap();
            assert_eq!(why, format!("{program}: unexpected argument '{word}' found"));
        }
    }
}
