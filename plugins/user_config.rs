//! ```text
//! NAME
//!     user_config - lets recipients have their own configuration files
//!
//! SYNOPSIS
//!     user_config [FOLDER]
//!
//! DESCRIPTION
//!     When a plugin asks for a configuration file for one recipient, this plugin reads it from
//!     that recipient's folder.  A file that is not there is read from config/ as always.
//!
//!     The files are like those of config/: each line is an entry, and empty lines and lines that
//!     begin with # are ignored. $include is an ordinary line here: with it a user could read what
//!     only the server may read.  Of a file larger than a megabyte only the beginning is read.
//!     What is not a regular file is ignored.
//!
//!     The user of the server must be able to read the files.
//!
//!     A recipient cannot change the rest of the path: if a part of its address is empty, is "." or
//!     "..", or has a slash in it, it has no files.  With the Perl plugin of the same name the
//!     recipient "../../tmp/x" has files in /tmp, and comments are entries.
//!
//! ARGUMENTS
//!     FOLDER   the folder; /home/%u/.qpsmtpd by default.  In it
//!
//!                  %u   stands for the local part
//!                  %h   stands for the domain, in lower case and without Unicode
//!                  %a   stands for the whole address
//!
//!              With %u alone, recipients of the same name in all domains have the same files.
//!
//! SEE ALSO
//!     whitelist
//! ```

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Result;
use crate::hook::{Args, Hooks};
use crate::log::Level;
use crate::mail::Address;

/// How many octets of a larger file are read.
const LARGEST: u64 = 1024 * 1024;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let pattern = args.get(0).unwrap_or("/home/%u/.qpsmtpd").to_owned();
    hooks.user_config(move |session, address, name| {
        let path = session.expand(&fill(&pattern, address)?).join(plain(name)?);
        match read(&path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let text = format_args!("Couldn't open {}: {error}", path.display());
                session.log(Level::Notice, text);
                None
            }
        }
    });
    Ok(())
}

/// The folder of a recipient; None where it would be somewhere else.
fn fill(pattern: &str, address: &Address) -> Option<String> {
    let mut pieces = pattern.split('%');
    let mut path = pieces.next()?.to_owned();
    for piece in pieces {
        let host = address.canonical_host().into_owned();
        let value = match piece.chars().next() {
            Some('u') => address.user().to_owned(),
            Some('h') => host,
            Some('a') if host.is_empty() => address.user().to_owned(),
            Some('a') => format!("{}@{host}", address.user()),
            _ => {
                path = path + "%" + piece;
                continue;
            }
        };
        path = path + plain(&value)? + &piece[1..];
    }
    Some(path)
}

/// `name` if it is good for one part of a path.
fn plain(name: &str) -> Option<&str> {
    let is_plain = !["", ".", ".."].contains(&name) && !name.contains(['/', '\0']);
    is_plain.then_some(name)
}

/// The lines of a file; None if it is none, such as a folder.
fn read(path: &Path) -> io::Result<Option<Vec<String>>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = vec![];
    file.take(LARGEST).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(Some(lines.map(str::to_owned).collect()))
}

/// Opens without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    const FILES: [(&str, &str); 1] = [("limit", "5")];

    fn first(trial: &mut Trial, user: &str, host: &str, name: &str) -> Option<String> {
        let lines = trial.session.config_for(&Address::new(user, host), name);
        lines.first().map(str::to_owned)
    }

    #[test]
    fn patterns_are_filled_with_plain_names_only() {
        for (pattern, user, host, path) in [
            ("/home/%u/.q", "ann", "example.com", Some("/home/ann/.q")),
            ("/m/%h/%u", "Ann", "Example.COM", Some("/m/example.com/Ann")),
            ("/m/%a", "a b", "example.com", Some("/m/a b@example.com")),
            ("/m/%a", "postmaster", "", Some("/m/postmaster")),
            ("/m/%h", "postmaster", "", None),
            ("/m/%u%u-%x%", "a", "b.test", Some("/m/aa-%x%")),
            ("/m/%u", "%h", "b.test", Some("/m/%h")),
            ("/m/%u", "..", "b.test", None),
            ("/m/%u", ".", "b.test", None),
            ("/m/x%u", "..", "b.test", None),
            ("/m/%u", "../../tmp/x", "b.test", None),
            ("/m/%u", "a/b", "b.test", None),
            ("/m/%a", "a/b", "b.test", None),
            ("/m/%a", "..", "b.test", Some("/m/..@b.test")),
            ("/m/%u", "...", "b.test", Some("/m/...")),
        ] {
            let found = fill(pattern, &Address::new(user, host));
            assert_eq!(found.as_deref(), path, "{pattern} for {user} at {host}");
        }
    }

    #[test]
    fn a_recipients_file_comes_before_the_servers() {
        let mut trial = Trial::new("user_config {dir}/users/%h/%u", &FILES);
        let folder = trial.dir().join("users/example.com/ann");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("limit"), "# mine\n\n  9 \n$include /etc/passwd\n").unwrap();
        assert_eq!(first(&mut trial, "ann", "Example.com", "limit").as_deref(), Some("9"));
        let lines = trial.session.config_for(&Address::new("ann", "example.com"), "limit");
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["9", "$include /etc/passwd"]);
        for (user, host) in [("bob", "example.com"), ("ann", "example.net"), ("ann/..", "x")] {
            assert_eq!(first(&mut trial, user, host, "limit").as_deref(), Some("5"), "{user}");
        }
        std::fs::write(folder.join("limit"), "").unwrap();
        assert_eq!(first(&mut trial, "ann", "example.com", "limit"), None);
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let mut trial = Trial::new("user_config ~/users/%u", &FILES);
        let folder = trial.dir().join("users/ann");
        std::fs::create_dir_all(folder.join("limit")).unwrap();
        assert_eq!(first(&mut trial, "ann", "example.com", "limit").as_deref(), Some("5"));
        std::fs::remove_dir(folder.join("limit")).unwrap();
        nix::unistd::mkfifo(&folder.join("limit"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(first(&mut trial, "ann", "example.com", "limit").as_deref(), Some("5"));
        assert_eq!(first(&mut trial, "ann", "example.com", "../ann/limit"), None);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_logged() {
        let mut trial = Trial::new("user_config {dir}/users/%u", &FILES);
        let folder = trial.dir().join("users");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ann"), "a file where a folder should be").unwrap();
        assert_eq!(first(&mut trial, "ann", "example.com", "limit").as_deref(), Some("5"));
        let text = "(user_config) user_config: Couldn't open ";
        assert!(trial.log().contains(text), "{}", trial.log());
        assert!(Trial::load("user_config /a /b", &[]).is_err());
    }
}
