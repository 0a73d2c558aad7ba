//! Macros: what a filter is told about the session beside the commands.

use crate::error::Error;
use crate::hook::Session;
use crate::mail::Address;

use super::packet::{Event, STAGES, texts};

/// A name without its braces, and its value; None where there is none.
struct Macro {
    name: &'static str,
    value: fn(&Facts<'_>) -> Option<String>,
}

/// What the values are made of.
pub(super) struct Facts<'a> {
    pub(super) session: &'a Session,
    /// Our name.
    pub(super) me: &'a str,
    /// The transaction's id.
    pub(super) id: &'a str,
    pub(super) sender: Option<&'a Address>,
    pub(super) recipient: Option<&'a Address>,
}

/// THE table of macros.
const MACROS: [Macro; 27] = [
    of("j", |facts| Some(facts.me.to_owned())),
    of("v", |_| Some(format!("qpsmtpd {}", env!("CARGO_PKG_VERSION")))),
    of("_", |facts| Some(format!("{} [{}]", host(facts), facts.session.connection.remote_ip))),
    of("i", |facts| some(facts.id)),
    of("daemon_name", |facts| Some(facts.me.to_owned())),
    of("daemon_addr", |facts| Some(facts.session.connection.local_ip.to_string())),
    of("daemon_port", |facts| Some(facts.session.connection.local_port.to_string())),
    of("if_name", |facts| Some(facts.me.to_owned())),
    of("if_addr", |facts| Some(facts.session.connection.local_ip.to_string())),
    of("client_addr", |facts| Some(facts.session.connection.remote_ip.to_string())),
    of("client_name", |facts| Some(host(facts))),
    of("client_ptr", |facts| Some(host(facts))),
    of("client_port", |facts| Some(facts.session.connection.remote_port.to_string())),
    of("s", |facts| some(&facts.session.connection.hello_host)),
    of("tls_version", |facts| encryption(facts).map(|tls| tls.protocol.clone())),
    of("cipher", |facts| encryption(facts).map(|tls| tls.cipher.clone())),
    of("cipher_bits", |facts| cipher_bits(&encryption(facts)?.cipher).map(str::to_owned)),
    of("auth_type", |facts| Some(facts.session.auth_mechanism()?.to_ascii_uppercase())),
    of("auth_authen", |facts| Some(facts.session.auth_user()?.to_owned())),
    of("f", |facts| Some(facts.sender?.address())),
    // The null sender has an address that is empty, so that filters know that there is a sender.
    of("mail_addr", |facts| Some(facts.sender?.address())),
    of("mail_host", |facts| some(facts.sender?.host())),
    of("mail_mailer", |facts| facts.sender.map(|_| "smtp".to_owned())),
    of("rcpt_addr", |facts| Some(facts.recipient?.address())),
    of("rcpt_host", |facts| some(facts.recipient?.host())),
    of("rcpt_mailer", |facts| facts.recipient.map(|_| "smtp".to_owned())),
    of("nrcpts", |facts| Some(facts.session.transaction.recipients().len().to_string())),
];

/// The macros before each event, by the numbers of SETSYMLIST, where a filter has no other wish.
const DEFAULTS: [&str; STAGES] = [
    "j {daemon_name} {daemon_addr} v _ {client_addr} {client_name} {client_port} {client_ptr}",
    "{tls_version} {cipher} {cipher_bits}",
    "i {auth_type} {auth_authen} {mail_addr} {mail_host} {mail_mailer} {tls_version} {cipher} {cipher_bits}",
    "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
    "i",
    "i",
    "i",
];

/// How arguments call the numbers of SETSYMLIST.
const STAGE_NAMES: [&str; STAGES] =
    ["connect", "helo", "mail", "rcpt", "data", "end_of_message", "end_of_header"];

const fn of(name: &'static str, value: fn(&Facts<'_>) -> Option<String>) -> Macro {
    Macro { name, value }
}

/// What the arguments say of macros.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Names, in the order given, that go before an event beside those that the filter gets anyway.
    more: [Vec<String>; STAGES],
    /// Values of names that are ours or that are not known otherwise.
    fixed: Vec<(String, String)>,
}

impl Wishes {
    /// Reads `STAGE:NAME,NAME`.
    ///
    /// # Errors
    /// It has no such form, or there is no such stage or macro.
    pub(super) fn add_names(&mut self, word: &str) -> Result<(), String> {
        let (stage, names) = word.split_once(':').ok_or("not STAGE:NAME,NAME")?;
        let unknown = || Error::unknown("stage", stage, &STAGE_NAMES).to_string();
        let at = STAGE_NAMES.iter().position(|name| *name == stage).ok_or_else(unknown)?;
        for name in names.split(',').map(bare) {
            if !is_known(name) && !self.fixed.iter().any(|(fixed, _)| fixed == name) {
                return Err(format!("unknown macro '{name}'"));
            }
            self.more[at].push(braced(name));
        }
        Ok(())
    }

    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// It has no such form.
    pub(super) fn set(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=').map(|(name, value)| (bare(name), value)) {
            Some((name, value)) if !name.is_empty() && !name.contains(['{', '}']) => {
                self.fixed.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            _ => Err("not NAME=VALUE".into()),
        }
    }

    /// The data of the packet with the macros that go before an event; `asked` is what the filter wants in
    /// the place of the usual ones.  None: none goes before it.
    pub(super) fn before(
        &self,
        event: Event,
        asked: &[Option<Vec<String>>; STAGES],
        facts: &Facts<'_>,
    ) -> Option<Vec<u8>> {
        let stage = event.row().macros?;
        let mut names: Vec<&str> = match &asked[stage] {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => DEFAULTS[stage].split(' ').collect(),
        };
        names.extend(self.more[stage].iter().map(String::as_str));
        if event == Event::Connect {
            names.extend(self.fixed.iter().map(|(name, _)| name.as_str()));
        }
        let mut pairs: Vec<(String, String)> = vec![];
        for name in names.into_iter().map(bare).filter(|name| !name.is_empty()) {
            let name_there = braced(name);
            if pairs.iter().all(|(there, _)| *there != name_there)
                && let Some(value) = self.value(name, facts)
            {
                pairs.push((name_there, value));
            }
        }
        let words = pairs.into_iter().flat_map(|(name, value)| [name, value]);
        Some([&[event.row().letter][..], &texts(words)].concat())
    }

    fn value(&self, name: &str, facts: &Facts<'_>) -> Option<String> {
        if let Some((_, value)) = self.fixed.iter().find(|(fixed, _)| fixed == name) {
            return Some(value.clone());
        }
        let known = MACROS.iter().find(|known| known.name == name)?;
        (known.value)(facts)
    }
}

/// The client's name as filters want it.
pub(super) fn host(facts: &Facts<'_>) -> String {
    match facts.session.connection.remote_host() {
        "Unknown" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

fn encryption<'a>(facts: &Facts<'a>) -> Option<&'a crate::state::Encryption> {
    facts.session.connection.encryption.as_ref()
}

/// The bits of a key, which are in the name of its cipher.
fn cipher_bits(cipher: &str) -> Option<&'static str> {
    [("256", "256"), ("CHACHA20", "256"), ("128", "128")]
        .iter()
        .find(|(part, _)| cipher.split('_').any(|word| word == *part))
        .map(|(_, bits)| *bits)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_known(name: &str) -> bool {
    MACROS.iter().any(|known| known.name == name)
}

fn bare(name: &str) -> &str {
    name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name)
}

/// A name as it is sent: one of several letters has braces.
fn braced(name: &str) -> String {
    if name.chars().count() == 1 { name.to_owned() } else { format!("{{{name}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    fn sent(wishes: &Wishes, event: Event, asked: &[Option<Vec<String>>; STAGES]) -> String {
        let mut trial = Trial::new("", &[("me", "mx.test")]);
        trial.session.connection.auth_user = Some("tim".into());
        let recipient = Address::new("b", "example.com");
        let sender = Address::null();
        let facts = Facts {
            session: &trial.session,
            me: "mx.test",
            id: "x.1",
            sender: Some(&sender),
            recipient: Some(&recipient),
        };
        let data = wishes.before(event, asked, &facts).unwrap_or_default();
        String::from_utf8(data).unwrap().replace('\0', "|")
    }

    #[test]
    fn macros_without_a_name_or_a_value_are_not_sent() {
        let mut wishes = Wishes::default();
        let none = Default::default();
        assert_eq!(
            sent(&wishes, Event::Mail, &none),
            "Mi|x.1|{auth_authen}|tim|{mail_addr}||{mail_mailer}|smtp|"
        );
        assert_eq!(
            sent(&wishes, Event::Rcpt, &none),
            "Ri|x.1|{rcpt_addr}|b@example.com|{rcpt_host}|example.com|{rcpt_mailer}|smtp|"
        );
        let mut asked = none.clone();
        asked[3] = Some(vec!["{}".into(), "j".into(), "{j}".into(), "nothing".into(), "".into()]);
        assert_eq!(sent(&wishes, Event::Rcpt, &asked), "Rj|mx.test|");
        assert_eq!(sent(&wishes, Event::Body, &none), "");
        wishes.set("{daemon_name}=in").unwrap();
        wishes.set("mine=x").unwrap();
        wishes.add_names("rcpt:{mine},v").unwrap();
        let want = format!("Rj|mx.test|{{mine}}|x|v|qpsmtpd {}|", env!("CARGO_PKG_VERSION"));
        assert_eq!(sent(&wishes, Event::Rcpt, &asked), want);
        let connect = sent(&wishes, Event::Connect, &none);
        assert!(connect.starts_with("Cj|mx.test|{daemon_name}|in|{daemon_addr}|192.0.2.25|v|"));
        assert!(connect.ends_with("|{client_ptr}|unknown|{mine}|x|"), "{connect}");
    }

    #[test]
    fn what_is_known_is_known() {
        for names in DEFAULTS.iter().flat_map(|names| names.split(' ')) {
            assert!(is_known(bare(names)), "{names}");
        }
        let mut wishes = Wishes::default();
        for (word, why) in [
            ("j", "not STAGE:NAME,NAME"),
            ("quit:j", "unknown stage 'quit' (known: connect, "),
            ("mail:nothing", "unknown macro 'nothing'"),
            ("mail:", "unknown macro ''"),
        ] {
            assert!(wishes.add_names(word).unwrap_err().starts_with(why), "{word}");
        }
        assert!(wishes.set("x").is_err() && wishes.set("=x").is_err());
        assert_eq!(cipher_bits("TLS_AES_256_GCM_SHA384"), Some("256"));
        assert_eq!(cipher_bits("TLS_AES_128_GCM_SHA256"), Some("128"));
        assert_eq!(cipher_bits("TLS_CHACHA20_POLY1305_SHA256"), Some("256"));
    }
}
