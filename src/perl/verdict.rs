//! Perl's return codes and names, ours, and the arguments of each hook as Perl gets them.

use crate::hook::{Call, Code, DECLINED, Hook, Incoming, Verdict};
use crate::log::Record;
use crate::perl::items::address_item;
use crate::perl::protocol::Reply;
use crate::perl::wire::Item;
use crate::state::Params;

/// The numbers of Qpsmtpd::Constants.
pub(super) const CODES: [(i64, Code); 7] = [
    (900, Code::Ok),
    (901, Code::Deny),
    (902, Code::DenySoft),
    (903, Code::DenyDisconnect),
    (904, Code::DenySoftDisconnect),
    (909, Code::Declined),
    (910, Code::Done),
];

/// All numbers of Qpsmtpd::Constants, those that decide nothing here included.
const ODD_CODES: [&str; 8] = ["900", "901", "902", "903", "904", "909", "910", "911"];

/// The verdict on a hook; the error is a line for the log, and then nothing was decided.
pub(super) fn verdict(hook: Hook, reply: Reply) -> Result<Verdict, String> {
    let Some(number) = reply.code else { return Err("returned undef".into()) };
    let Some(code) = CODES.iter().find(|row| row.0 == number).map(|row| row.1) else {
        // Perl qpsmtpd takes a part of a code for one: what its name is does not matter then, only
        // that it is not DECLINED.
        let digits = number.to_string();
        let is_part = ODD_CODES.iter().any(|code| code.contains(&digits));
        return match is_part {
            true => Ok(Verdict::undecided()),
            false => Err(format!("returned {number}, which is not a return code")),
        };
    };
    let mut words = reply.rest.iter().map(Item::as_text);
    Ok(match (hook, code) {
        (Hook::Config | Hook::UserConfig | Hook::MailParse | Hook::RcptParse, Code::Ok) => {
            Verdict::values(words.collect())
        }
        (Hook::HeloParse | Hook::EhloParse, Code::Ok) => {
            Verdict::ok(words.next().unwrap_or_default())
        }
        (Hook::AuthParse, Code::Ok) => Verdict::ok(words.collect::<Vec<_>>().join(" ")),
        (_, Code::Declined) if reply.rest.is_empty() => DECLINED,
        _ => Verdict::new(code, words.collect::<Vec<_>>().join("\n")),
    })
}

pub(super) fn code_number(code: Code) -> i64 {
    CODES.iter().find(|row| row.1 == code).map_or(909, |row| row.0)
}

/// A verdict as a handler in Perl would return it.
pub(super) fn returned(verdict: &Verdict) -> Item {
    let mut items = vec![Item::number(code_number(verdict.code()))];
    let values = verdict.clone().into_values();
    if values.is_empty() {
        items.extend(verdict.text().split('\n').filter(|text| !text.is_empty()).map(Item::text));
    } else {
        items.extend(values.iter().map(Item::text));
    }
    Item::List(items)
}

/// What a handler is given besides itself and the transaction.
pub(super) fn arguments(call: &Call<'_>) -> Vec<Item> {
    match call {
        // No Perl plugin can register for SCRAM: it has no upstream.
        Call::Nothing | Call::Scram(_) => vec![],
        Call::Host(text) | Call::Line(text) | Call::User(text) | Call::Config(text) => {
            vec![Item::text(text)]
        }
        Call::Path(text, params) => vec![Item::text(text), pairs(params)],
        Call::Address(address, params) => vec![address_item(address), pairs(params)],
        Call::Received(parts) => {
            let comment = |text: &str| match text.trim_start() {
                "" => Item::text(""),
                text => Item::text(format!("{text} ")),
            };
            vec![Item::text(parts.protocol), comment(parts.auth), comment(parts.tls)]
        }
        Call::Credentials(who) => {
            let secret = |secret: Option<crate::hook::Secret<'_>>| {
                secret.map_or(Item::Undef, |secret| Item::text(secret.reveal()))
            };
            vec![
                Item::text(who.mechanism),
                Item::text(who.user),
                secret(who.password),
                secret(who.hash),
                Item::maybe(Some(who.ticket).filter(|ticket| !ticket.is_empty())),
            ]
        }
        // Of a command of our own, Perl has always been given what follows it only.
        Call::Words(_, words) => words.iter().map(Item::text).collect(),
        Call::Command(command, "") => vec![Item::text(command)],
        Call::Command(command, rest) => vec![Item::text(command), Item::text(rest)],
        Call::UserConfig(address, name) => vec![address_item(address), Item::text(name)],
        Call::Result(result) => vec![
            Item::text(escaped(result.plugin)),
            Item::number(code_number(result.verdict.code())),
            Item::text(result.verdict.text()),
        ],
    }
}

/// The arguments of `pre-connection`, names with values; addresses as inet_aton gives them.
pub(super) fn incoming_arguments(incoming: &Incoming<'_>) -> Vec<Item> {
    let packed = incoming.connected.iter().map(|ip| match ip {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    });
    vec![
        Item::text("remote_ip"),
        Item::text(incoming.remote_ip.to_string()),
        Item::text("remote_port"),
        Item::number(incoming.remote_port),
        Item::text("local_ip"),
        Item::text(incoming.local_ip.to_string()),
        Item::text("local_port"),
        Item::number(incoming.local_port),
        Item::text("max_conn_ip"),
        Item::number(incoming.limit_per_address),
        Item::text("child_addrs"),
        Item::texts(packed),
    ]
}

/// The arguments of `logging`.
pub(super) fn log_arguments(record: &Record<'_>) -> Vec<Item> {
    let plugin = record.plugin.map(escaped);
    vec![
        Item::number(record.level as i64),
        Item::maybe(record.hook),
        Item::maybe(plugin.as_deref()),
        Item::text(record.text),
    ]
}

/// A plugin's name as it is in Perl's packages: `queue/qmail-queue` is `queue::qmail_2dqueue`.
pub(super) fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut bytes = name.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' => {
                while bytes.next_if_eq(&b'/').is_some() {}
                out += "::";
                if let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                    out += &format!("_{digit:2x}");
                }
            }
            b'_' => out.push('_'),
            byte if byte.is_ascii_alphanumeric() => out.push(byte as char),
            byte => out += &format!("_{byte:2x}"),
        }
    }
    out
}

fn pairs(params: &Params) -> Item {
    let words = params
        .0
        .iter()
        .flat_map(|(key, value)| [Item::text(key), value.as_ref().map_or(Item::Undef, Item::text)]);
    Item::List(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_perls() {
        for (name, package) in [
            ("rcpt_ok", "rcpt_ok"),
            ("queue/qmail-queue", "queue::qmail_2dqueue"),
            ("my_rcpt_check:0", "my_rcpt_check_3a0"),
            ("a/9lives", "a::_39lives"),
        ] {
            assert_eq!(escaped(name), package);
        }
    }

    #[test]
    fn what_is_no_verdict_decides_nothing() {
        let reply =
            |code, rest: &[&str]| Reply { code, rest: rest.iter().map(Item::text).collect() };
        assert_eq!(verdict(Hook::Rcpt, reply(Some(909), &[])), Ok(DECLINED));
        assert_eq!(
            verdict(Hook::Rcpt, reply(Some(901), &["no", "never"])),
            Ok(Verdict::deny("no\nnever"))
        );
        let values = verdict(Hook::Config, reply(Some(900), &["a", "b"])).unwrap();
        assert_eq!(values.into_values(), ["a", "b"]);
        assert!(verdict(Hook::Rcpt, reply(None, &[])).is_err());
        assert!(verdict(Hook::Rcpt, reply(Some(5), &[])).unwrap_err().contains("returned 5"));
        let odd = verdict(Hook::Rcpt, reply(Some(1), &[])).unwrap();
        assert_eq!((odd.code(), odd.ends_chain()), (Code::Declined, true));
    }
}
