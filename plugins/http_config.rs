//! ```text
//! NAME
//!     http_config - takes configuration files from a web server
//!
//! SYNOPSIS
//!     http_config URL... [ttl SECONDS] [deadline SECONDS] [ca FILE]
//!
//! DESCRIPTION
//!     When a plugin or the server needs the configuration file NAME during a session, the page
//!     URLNAME is fetched, and its lines are used without empty lines and comments.  With
//!
//!         http_config http://127.0.0.1/config/ http://www.example.com/qp?config=
//!
//!     rcpthosts is looked for first as http://127.0.0.1/config/rcpthosts, then as
//!     http://www.example.com/qp?config=rcpthosts, and last as a file.  Each process remembers for
//!     each name what it found, or that it found nothing.
//!
//!     If a page does not exist (404, 410) or has no lines, the next URL is tried, and then the
//!     file.  The next URL is also tried if a server cannot be reached, is too slow, or gives any
//!     other answer, redirections included.  If the other URLs have nothing either, the plugin has
//!     failed: it does not know what the server would have said, so the client gets a temporary
//!     failure.  The server is then left alone for some seconds.  With the argument "on_error
//!     ignore" the file is used instead.
//!
//!     Configuration that is needed outside of sessions, such as plugins, loglevel and hosts_allow,
//!     always comes from files.
//!
//!     The Perl plugin of the same name fetches every name each time, and treats a server that does
//!     not answer as one that has nothing.
//!
//! ARGUMENTS
//!     URL                begins with http:// or https://; for https:// the certificate must be valid
//!     ttl SECONDS        how long to remember a page; 60 by default, 0 for not at all
//!     deadline SECONDS   time limit for all URLs together; 5 by default
//!     ca FILE            the authorities for https://: certificates in PEM, instead of those that
//!                        the system knows.  They are read at the start.
//!
//! SEE ALSO
//!     user_config, docs/config.md
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Args, Call, DECLINED, Hook, Hooks, Outside, Verdict, answered};
use crate::log::Level;
use crate::net::{Http, Page, Place, file_named, verified};

/// How long a server that failed is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// The largest answer in octets.
const LARGEST: u64 = 1024 * 1024;

/// How many names are remembered.
const MOST: usize = 1000;

/// The arguments that have names.
const NAMES: [&str; 3] = ["ttl", "deadline", "ca"];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let source = Source::from_args(args, hooks.config())?;
    hooks.on(Hook::Config, move |session, call| {
        let Call::Config(name) = call else { return DECLINED };
        session.log(Level::Debug, format_args!("asked for {name}"));
        match source.lines(name, session.time_left()) {
            Ok(Some(lines)) => Verdict::values(lines),
            Ok(None) => DECLINED,
            Err(why) => Verdict::failure(format!("{name}: {why}")),
        }
    });
    Ok(())
}

/// The lines of a name; None where there is nothing of that name.
type Found = Option<Vec<String>>;

struct Source {
    http: Http,
    servers: Vec<Server>,
    ttl: Duration,
    deadline: Duration,
    pause: Duration,
    known: RefCell<HashMap<String, (Instant, Found)>>,
}

/// One URL.
struct Server {
    /// All of it but the name.
    place: Place,
    /// When and why it failed.
    failed: RefCell<Option<(Instant, String)>>,
}

impl Source {
    fn from_args(args: &Args, config: &Config) -> Result<Source> {
        let words = args.positional();
        let (urls, pairs) =
            words.split_at(words.iter().take_while(|word| !NAMES.contains(word)).count());
        Args::new(pairs.iter().copied()).only(&NAMES)?;
        if urls.is_empty() {
            return Err(Error::new("argument missing: a URL"));
        }
        let deadline = args.parsed("deadline", 5u32)?;
        if deadline == 0 {
            return Err(Error::value("deadline", 0, "1 or more"));
        }
        let ca = args.named("ca").map(|file| file_named(file, config));
        let is_https = urls.iter().any(|url| url.starts_with("https://"));
        if ca.is_some() && !is_https {
            return Err(Error::new("argument ca is only for https://"));
        }
        let tls = if is_https { Some(verified(ca)?) } else { None };
        let server =
            |url: &&str| Ok(Server { place: Place::parse(url)?, failed: RefCell::default() });
        Ok(Source {
            http: Http::new(tls),
            servers: urls.iter().map(server).collect::<Result<_>>()?,
            ttl: Duration::from_secs(args.parsed("ttl", 60u32)?.into()),
            deadline: Duration::from_secs(deadline.into()),
            pause: PAUSE,
            known: RefCell::default(),
        })
    }

    /// The lines of `name`, within `timeout`.
    ///
    /// # Errors
    /// Nobody has it, and somebody could not be asked.
    fn lines(&self, name: &str, timeout: Duration) -> std::result::Result<Found, String> {
        if let Some((when, found)) = self.known.borrow().get(name)
            && when.elapsed() < self.ttl
        {
            return Ok(found.clone());
        }
        let until = Instant::now() + self.deadline.min(timeout);
        let mut failed = None;
        let mut found = None;
        for server in &self.servers {
            match server.ask(&self.http, name, until, self.pause) {
                Ok(lines) => found = lines,
                Err(why) => failed = Some(why),
            }
            if found.is_some() {
                break;
            }
        }
        if let (None, Some(why)) = (&found, failed) {
            return Err(why);
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }
}

impl Server {
    /// What the server has under `name`, unless it failed less than `pause` ago.
    fn ask(
        &self,
        http: &Http,
        name: &str,
        until: Instant,
        pause: Duration,
    ) -> std::result::Result<Found, String> {
        if let Some((when, why)) = &*self.failed.borrow()
            && when.elapsed() < pause
        {
            return Err(why.clone());
        }
        let url = format!("{}{}", self.place.url, escaped(name));
        let call = Outside::begin("http");
        let answer = http.get(&url, LARGEST, until).and_then(text);
        call.end(answered(&answer));
        let answer = answer.map_err(|why| format!("{}: {why}", self.place.shown));
        self.failed.replace(answer.as_ref().err().map(|why| (Instant::now(), why.clone())));
        Ok(answer?.map(|text| lines(&text)).filter(|lines| !lines.is_empty()))
    }
}

/// What a page says; None where there is no such page.
fn text(page: Page) -> io::Result<Option<String>> {
    match page.status {
        200 => String::from_utf8(page.content)
            .map(Some)
            .map_err(|_| io::Error::other("the answer is not UTF-8")),
        204 | 404 | 410 => Ok(None),
        status => Err(io::Error::other(format!("the answer is '{status} {}'", page.reason))),
    }
}

/// The lines of a page as those of a file.
fn lines(page: &str) -> Vec<String> {
    let lines = page.split(['\r', '\n']).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A name as part of a URL (RFC 3986 2.1).
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
