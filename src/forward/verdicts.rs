//! What a server's replies, or its silence, mean for our client.

use std::io::{self, ErrorKind};

use crate::hook::Verdict;
use crate::mail::Address;

use super::{Reply, unable};

/// What a final reply means for its recipient.
pub(super) fn of_one(reply: &Reply) -> Verdict {
    if reply.is_ok() { Verdict::ok(reply.text()) } else { reply.refusal() }
}

/// What the replies to RCPT mean for the message; None where all recipients were accepted.
///
/// The client gets one answer for all, and what it was told would be delivered to some would be lost
/// to the others.  So all must be accepted.
pub(super) fn before_data(recipients: &[Address], replies: &[Reply]) -> Option<Verdict> {
    let refused = || recipients.iter().zip(replies).filter(|(_, reply)| !reply.is_ok());
    let (recipient, first) = refused().next()?;
    if refused().count() < recipients.len() {
        return Some(unable(&was_refused(recipient, first), "4.3.0"));
    }
    Some(of_all(replies, first))
}

/// What the final replies for each recipient mean; None where all have the message.
pub(super) fn after_data(recipients: &[Address], replies: &[Reply]) -> Option<Verdict> {
    let refused = || recipients.iter().zip(replies).filter(|(_, reply)| !reply.is_ok());
    let (_, first) = refused().next()?;
    if refused().count() == recipients.len() {
        return Some(of_all(replies, first));
    }
    // Some have the message and would get it once more with every attempt, so another one is
    // wanted only where it may help somebody.
    if let Some((recipient, reply)) = refused().find(|(_, reply)| !reply.is_permanent()) {
        return Some(unable(&was_refused(recipient, reply), "4.3.0"));
    }
    let lines: String = refused()
        .map(|(recipient, reply)| format!("{}\n", was_refused(recipient, reply)))
        .collect();
    let status = first.status().map(|status| format!(" (#{status})")).unwrap_or_default();
    let text = format!("{lines}The other recipients have the message{status}");
    Some(first.refusal().with_text(text))
}

/// Nobody was accepted: the first reply, or the first temporary one if there is any.
fn of_all(replies: &[Reply], first: &Reply) -> Verdict {
    replies.iter().find(|reply| !reply.is_permanent()).unwrap_or(first).refusal()
}

fn was_refused(recipient: &Address, reply: &Reply) -> String {
    format!("{recipient} was refused: {} {}", reply.code, reply.lines.join(" "))
}

/// The answer when the conversation broke off.  The server may have the message.
pub(crate) fn lost(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::TimedOut => unable("the back end does not answer", "4.4.2"),
        ErrorKind::InvalidData => unable("the back end gave a wrong answer", "4.5.0"),
        _ if is_closed(error) => unable("the back end closed the connection", "4.4.2"),
        _ => unable("an error of this server", "4.3.0"),
    }
}

/// Has the server closed the connection?
pub(super) fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict of a rule about recipients a, b, c... with these replies.
    fn rule(
        rule: fn(&[Address], &[Reply]) -> Option<Verdict>,
        codes: &[u16],
    ) -> Option<(u16, String)> {
        let name = |number: usize| char::from(b'a' + number as u8).to_string();
        let recipients: Vec<_> =
            (0..codes.len()).map(|number| Address::new(&name(number), "x.test")).collect();
        let replies: Vec<_> = codes
            .iter()
            .enumerate()
            .map(|(number, code)| Reply {
                code: *code,
                lines: vec![format!("say {}", name(number))],
            })
            .collect();
        let verdict = rule(&recipients, &replies)?;
        Some((verdict.reply().unwrap(), verdict.text().to_owned()))
    }

    fn want(code: u16, text: &str) -> Option<(u16, String)> {
        Some((code, text.to_owned()))
    }

    const PARTLY: &str = "Unable to queue message (<b@x.test> was refused: ";

    #[test]
    fn before_data_all_must_be_accepted() {
        assert_eq!(rule(before_data, &[250, 251]), None);
        assert_eq!(rule(before_data, &[550]), want(550, "say a"));
        assert_eq!(rule(before_data, &[551, 550]), want(551, "say a"));
        assert_eq!(rule(before_data, &[452, 450]), want(452, "say a"));
        assert_eq!(rule(before_data, &[550, 450, 451]), want(450, "say b"));
        for codes in [[250, 550, 450], [250, 450, 550]] {
            let (code, text) = rule(before_data, &codes).unwrap();
            assert_eq!(code, 451);
            assert!(text.starts_with(PARTLY) && text.contains(&codes[1].to_string()), "{text}");
        }
    }

    #[test]
    fn after_data_another_attempt_is_wanted_where_it_may_help() {
        assert_eq!(rule(after_data, &[250, 250]), None);
        assert_eq!(rule(after_data, &[552, 550]), want(552, "say a"));
        assert_eq!(rule(after_data, &[550, 452]), want(452, "say b"));
        let temporary = format!("{PARTLY}452 say b) (#4.3.0)");
        assert_eq!(rule(after_data, &[250, 452]), want(451, &temporary));
        assert_eq!(rule(after_data, &[550, 452, 250]), want(451, &temporary));
        let text = "<a@x.test> was refused: 552 say a\n<c@x.test> was refused: 550 say c\n\
                    The other recipients have the message";
        assert_eq!(rule(after_data, &[552, 250, 550]), want(552, text));
    }

    #[test]
    fn a_530_is_no_fault_of_the_clients() {
        assert_eq!(rule(before_data, &[530]).unwrap().0, 451);
        assert_eq!(rule(after_data, &[250, 530]).unwrap().0, 451);
    }
}
