//! Handlers that give a value in the place of the core's own: parsers, rewriters, configuration.

use super::Hooks;
use crate::hook::{Call, DECLINED, Hook, Parsed, Received, Session, Verdict};
use crate::mail::Address;

impl Hooks {
    /// Parses the argument of HELO in the core's stead: Some is the client's name.
    pub fn helo_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::HeloParse, run);
    }

    /// Parses the argument of EHLO in the core's stead: Some is the client's name.
    pub fn ehlo_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::EhloParse, run);
    }

    /// Parses the argument of AUTH in the core's stead: Some is the mechanism, and the initial
    /// response after a blank where there is one.
    pub fn auth_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::AuthParse, run);
    }

    /// Parses the argument of MAIL, `FROM:<a@b> SIZE=1`, in the core's stead.
    pub fn mail_parse(&mut self, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.path_parse(Hook::MailParse, run);
    }

    /// Parses the argument of RCPT in the core's stead.
    pub fn rcpt_parse(&mut self, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.path_parse(Hook::RcptParse, run);
    }

    /// May rewrite a reverse-path before it is read: Some is the path with its brackets.
    pub fn mail_pre(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.path_pre(Hook::MailPre, run);
    }

    /// May rewrite a forward-path before it is read.
    pub fn rcpt_pre(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.path_pre(Hook::RcptPre, run);
    }

    /// May give another Received line: Some is its value, folded with a newline and a blank.
    pub fn received_line(
        &mut self,
        run: impl Fn(&mut Session, &Received<'_>) -> Option<String> + 'static,
    ) {
        self.on(Hook::ReceivedLine, move |session, call| match call {
            Call::Received(parts) => run(session, parts).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
    }

    /// Gives configuration from elsewhere: Some are the lines of the file of that name.
    pub fn on_config(&mut self, run: impl Fn(&mut Session, &str) -> Option<Vec<String>> + 'static) {
        self.on(Hook::Config, move |session, call| match call {
            Call::Config(name) => run(session, name).map_or(DECLINED, Verdict::values),
            _ => DECLINED,
        });
    }

    /// Gives configuration for one recipient.
    pub fn user_config(
        &mut self,
        run: impl Fn(&mut Session, &Address, &str) -> Option<Vec<String>> + 'static,
    ) {
        self.on(Hook::UserConfig, move |session, call| match call {
            Call::UserConfig(address, name) => {
                run(session, address, name).map_or(DECLINED, Verdict::values)
            }
            _ => DECLINED,
        });
    }

    fn host_parse(
        &mut self,
        hook: Hook,
        run: impl Fn(&mut Session, &str) -> Option<String> + 'static,
    ) {
        self.on(hook, move |session, call| match call {
            Call::Line(line) => run(session, line).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
    }

    fn path_parse(&mut self, hook: Hook, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.on(hook, move |session, call| match call {
            Call::Line(line) => match run(session, line) {
                Parsed::Declined => DECLINED,
                Parsed::Refused(text) => Verdict::deny(text),
                Parsed::Path(path, mut params) => {
                    params.0.iter_mut().for_each(|(key, _)| key.make_ascii_lowercase());
                    Verdict::path(path, params)
                }
            },
            _ => DECLINED,
        });
    }

    fn path_pre(
        &mut self,
        hook: Hook,
        run: impl Fn(&mut Session, &str) -> Option<String> + 'static,
    ) {
        self.on(hook, move |session, call| match call {
            Call::Path(path, _) => run(session, path).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
    }
}
