//! ```text
//! NAME
//!     dns_whitelist_soft - exempts clients that are on white lists in the DNS
//!
//! SYNOPSIS
//!     dns_whitelist_soft
//!
//! DESCRIPTION
//!     Asks the lists in config/whitelist_zones about the client's address, IPv4 or IPv6, all lists
//!     at once (RFC 5782).  A client on one of them is exempt from the tests of the plugins that
//!     follow, like a client in config/whitelisthosts: it is not looked up in block lists, and may
//!     not be refused for its name, its sender or its message.  So use only lists whose entries you
//!     would put into that file yourself.
//!
//!     What counts as an entry is the same as in dnsbl: an error of a list, or a list that does not
//!     answer, exempts nobody.  Place the plugin before those whose refusals it prevents.
//!
//!     Unlike a client in config/whitelisthosts, such a client may not send to recipients
//!     elsewhere: a list that others keep does not decide that.  If the plugin whitelist is loaded,
//!     place it before this one.
//!
//! CONFIG
//!     whitelist_zones   one ZONE[=CODES] [TEXT] per line; the text is for the log
//!
//!                           list.white.example=127.0.0.2..11   known senders
//!
//! NOTES
//!     whitelisthost     on the connection: why the client is exempt
//!     whitelistdns      on the connection: true, because the list is in the DNS
//!
//! SEE ALSO
//!     whitelist, dnsbl
//! ```

use crate::dns::lists::Zone;
use crate::dns::{Question, reversed};
use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, WHITELISTDNS, WHITELISTHOST};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&[])?;
    let zones = hooks.rows("whitelist_zones", |line| Ok(Zone::parse(&line.text, true)?));
    hooks.connect(move |session| {
        let zones = session.derived(&zones);
        if zones.is_empty() || session.is_immune() {
            return DECLINED;
        }
        let ip = session.connection.remote_ip;
        // The greeting is going to ask for the client's name.
        let name = [Question::name_of(ip)];
        let first = session.listed(&zones, &reversed(ip), &name).next();
        if let Some((zone, text)) = first {
            let text = zone.text.clone().or(text);
            let why = text.map_or_else(|| zone.to_string(), |text| format!("{zone}: {text}"));
            session.log(Level::Notice, format_args!("{ip} is on a white list, {why}"));
            session.connection.notes.set(WHITELISTHOST, why);
            session.connection.notes.set(WHITELISTDNS, true);
        }
        DECLINED
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{Declined, Deny, Ok};
    use crate::hook::{Hook, WHITELISTHOST};
    use crate::testing::Trial;

    const DNS: &str = "\
        1.2.0.192.white.example A 127.0.0.5\n\
        1.2.0.192.error.example A 127.255.255.254\n\
        1.2.0.192.away.example A failed\n\
        1.2.0.192.black.example A 127.0.0.2";

    fn trial(zones: &str) -> Trial {
        let files = [
            ("whitelist_zones", zones),
            ("dnsbl_zones", "black.example"),
            ("rcpthosts", "example.com"),
        ];
        Trial::new("dns_whitelist_soft\ndnsbl\nrcpt_ok", &files).with_dns(DNS)
    }

    #[test]
    fn who_is_on_a_white_list_is_not_tested() {
        for (zones, code) in [
            ("none.example\nwhite.example known\n", Declined),
            ("white.example=127.0.0.5..9", Declined),
            ("white.example=127.0.0.6..9", Deny),
            ("error.example\naway.example\n", Deny),
            ("", Deny),
        ] {
            assert_eq!(trial(zones).plain(Hook::Connect).code(), code, "{zones}");
        }
        let mut trial = trial("white.example known");
        trial.plain(Hook::Connect);
        let why = trial.session.connection.notes.get(WHITELISTHOST);
        assert_eq!(why.as_deref(), Some("white.example: known"));
    }

    #[test]
    fn a_list_of_others_does_not_say_who_may_relay() {
        let mut trial = trial("white.example");
        trial.plain(Hook::Connect);
        assert_eq!(trial.rcpt("<a@example.com>").code(), Ok);
        assert_eq!(trial.rcpt("<a@elsewhere.example>").code(), Deny);
        trial.session.connection.relay_client = true;
        assert_eq!(trial.rcpt("<a@elsewhere.example>").code(), Ok);
    }
}
