//! ```text
//! NAME
//!     connection_time - writes to the log how long a session lasted
//!
//! SYNOPSIS
//!     connection_time [LEVEL]
//!     connection_time loglevel +1|-1|LEVEL
//!
//! DESCRIPTION
//!     At the end of a session this plugin writes to the log how long the session lasted, "12.345
//!     s.": from the moment when it had a process until the client was gone.
//!
//! ARGUMENTS
//!     LEVEL   the level of the line, LOGINFO by default
//! ```

use crate::error::{Error, Result};
use crate::hook::{Args, Hooks};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let level: Level = match args.get(0) {
        Some(level) => level.parse().map_err(Error::new)?,
        None => Level::Info,
    };
    hooks.post_connection(move |session| {
        let seconds = session.age().as_secs_f64();
        session.log(level, format_args!("{seconds:.3} s."));
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::hook::{DECLINED, Hook};
    use crate::testing::Trial;

    #[test]
    fn the_end_of_a_session_says_how_long_it_was() {
        let mut trial = Trial::new("connection_time", &[]);
        assert_eq!(trial.plain(Hook::PostConnection), DECLINED);
        let log = trial.log();
        let line = log.lines().find(|line| line.contains(" s.")).unwrap();
        let line = line.strip_prefix("(post-connection) connection_time: ").unwrap();
        let (whole, thousandths) = line.strip_suffix(" s.").unwrap().split_once('.').unwrap();
        assert!(whole.parse::<u32>().is_ok() && thousandths.len() == 3, "{line}");
    }

    #[test]
    fn the_level_is_an_argument() {
        thread_local! {
            static LEVELS: Rc<RefCell<Vec<Level>>> = Rc::default();
        }
        fn with_log(hooks: &mut Hooks, args: &Args) -> Result<()> {
            register(hooks, args)?;
            let levels = LEVELS.with(Clone::clone);
            hooks.logging(Level::Debug, move |record| {
                if record.text.ends_with(" s.") {
                    levels.borrow_mut().push(record.level);
                }
                DECLINED
            });
            Ok(())
        }
        for arguments in ["", "4", "LOGDEBUG", "loglevel +1", "loglevel LOGWARN"] {
            Trial::with(with_log, arguments, &[]).plain(Hook::PostConnection);
        }
        let found = LEVELS.with(|levels| levels.take());
        assert_eq!(found, [Level::Info, Level::Warn, Level::Debug, Level::Debug, Level::Warn]);
        for line in ["connection_time loud", "connection_time 4 5"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }
}
