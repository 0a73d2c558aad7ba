//! Enhanced mail system status codes (RFC 3463) under the names that plugins know them by.

use crate::hook::{Code, Verdict};

/// A status with the answer that it gives unless the plugin says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// What plugins call it.
    pub name: &'static str,
    /// The verdict where the plugin gives none.
    pub code: Code,
    /// The second number of the status: what it is about (RFC 3463 3).
    pub subject: u8,
    /// The third number of the status: what exactly is the matter (RFC 3463 3).
    pub detail: u8,
    /// The text for the client where the plugin gives none, without the status.
    pub text: &'static str,
}

/// Every named status, in the order of their numbers. Some have further names with plainer texts.
pub const TABLE: &[Dsn] = &[
    row("unspecified", Code::DenySoft, 0, 0, "Other or Undefined Status"),
    row("addr_unspecified", Code::DenySoft, 1, 0, "Other address status."),
    row("addr_bad_dest_mbox", Code::Deny, 1, 1, "Bad destination mailbox address."),
    row("no_such_user", Code::Deny, 1, 1, "No such user"),
    row("addr_bad_dest_system", Code::Deny, 1, 2, "Bad destination system address."),
    row("addr_bad_dest_syntax", Code::Deny, 1, 3, "Bad destination mailbox address syntax."),
    row("addr_dest_ambigous", Code::DenySoft, 1, 4, "Destination mailbox address ambiguous."),
    row("addr_rcpt_ok", Code::Ok, 1, 5, "Destination address valid."),
    row(
        "addr_mbox_moved",
        Code::Deny,
        1,
        6,
        "Destination mailbox has moved, No forwarding address.",
    ),
    row("addr_bad_from_syntax", Code::Deny, 1, 7, "Bad sender's mailbox address syntax."),
    row("addr_bad_from_system", Code::Deny, 1, 8, "Bad sender's system address."),
    row("mbox_unspecified", Code::DenySoft, 2, 0, "Other or undefined mailbox status."),
    row("mbox_disabled", Code::Deny, 2, 1, "Mailbox disabled, not accepting messages."),
    row("mbox_full", Code::DenySoft, 2, 2, "Mailbox full."),
    row("mbox_msg_too_long", Code::Deny, 2, 3, "Message length exceeds administrative limit."),
    row("mbox_list_expansion_problem", Code::DenySoft, 2, 4, "Mailing list expansion problem."),
    row("sys_unspecified", Code::DenySoft, 3, 0, "Other or undefined mail system status."),
    row("sys_disk_full", Code::DenySoft, 3, 1, "Mail system full."),
    row("sys_not_accepting_mail", Code::DenySoft, 3, 2, "System not accepting network messages."),
    row("sys_not_supported", Code::DenySoft, 3, 3, "System not capable of selected features."),
    row("sys_msg_too_big", Code::Deny, 3, 4, "Message too big for system."),
    row("net_unspecified", Code::DenySoft, 4, 0, "Other or undefined network or routing status."),
    row("net_directory_server_failed", Code::DenySoft, 4, 3, "Directory server failure."),
    row("temp_resolver_failed", Code::DenySoft, 4, 3, "Temporary address resolution failure"),
    row("net_system_congested", Code::DenySoft, 4, 5, "Mail system congestion."),
    row("net_routing_loop", Code::Deny, 4, 6, "Routing loop detected."),
    row("too_many_hops", Code::Deny, 4, 6, "Too many hops"),
    row("proto_unspecified", Code::DenySoft, 5, 0, "Other or undefined protocol status."),
    row("proto_invalid_command", Code::Deny, 5, 1, "Invalid command."),
    row("proto_syntax_error", Code::Deny, 5, 2, "Syntax error."),
    row("proto_rcpt_list_too_long", Code::DenySoft, 5, 3, "Too many recipients."),
    row("too_many_rcpts", Code::DenySoft, 5, 3, "Too many recipients."),
    row("proto_invalid_cmd_args", Code::Deny, 5, 4, "Invalid command arguments."),
    row("proto_wrong_version", Code::DenySoft, 5, 5, "Wrong protocol version."),
    row("media_unspecified", Code::DenySoft, 6, 0, "Other or undefined media error."),
    row("media_unsupported", Code::Deny, 6, 1, "Media not supported."),
    row("media_conv_prohibited", Code::Deny, 6, 2, "Conversion required and prohibited."),
    row("media_conv_unsupported", Code::DenySoft, 6, 3, "Conversion required but not supported."),
    row("media_conv_lossy", Code::DenySoft, 6, 4, "Conversion with loss performed."),
    row("sec_unspecified", Code::DenySoft, 7, 0, "Other or undefined security status."),
    row("bad_sender_ip", Code::Deny, 7, 1, "Bad sender's IP"),
    row("relaying_denied", Code::Deny, 7, 1, "Relaying denied"),
    row("sec_sender_unauthorized", Code::Deny, 7, 1, "Delivery not authorized, message refused."),
    row("sec_list_dest_prohibited", Code::Deny, 7, 2, "Mailing list expansion prohibited."),
    row("sec_conv_failed", Code::Deny, 7, 3, "Security conversion required but not possible."),
    row("sec_feature_unsupported", Code::Deny, 7, 4, "Security features not supported."),
    row("sec_crypto_failure", Code::Deny, 7, 5, "Cryptographic failure."),
    row(
        "sec_crypto_algorithm_unsupported",
        Code::DenySoft,
        7,
        6,
        "Cryptographic algorithm not supported.",
    ),
    row("sec_msg_integrity_failure", Code::Deny, 7, 7, "Message integrity failure."),
];

impl Dsn {
    /// The status of that name; `None` where there is none.
    pub fn find(name: &str) -> Option<&'static Dsn> {
        TABLE.iter().find(|dsn| dsn.name == name)
    }

    /// The verdict of that code: the text, or the default text where it is empty, and after it the
    /// status, as ` (#5.7.1)`. The class of the status is that of the code.
    pub fn verdict(&self, code: Code, text: &str) -> Verdict {
        let text = if text.is_empty() { self.text } else { text };
        Verdict::new(code, format!("{text} (#{}.{}.{})", class(code), self.subject, self.detail))
    }
}

/// The verdict for the status of that name, with its default code and text where none is given or
/// the text is empty. `None` where no status has that name.
pub fn verdict(name: &str, override_code: Option<Code>, text: Option<&str>) -> Option<Verdict> {
    let dsn = Dsn::find(name)?;
    Some(dsn.verdict(override_code.unwrap_or(dsn.code), text.unwrap_or_default()))
}

/// 5.1.1, refused for good: no mailbox of that name. An empty text means the default text.
pub fn no_such_user(text: &str) -> Verdict {
    named("no_such_user", text)
}

/// 5.1.8, refused for good: the sender's domain cannot be right. An empty text means the default
/// text.
pub fn addr_bad_from_system(text: &str) -> Verdict {
    named("addr_bad_from_system", text)
}

/// 4.2.2, refused for now: the mailbox has no room. An empty text means the default text.
pub fn mbox_full(text: &str) -> Verdict {
    named("mbox_full", text)
}

/// 4.3.1, refused for now: this system has no room. An empty text means the default text.
pub fn sys_disk_full(text: &str) -> Verdict {
    named("sys_disk_full", text)
}

/// 4.3.2, refused for now: this system takes no mail. An empty text means the default text.
pub fn sys_not_accepting_mail(text: &str) -> Verdict {
    named("sys_not_accepting_mail", text)
}

/// 4.4.3, refused for now: a DNS lookup had no answer. An empty text means the default text.
pub fn temp_resolver_failed(text: &str) -> Verdict {
    named("temp_resolver_failed", text)
}

/// 5.4.6, refused for good: the message goes round in a loop. An empty text means the default text.
pub fn too_many_hops(text: &str) -> Verdict {
    named("too_many_hops", text)
}

/// 4.5.3, refused for now: no more recipients in this transaction. An empty text means the default
/// text.
pub fn too_many_rcpts(text: &str) -> Verdict {
    named("too_many_rcpts", text)
}

/// 5.7.1, refused for good: the client's address is not welcome. An empty text means the default
/// text.
pub fn bad_sender_ip(text: &str) -> Verdict {
    named("bad_sender_ip", text)
}

/// 5.7.1, refused for good: no mail for that domain from this client. An empty text means the
/// default text.
pub fn relaying_denied(text: &str) -> Verdict {
    named("relaying_denied", text)
}

fn named(name: &str, text: &str) -> Verdict {
    verdict(name, None, Some(text)).expect("each function above is named as a row of the table")
}

/// The first number of the status (RFC 3463 3.1). What is neither accepted nor refused for good is
/// for now.
fn class(code: Code) -> u8 {
    match code {
        Code::Ok | Code::Done => 2,
        Code::Deny | Code::DenyDisconnect => 5,
        Code::DenySoft | Code::DenySoftDisconnect | Code::Declined => 4,
    }
}

const fn row(name: &'static str, code: Code, subject: u8, detail: u8, text: &'static str) -> Dsn {
    Dsn { name, code, subject, detail, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(verdict: Verdict, code: Code, text: &str) {
        assert_eq!((verdict.code(), verdict.text()), (code, text));
    }

    #[test]
    fn named_functions_give_their_defaults() {
        use Code::{Deny, DenySoft};
        is(no_such_user(""), Deny, "No such user (#5.1.1)");
        is(addr_bad_from_system(""), Deny, "Bad sender's system address. (#5.1.8)");
        is(mbox_full(""), DenySoft, "Mailbox full. (#4.2.2)");
        is(sys_disk_full(""), DenySoft, "Mail system full. (#4.3.1)");
        is(sys_not_accepting_mail(""), DenySoft, "System not accepting network messages. (#4.3.2)");
        is(temp_resolver_failed(""), DenySoft, "Temporary address resolution failure (#4.4.3)");
        is(too_many_hops(""), Deny, "Too many hops (#5.4.6)");
        is(too_many_rcpts(""), DenySoft, "Too many recipients. (#4.5.3)");
        is(bad_sender_ip(""), Deny, "Bad sender's IP (#5.7.1)");
        is(relaying_denied(""), Deny, "Relaying denied (#5.7.1)");
    }

    #[test]
    fn named_functions_take_a_text() {
        use Code::{Deny, DenySoft};
        is(no_such_user("x"), Deny, "x (#5.1.1)");
        is(addr_bad_from_system("x"), Deny, "x (#5.1.8)");
        is(mbox_full("x"), DenySoft, "x (#4.2.2)");
        is(sys_disk_full("x"), DenySoft, "x (#4.3.1)");
        is(sys_not_accepting_mail("x"), DenySoft, "x (#4.3.2)");
        is(temp_resolver_failed("x"), DenySoft, "x (#4.4.3)");
        is(too_many_hops("x"), Deny, "x (#5.4.6)");
        is(too_many_rcpts("x"), DenySoft, "x (#4.5.3)");
        is(bad_sender_ip("x"), Deny, "x (#5.7.1)");
        is(relaying_denied("x"), Deny, "x (#5.7.1)");
    }

    #[test]
    fn the_code_decides_the_class() {
        for (code, class) in [
            (Code::Declined, 4),
            (Code::Ok, 2),
            (Code::Deny, 5),
            (Code::DenySoft, 4),
            (Code::DenyDisconnect, 5),
            (Code::DenySoftDisconnect, 4),
            (Code::Done, 2),
        ] {
            let found = verdict("mbox_disabled", Some(code), Some("away")).expect("in the table");
            is(found, code, &format!("away (#{class}.2.1)"));
        }
    }

    #[test]
    fn what_is_not_given_is_the_default() {
        let of = |code, text| verdict("addr_rcpt_ok", code, text).expect("in the table");
        is(of(None, None), Code::Ok, "Destination address valid. (#2.1.5)");
        is(of(None, Some("")), Code::Ok, "Destination address valid. (#2.1.5)");
        is(of(None, Some("fine")), Code::Ok, "fine (#2.1.5)");
        is(of(Some(Code::Deny), None), Code::Deny, "Destination address valid. (#5.1.5)");
    }

    #[test]
    fn unknown_names() {
        for name in ["", "Relaying_Denied", "relaying_denied ", "net_no_answer"] {
            assert!(verdict(name, None, None).is_none(), "{name}");
            assert!(Dsn::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        let numbers = |dsn: &Dsn| (dsn.subject, dsn.detail);
        assert!(TABLE.is_sorted_by_key(numbers));
        for (i, dsn) in TABLE.iter().enumerate() {
            assert_eq!(TABLE.iter().position(|other| other.name == dsn.name), Some(i));
            assert!(!dsn.text.is_empty() && !dsn.text.contains(['#', '\r', '\n']), "{}", dsn.name);
            assert!(matches!(dsn.code, Code::Ok | Code::Deny | Code::DenySoft), "{}", dsn.name);
        }
    }

    /// The part of the name before the first underscore tells the subject of the statuses that are
    /// named after RFC 3463.
    #[test]
    fn names_and_subjects_agree() {
        let subjects = ["addr_", "mbox_", "sys_", "net_", "proto_", "media_", "sec_"];
        let mut seen = 0;
        for dsn in TABLE {
            if let Some(i) = subjects.iter().position(|s| dsn.name.starts_with(s)) {
                assert_eq!(usize::from(dsn.subject), i + 1, "{}", dsn.name);
                seen += 1;
            }
        }
        assert_eq!(TABLE.len() - seen, 7, "names without a subject");
    }
}
