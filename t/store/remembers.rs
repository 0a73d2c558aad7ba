//! ```text
//! NAME
//!     remembers - counts in the store what it is told with NOOP
//!
//! SYNOPSIS
//!     remembers [refuse N]
//!
//! DESCRIPTION
//!     NOOP add KEY [SECONDS] counts, and says how often it has.  NOOP get KEY only says how often.
//!     It counts the sessions of each address as well; one that has had N is refused by the parent.
//! ```

use std::time::Duration;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, DECLINED, DONE, Hooks, Verdict};
use qpsmtpd::store::{ByAddress, Put, Unavailable};

/// Registers the plugin; see its manual above.
pub(crate) fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let refuses = args.parsed("refuse", i16::MAX)?;
    hooks.keeps("remembers", |kept| format!("{} was counted {} times", kept.key, kept.value));
    let sessions = ByAddress::named("remembers")?;
    let known = sessions.clone();
    hooks.pre_connection(move |client| match known.get(client.remote_ip) {
        Some(count) if count >= refuses => Verdict::deny(format!("{count} sessions were enough")),
        _ => DECLINED,
    });
    hooks.noop(|session, words| {
        let table = session.store("remembers");
        let count = match *words {
            ["add", key, ref time @ ..] => {
                let seconds = time.first().and_then(|text| text.parse().ok()).unwrap_or(3600);
                table.update(key, |old: Option<u64>| {
                    let count = old.unwrap_or(0) + 1;
                    (Put(count, Duration::from_secs(seconds)), count)
                })?
            }
            ["get", key] => table.get(key)?.unwrap_or(0),
            _ => return Ok(DECLINED),
        };
        session.respond(250, count.to_string());
        Ok::<_, Unavailable>(DONE)
    });
    hooks.post_connection(move |session| {
        let ip = session.connection.remote_ip;
        let counted = session.store("remembers").update(ip.to_string(), |old: Option<i16>| {
            let count = old.unwrap_or(0) + 1;
            (Put(count, Duration::from_secs(3600)), count)
        });
        if let Ok(count) = counted {
            sessions.set(ip, count, Duration::from_secs(3600));
        }
    });
    Ok(())
}
