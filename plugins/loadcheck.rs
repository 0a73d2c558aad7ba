//! ```text
//! NAME
//!     loadcheck - takes no clients while the machine is overloaded
//!
//! SYNOPSIS
//!     loadcheck [max_load LOAD] [cache_time SECONDS]
//!
//! DESCRIPTION
//!     While the load of the last minute is above a limit, a client that connects gets 450 "Server
//!     load too high, please try again later." and the connection is closed.
//!
//!     The load is the first number of /proc/loadavg.  If it cannot be read clients are let in, and
//!     the log says so.
//!
//! ARGUMENTS
//!     max_load     the highest load at which clients are let in; 7 by default; 0 means the default
//!     cache_time   how many seconds a load that was read is used; 10 by default; 0 means the default
//!     uptime       accepted for old configurations; has no effect, because no program is run
//!
//! FILES
//!     /proc/loadavg
//! ```

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, Path::new("/proc/loadavg"))
}

fn register_with(hooks: &mut Hooks, args: &Args, file: &Path) -> Result<()> {
    args.only(&["max_load", "cache_time", "uptime"])?;
    let most = number(args, "max_load", 7.0)?;
    let lifetime = Duration::try_from_secs_f64(number(args, "cache_time", 10.0)?)
        .map_err(|why| Error::new(format!("argument cache_time: {why}")))?;
    let file = file.to_owned();
    let last = Cell::new(None);
    hooks.connect(move |session| {
        let load = match last.get() {
            Some((load, at)) if Instant::now().duration_since(at) <= lifetime => load,
            _ => match read(session, &file) {
                Some(load) => {
                    last.set(Some((load, Instant::now())));
                    load
                }
                None => return DECLINED,
            },
        };
        if load > most {
            session.log(Level::Error, format_args!("local load too high: {load}"));
            return Verdict::denysoft("Server load too high, please try again later.");
        }
        Verdict::declined(format!("continuing with load: {load}"))
    });
    Ok(())
}

/// A number that is `default` where it is absent or 0.
fn number(args: &Args, name: &str, default: f64) -> Result<f64> {
    let number: f64 = args.parsed(name, default)?;
    if !number.is_finite() {
        return Err(Error::value(name, number, "a number"));
    }
    Ok(if number == 0.0 { default } else { number })
}

/// The load of the last minute.
fn read(session: &Session, file: &Path) -> Option<f64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let load = text.split_whitespace().next().and_then(|word| word.parse().ok());
    match load {
        Some(load) => {
            session.log(Level::Debug, format_args!("{} reported: {load}", file.display()));
        }
        None => session.log(Level::Error, "unable to acquire system load"),
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::testing::Trial;

    /// The load is in the file `loadavg` of the configuration.
    fn with_file(hooks: &mut Hooks, args: &Args) -> Result<()> {
        let file = hooks.config().expand("~/config/loadavg");
        register_with(hooks, args, &file)
    }

    fn connect(arguments: &str, load: &str) -> Verdict {
        let text = format!("{load} 3.99 2.00 1/234 5678\n");
        Trial::with(with_file, arguments, &[("loadavg", &text)]).plain(Hook::Connect)
    }

    #[test]
    fn above_the_limit_nobody_is_taken() {
        let refused = Verdict::denysoft("Server load too high, please try again later.");
        for (arguments, load, is_taken) in [
            ("", "7.00", true),
            ("", "7.01", false),
            ("max_load 0", "7.01", false),
            ("max_load 2.5", "2.50", true),
            ("max_load 2.5", "2.51", false),
            ("max_load 12 uptime /usr/bin/uptime", "11.9", true),
        ] {
            let verdict = connect(arguments, load);
            if is_taken {
                let load: f64 = load.parse().unwrap();
                assert_eq!(verdict.text(), format!("continuing with load: {load}"));
            }
            assert_eq!(verdict == refused, !is_taken, "{arguments}, {load}");
        }
    }

    #[test]
    fn a_load_is_good_for_a_while() {
        for (arguments, is_old) in [("cache_time 3600", true), ("cache_time 0.000000001", false)] {
            let mut trial = Trial::with(with_file, arguments, &[("loadavg", "1.5 0 0")]);
            assert_eq!(trial.plain(Hook::Connect).text(), "continuing with load: 1.5");
            trial.set_config("loadavg", "70.25 0 0");
            assert_eq!(trial.plain(Hook::Connect).code().is_deny(), !is_old, "{arguments}");
        }
    }

    #[test]
    fn without_a_load_everybody_is_taken() {
        for text in ["", "high 2 3"] {
            let mut trial = Trial::with(with_file, "", &[("loadavg", text)]);
            assert_eq!(trial.plain(Hook::Connect), DECLINED);
            assert!(trial.log().contains("unable to acquire system load"));
        }
    }

    #[test]
    fn this_system_has_a_load() {
        let mut trial = Trial::new("loadcheck max_load 1000000", &[]);
        assert!(trial.plain(Hook::Connect).text().starts_with("continuing with load: "));
    }

    #[test]
    fn arguments_without_meaning_are_errors() {
        for arguments in ["max_load much", "max_load NaN", "cache_time -1", "load 7", "max_load"] {
            assert!(Trial::load(&format!("loadcheck {arguments}"), &[]).is_err(), "{arguments}");
        }
    }
}
