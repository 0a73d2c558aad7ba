//! What many plugins share: refusing now or later, who is exempt, karma.

use std::fmt::Display;

use crate::hook::notes::{
    AUTHENTICATION_RESULTS, KARMA, KARMA_GIVEN, NAUGHTY, NAUGHTY_REJECT_TYPE, REJECTED,
    WHITELISTDNS, WHITELISTHOST, WHITELISTSENDER,
};
use crate::hook::settings::reject_type;
use crate::hook::{Code, DECLINED, Hook, Reject, Session, Verdict, dsn};
use crate::log::Level;
use crate::mail::Address;
use crate::settings::RECIPIENT_ROUTES;

impl Session {
    /// Logs `pass, WHY` for a client, an address or a message that stood the plugin's test;
    /// DECLINED.  An empty `why` is left out.
    pub fn pass(&self, why: impl Display) -> Verdict {
        self.log_result("pass", why)
    }

    /// Logs `skip, WHY` where the plugin's test does not apply; DECLINED.
    pub fn skip(&self, why: impl Display) -> Verdict {
        self.log_result("skip", why)
    }

    /// Logs `fail, WHY` for what did not stand the plugin's test; DECLINED.  The plugins that
    /// refuse by their argument `reject` do the same with [`Session::get_reject`].
    pub fn fail(&self, why: impl Display) -> Verdict {
        self.log_result("fail", why)
    }

    fn log_result(&self, result: &str, why: impl Display) -> Verdict {
        // Most sites do not log this of every client.
        if self.logs(Level::Info) {
            let why = why.to_string();
            let comma = if why.is_empty() { "" } else { ", " };
            self.log(Level::Info, format_args!("{result}{comma}{why}"));
        }
        DECLINED
    }

    /// Refuses by the running plugin's arguments `reject` and `reject_type`: now, later
    /// (`naughty`), or not at all (`0`).  `text` is for the client.
    pub fn get_reject(&mut self, text: &str) -> Verdict {
        self.get_reject_logged(text, "")
    }

    /// The same with more detail for the log.
    pub fn get_reject_logged(&mut self, text: &str, detail: impl Display) -> Verdict {
        self.get_reject_as(Code::Deny, text, detail)
    }

    /// The same for a plugin that refuses with `default` where it has no argument `reject_type`.
    pub fn get_reject_as(&mut self, default: Code, text: &str, detail: impl Display) -> Verdict {
        match self.reject() {
            Some(Reject::No) => self.fail(format_args!("tolerated{}", behind_comma(detail))),
            Some(Reject::Later) => self.get_reject_later(default, text, detail),
            Some(Reject::Now) | None => {
                self.log(Level::Info, format_args!("fail{}", behind_comma(detail)));
                Verdict::new(self.get_reject_type(default), text.to_owned())
            }
        }
    }

    /// What the running plugin's argument `reject` says, or its default; None where there is neither.
    pub fn reject(&self) -> Option<Reject> {
        self.settings().and_then(|settings| settings.reject)
    }

    /// The same as with `reject naughty`, for a plugin that does so where it has no argument `reject`.
    pub fn get_reject_later(&mut self, default: Code, text: &str, detail: impl Display) -> Verdict {
        self.fail(format_args!("NAUGHTY{}", behind_comma(detail)));
        let verdict = self.store_deferred_reject(text);
        if default != Code::Deny && !self.connection.notes.is_true(NAUGHTY_REJECT_TYPE) {
            self.connection.notes.set(NAUGHTY_REJECT_TYPE, reject_type_word(default).into());
        }
        verdict
    }

    /// What the running plugin's `reject_type` says, else `default`.
    pub fn get_reject_type(&self, default: Code) -> Code {
        self.settings().and_then(|settings| settings.reject_type).unwrap_or(default)
    }

    /// Marks the client as naughty, to be refused by the plugin of that name when it sees fit.
    pub fn store_deferred_reject(&mut self, text: &str) -> Verdict {
        let text = match self.connection.notes.get(NAUGHTY) {
            Some(before) if !before.is_empty() => format!("{before}\n{text}"),
            _ => text.to_owned(),
        };
        self.connection.notes.set(NAUGHTY, text);
        if !self.connection.notes.is_true(NAUGHTY_REJECT_TYPE)
            && let Some(code) = self.settings().and_then(|settings| settings.reject_type)
        {
            self.connection.notes.set(NAUGHTY_REJECT_TYPE, reject_type_word(code).into());
        }
        DECLINED
    }

    /// Is the client beyond tests: may it relay, or is it or its sender on a white list?
    pub fn is_immune(&self) -> bool {
        let why = if self.connection.relay_client {
            "skip, relay client"
        } else if self.connection.notes.is_true(WHITELISTHOST) {
            "skip, whitelisted host"
        } else if self.transaction.notes.is_true(WHITELISTSENDER) {
            "skip, whitelisted sender"
        } else {
            return false;
        };
        self.log(Level::Info, why);
        true
    }

    /// May the client send to everybody?  One that authenticated or is named by its address may; a
    /// sender or a name in HELO on a white list is no reason, because a stranger can give both, nor
    /// is a white list that others keep.
    pub fn may_relay(&self) -> bool {
        let notes = &self.connection.notes;
        self.connection.relay_client
            || (notes.is_true(WHITELISTHOST) && !notes.is_true(WHITELISTDNS))
    }

    /// The refusal of a recipient that a later hop could take for a route past us: its local part
    /// has one of `@ % ! :`, quoted or not.  None for other recipients, for clients that may relay,
    /// and where `config/recipient_routes` says `accept`.
    ///
    /// The core asks it of every recipient that a plugin accepts.  A plugin asks it to refuse
    /// earlier.
    pub fn refused_route(&mut self, recipient: &Address) -> Option<Verdict> {
        if !recipient.is_route() || self.may_relay() {
            return None;
        }
        if self.setting(RECIPIENT_ROUTES) == "accept" {
            return None;
        }
        self.fail(format_args!("{recipient} could be a route"));
        Some(dsn::relaying_denied(""))
    }

    /// Is the client to be refused later anyway, or was it already?
    pub fn is_naughty(&self) -> bool {
        let notes = &self.connection.notes;
        let why = if notes.is_true(NAUGHTY) {
            "skip, naughty"
        } else if notes.is_true(REJECTED) {
            "skip, already rejected"
        } else {
            return false;
        };
        self.log(Level::Info, why);
        true
    }

    /// Adds to the client's karma.  A hook that a client can call as often as it likes gives good karma
    /// once until a message is accepted.
    pub fn adjust_karma(&mut self, by: i64) {
        if by > 0 && self.hook().is_some_and(|hook| hook != Hook::Connect) {
            let from = format!("{} {}", self.plugin_name(), self.hook_name());
            let mut given = self.connection.notes.get(KARMA_GIVEN).unwrap_or_default();
            if given.contains(&from) {
                self.log(Level::Info, format_args!("karma {by} was given already"));
                return;
            }
            given.push(from);
            self.connection.notes.set(KARMA_GIVEN, given);
        }
        let karma = self.connection.notes.get(KARMA).unwrap_or(0) + by;
        self.log(Level::Info, format_args!("karma {by} ({karma})"));
        self.connection.notes.set(KARMA, karma);
    }

    /// Adds a result to the Authentication-Results header, `spf=pass smtp.mailfrom=a.example`.
    pub fn store_auth_results(&mut self, result: &str) {
        let all = match self.connection.notes.get(AUTHENTICATION_RESULTS) {
            Some(before) if !before.is_empty() => format!("{before}; {result}"),
            _ => result.to_owned(),
        };
        self.log(Level::Debug, format_args!("auth-results: {all}"));
        self.connection.notes.set(AUTHENTICATION_RESULTS, all);
    }
}

/// The code that a note [`NAUGHTY_REJECT_TYPE`] asks for.
pub fn naughty_code(session: &Session) -> Option<Code> {
    reject_type(&session.connection.notes.get(NAUGHTY_REJECT_TYPE)?)
}

fn behind_comma(detail: impl Display) -> String {
    match detail.to_string() {
        detail if detail.is_empty() => detail,
        detail => format!(", {detail}"),
    }
}

fn reject_type_word(code: Code) -> &'static str {
    match code {
        Code::DenySoft => "temp",
        Code::DenyDisconnect => "disconnect",
        Code::DenySoftDisconnect => "temp_disconnect",
        _ => "perm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::hook::{Args, Call, Hook, Hooks, OK};
    use crate::testing::Trial;

    fn talking(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.connect(|session| session.skip("nothing to do"));
        hooks.helo(|session, host| session.fail(format_args!("{host} is odd")));
        hooks.quit(|session| session.pass(""));
        Ok(())
    }

    #[test]
    fn results_are_logged_in_one_form_and_decide_nothing() {
        let mut trial = Trial::with(talking, "", &[("loglevel", "LOGINFO")]);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert_eq!(trial.call(Hook::Helo, &Call::Host("x")), DECLINED);
        assert_eq!(trial.plain(Hook::Quit), DECLINED);
        let wanted = "(connect) trial: skip, nothing to do\n(helo) trial: fail, x is odd\n\
            (quit) trial: pass";
        assert_eq!(trial.log(), wanted);
    }

    /// Takes everybody's mail for everybody.
    fn generous(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.rcpt(|_, _, _| OK);
        Ok(())
    }

    /// Puts a route in the place of every recipient.
    fn redirecting(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.rcpt(|session, _, _| {
            session.replace_address(Address::new("u%evil.test", "example.com"));
            OK
        });
        Ok(())
    }

    const ROUTES: [&str; 6] = [
        "<u%evil.test@example.com>",
        "<evil.test!u@example.com>",
        "<\"u@evil.test\"@example.com>",
        "<\"@evil.test:u\"@example.com>",
        "<\"evil::u\"@example.com>",
        "<@a.test,@b.test:u%evil.test@[127.0.0.1]>",
    ];

    #[test]
    fn no_plugin_can_accept_a_route() {
        let denied = dsn::relaying_denied("");
        for path in ROUTES {
            let mut trial = Trial::with(generous, "", &[]);
            assert_eq!(trial.rcpt(path), denied, "{path}");
            assert!(trial.log().contains("could be a route"), "{}", trial.log());
            let plugins = "rcpt_regexp\nwhitelist\nrcpt_map domain example.com file map default OK";
            for plugin in plugins.lines().chain(["my_rcpt_check example.com", "rcpt_ok"]) {
                let files = [
                    ("rcpt_regexp", "/^/ OK"),
                    ("whitelistrcpt", "example.com\n[127.0.0.1]"),
                    ("map", "b@example.com OK"),
                    ("rcpthosts", "example.com\n[127.0.0.1]"),
                ];
                let mut trial = Trial::new(plugin, &files);
                assert_ne!(trial.rcpt(path).code(), Code::Ok, "{path} {plugin}");
            }
        }
        assert_eq!(Trial::with(redirecting, "", &[]).rcpt("<b@example.com>"), denied);
    }

    #[test]
    fn who_may_relay_may_use_routes_and_a_setting_lets_everybody() {
        for path in ROUTES {
            let mut trial = Trial::with(generous, "", &[]);
            trial.session.transaction.notes.set(WHITELISTSENDER, "1".into());
            assert!(trial.rcpt(path).code().is_deny(), "{path}");
            trial.session.connection.relay_client = true;
            assert_eq!(trial.rcpt(path), OK, "{path}");
            for (setting, verdict) in [
                ("accept", OK),
                ("refuse", dsn::relaying_denied("")),
                ("yes", dsn::relaying_denied("")),
            ] {
                let mut trial = Trial::with(generous, "", &[("recipient_routes", setting)]);
                assert_eq!(trial.rcpt(path), verdict, "{path} {setting}");
            }
        }
    }
}
