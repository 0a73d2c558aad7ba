//! A message as a filter gets it: field after field, then the text in pieces.

use std::io::{self, BufRead};

use crate::hook::Session;
use crate::settings::DATABYTES;
use crate::state::Transaction;

use super::arguments::Filter;
use super::changes::Changes;
use super::conversation::{Conversation, Step, at};
use super::packet::{Answer, BODY_PIECE, Event, texts};
use super::reply::{Ruling, ruling};

/// Sends the message, and does what the filter wants changed if it takes it.
pub(super) fn send(
    conversation: &mut Conversation,
    filter: &Filter,
    session: &mut Session,
) -> Step {
    let has_leading_space = conversation.link()?.terms().has_leading_space();
    for data in fields(&session.transaction, has_leading_space) {
        if let Some(ruling) = conversation.tell(filter, session, Event::Header, &data, None)? {
            return Ok(Some(ruling));
        }
    }
    if let Some(ruling) = conversation.tell(filter, session, Event::EndOfHeader, &[], None)? {
        return Ok(Some(ruling));
    }
    if conversation.link()?.terms().wants(Event::Body)
        && let Some(ruling) = send_text(conversation, filter, session)?
    {
        return Ok(Some(ruling));
    }
    let mut answer = conversation.ask(filter, session, Event::EndOfMessage, &[], None)?;
    let most = session.setting(DATABYTES);
    let mut changes = Changes::default();
    while let Answer::Change(change) = answer {
        changes.add(change.with_space(has_leading_space), session, most)?;
        let limits = (filter.content, session.deadline());
        let next = conversation.link()?.answer(limits);
        answer = next.map_err(|error| at(Event::EndOfMessage, &error))?;
    }
    let ruling = ruling(answer).map_err(io::Error::other)?;
    if !matches!(ruling, None | Some(Ruling::Accept)) {
        return Ok(ruling);
    }
    let (done, has_recipients) = changes.apply(session)?;
    let name = &filter.name;
    let dash = if done.is_empty() { "" } else { ": " };
    session.pass(format_args!("{name}{dash}{done}"));
    // Without recipients there is nothing to queue.
    Ok(if has_recipients { ruling } else { Some(Ruling::Discard) })
}

/// The fields but the Received field that is ours, each as the data of a packet.  Their lines end in LF,
/// and the last one in nothing.
fn fields(transaction: &Transaction, has_leading_space: bool) -> Vec<Vec<u8>> {
    let trace = transaction.header.trace();
    let fields = transaction.header.entries().enumerate().take(transaction.header.end());
    let shown = fields.filter(|(at, (name, _))| Some(*at) != trace && !name.is_empty());
    shown.map(|(_, (name, value))| texts([name, &with_lf(value, has_leading_space)])).collect()
}

fn with_lf(value: &[u8], has_leading_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => out.extend([text, b"\n"].concat()),
            None => out.extend_from_slice(line),
        }
    }
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    // Postfix leaves out one blank, and no more.
    if !has_leading_space && out.first() == Some(&b' ') {
        out.remove(0);
    }
    out
}

/// Sends what follows the empty line, until the filter has enough of it.  A line that is no field ends the
/// fields as well.
fn send_text(conversation: &mut Conversation, filter: &Filter, session: &Session) -> Step {
    let Transaction { header, body, .. } = &session.transaction;
    let mut reader = body.reader(body.start());
    let mut piece: Vec<u8> = header.fields().skip(header.end()).flatten().copied().collect();
    let mut line = vec![];
    reader.read_until(b'\n', &mut line)?;
    if !piece.is_empty() || !matches!(line.as_slice(), b"\r\n" | b"\n") {
        piece.extend_from_slice(&line);
    }
    loop {
        let more = reader.fill_buf()?;
        let count = more.len().min(BODY_PIECE.saturating_sub(piece.len()));
        let is_end = more.is_empty();
        piece.extend_from_slice(&more[..count]);
        reader.consume(count);
        if piece.is_empty() {
            return Ok(None);
        }
        if piece.len() < BODY_PIECE && !is_end {
            continue;
        }
        let rest = piece.split_off(piece.len().min(BODY_PIECE));
        match conversation.ask(filter, session, Event::Body, &piece, None)? {
            Answer::Skip => return Ok(None),
            Answer::Change(_) => return Err(io::Error::other("a wrong answer to BODY")),
            answer => {
                if let Some(ruling) = ruling(answer).map_err(io::Error::other)? {
                    return Ok(Some(ruling));
                }
            }
        }
        piece = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_octets() {
        for (value, exact, stripped) in [
            (&b" x\r\n"[..], &b" x"[..], &b"x"[..]),
            (b"   x \r\n y\r\n\tz\r\n", b"   x \n y\n\tz", b"  x \n y\n\tz"),
            (b"\tx\r\n", b"\tx", b"\tx"),
            (b"x", b"x", b"x"),
            (b"\r\n y\n", b"\n y", b"\n y"),
        ] {
            assert_eq!(with_lf(value, true), exact);
            assert_eq!(with_lf(value, false), stripped);
        }
    }
}
