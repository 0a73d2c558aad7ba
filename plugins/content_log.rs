//! ```text
//! NAME
//!     content_log - keeps a copy of every message in a file
//!
//! SYNOPSIS
//!     content_log
//!
//! DESCRIPTION
//!     Appends each message that was received, header section and text, to a file, with LF line
//!     ends.  It does so whether or not the message is queued afterwards.  Place it after the
//!     plugins that refuse the messages that you do not want to keep.
//!
//!     The file is created with permissions 0600.  Its folder must exist.  A copy that cannot be
//!     written is taken back and reported in the log; the message still goes to its recipients.
//!
//! CONFIG
//!     content_log_enabled   0 switches it off; 1 by default
//!     content_log_file      the path of the file, which may have the conversions of strftime(3).
//!                           It may begin with ~; a relative path is relative to the working
//!                           directory. mail/%Y%m%d by default
//!
//! SEE ALSO
//!     logging/file, queue/maildir
//! ```

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::Level;
use crate::plugins::logging::file;
use crate::settings::yes_or_no;
use crate::state::Transaction;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    hooks.uses_config(&["content_log_enabled", "content_log_file"]);
    let zone = TimeZone::system();
    hooks.data_post(move |session| {
        let enabled = session.config_value("content_log_enabled");
        if enabled.as_deref().and_then(yes_or_no) == Some(false) || session.is_rehearsal() {
            return DECLINED;
        }
        let format = session.config_value("content_log_file");
        let format = format.unwrap_or_else(|| "mail/%Y%m%d".into());
        let now = Timestamp::now().to_zoned(zone.clone());
        let saved = file::time(&format, &now, true).map_err(io::Error::other).and_then(|path| {
            append(&session.expand(&path), &session.transaction).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot write to {path}: {error}"))
            })
        });
        match saved {
            Ok(()) => session.log(Level::Debug, "message saved"),
            Err(why) => session.log(Level::Error, why),
        }
        DECLINED
    });
    Ok(())
}

/// Appends the message; nothing of it stays where that fails.
fn append(path: &Path, transaction: &Transaction) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // Other processes write to it, too.
    let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let before = file.metadata()?.len();
    let done = transaction.write_lf(&mut &*file);
    if done.is_err() {
        let _ = file.set_len(before);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::testing::Trial;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn trial(files: &[(&str, &str)]) -> Trial {
        let mut trial = Trial::new("content_log", files);
        trial.message("Subject: x\n\nline\n");
        trial
    }

    #[test]
    fn messages_are_appended_with_what_was_added_to_them() {
        let mut trial = trial(&[("content_log_file", "~/all.%%")]);
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        trial.session.transaction.header.add_at(0, "X-A", "b");
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        let path = trial.dir().join("all.%");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "Subject: x\n\nline\nX-A: b\nSubject: x\n\nline\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_path_has_the_time() {
        let mut trial = trial(&[("content_log_file", "{dir}/%Y-%i")]);
        trial.plain(Hook::DataPost);
        let year = Timestamp::now().to_zoned(TimeZone::system()).year();
        let written = [year - 1, year, year + 1].map(|year| format!("{year}-%i"));
        let names = fs::read_dir(trial.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let found = names.filter(|name| written.iter().any(|wanted| name == wanted.as_str()));
        assert_eq!(found.count(), 1);
    }

    #[test]
    fn it_can_be_switched_off_and_on() {
        let mut trial = trial(&[("content_log_file", "{dir}/all"), ("content_log_enabled", "0")]);
        trial.plain(Hook::DataPost);
        assert!(!trial.dir().join("all").exists());
        trial.set_config("content_log_enabled", "1\n");
        trial.plain(Hook::DataPost);
        assert!(trial.dir().join("all").exists());
    }

    #[test]
    fn what_cannot_be_written_is_logged_and_harmless() {
        for path in ["/dev/full", "{dir}/missing/all"] {
            let mut trial = trial(&[("content_log_file", path)]);
            assert_eq!(trial.plain(Hook::DataPost), DECLINED);
            assert!(trial.log().contains("content_log: cannot write to "), "{}", trial.log());
        }
        assert!(Trial::load("content_log mail", &[]).is_err());
    }
}
