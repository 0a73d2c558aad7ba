//! What in a plugin's line of the configuration is the host's, and what the Perl plugin's own.

use std::time::Duration;

use crate::hook::{Args, Settings};

/// How much sooner than the alarm, which ends the worker, a Perl handler has to be done.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The universal arguments of a Perl plugin.  It has its own idea of what its arguments mean, so
/// one that makes no sense here is left to it.  Without `timeout` a handler has the time `usual`.
pub fn settings(words: &[&str], usual: Duration) -> Settings {
    let value = |name: &str| {
        let at = words.iter().rposition(|word| word.eq_ignore_ascii_case(name))?;
        words.get(at + 1).copied()
    };
    let known = ["on_error", "loglevel", "reject", "reject_type", "timeout"].into_iter();
    let pairs = known.filter_map(|name| Some([name, value(name)?]));
    let sound = pairs.filter(|pair| Settings::from_args(&Args::new(*pair)).is_ok());
    let words: Vec<&str> = sound.flatten().collect();
    let has_timeout = words.contains(&"timeout");
    let mut settings = Settings::from_args(&Args::new(words)).unwrap_or_default();
    if !has_timeout {
        settings.timeout = usual;
    }
    settings.grace = GRACE;
    settings
}

/// The arguments that the plugin itself gets.
pub fn own_arguments<'a>(words: &[&'a str]) -> Vec<&'a str> {
    match words.iter().rposition(|word| *word == "on_error") {
        Some(at) if words.get(at + 1).is_some_and(|w| ["tempfail", "ignore"].contains(w)) => {
            [&words[..at], &words[at + 2..]].concat()
        }
        _ => words.to_vec(),
    }
}

/// Takes the words `perl always` out of a plugin's arguments: the line wants the Perl file, be it a
/// known one or not.  Were they there?
pub fn take_kept(words: &mut Vec<&str>) -> bool {
    let at = words.windows(2).position(|pair| pair == ["perl", "always"]);
    at.inspect(|at| drop(words.drain(*at..at + 2))).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_keep_its_perl_file() {
        for (line, rest, is_kept) in [
            ("reject 0 perl always", "reject 0", true),
            ("perl always reject 0", "reject 0", true),
            ("perl reject always", "perl reject always", false),
            ("perl", "perl", false),
        ] {
            let mut words = line.split(' ').collect();
            assert_eq!(take_kept(&mut words), is_kept, "{line}");
            assert_eq!(words.join(" "), rest);
        }
    }

    #[test]
    fn a_plugin_has_the_time_that_its_argument_says_or_the_usual_one() {
        let seconds = |words: &[&str], usual: u64| {
            let settings = settings(words, Duration::from_secs(usual));
            settings.timeout.as_secs()
        };
        assert_eq!(seconds(&[], 300), 300);
        assert_eq!(seconds(&["timeout", "5"], 300), 5);
        assert_eq!(seconds(&["timeout", "0"], 60), 60);
        assert_eq!(seconds(&["timeout", "600"], 300), 600);
        assert_eq!(seconds(&["timeout", "soon"], 2), 2);
        assert_eq!(seconds(&["Timeout", "60"], 2), 60);
    }
}
