//! For the fuzz targets: what a milter says, from the negotiation on.

use crate::plugins::milter::packet::{Answer, Change, Event, Terms, packet};
use crate::plugins::milter::{Ruling, ruling};

/// The packets that are there whole: the letter and the data of each.
fn packets(mut input: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = vec![];
    while let Some((length, rest)) = input.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some([letter, data @ ..]) = rest.get(..length) else { break };
        found.push((*letter, data));
        input = &rest[length..];
    }
    found
}

/// A filter gets no more than was offered, whatever it answers; names are there, texts have no end in
/// them, and a refusal is one of the client's class.
pub(super) fn answers(input: &[u8]) {
    for version in [2, 3, 4, 6] {
        let offer = Terms::offer(version);
        let mut terms = offer.clone();
        for (letter, data) in packets(input) {
            if letter == b'O' {
                let Ok(agreed) = offer.answered(data) else { continue };
                assert!(agreed.version <= version && agreed.actions & !offer.actions == 0);
                assert!(agreed.protocol & !offer.protocol == 0);
                assert!(agreed.wants(Event::EndOfMessage) && agreed.answers(Event::EndOfMessage));
                let names = agreed.macros.iter().flatten().flatten();
                assert!(names.clone().all(|name| !name.contains('\0') && !name.is_empty()));
                terms = agreed;
                continue;
            }
            let Ok(answer) = terms.answer(letter, data) else { continue };
            if let Answer::Change(change) = answer {
                check(&change.with_space(terms.has_leading_space()));
            } else if let Ok(Some(Ruling::Refuse(verdict))) = ruling(answer) {
                let class = verdict.reply().map(|code| code / 100);
                assert!(verdict.code().is_deny() && matches!(class, Some(4 | 5)));
            }
        }
    }
    // What is sent is read as it was.
    let mut out = vec![];
    packet(b'x', input, &mut out);
    assert_eq!(packets(&out), [(b'x', input)]);
}

fn check(change: &Change) {
    let texts = match change {
        Change::AddHeader(name, value)
        | Change::InsertHeader(_, name, value)
        | Change::ReplaceHeader(_, name, value) => {
            assert!(!name.is_empty());
            [name, value]
        }
        Change::AddRecipient(address, params) | Change::Sender(address, params) => {
            [address, params]
        }
        Change::RemoveRecipient(text) | Change::Quarantine(text) => [text, text],
        Change::Body(_) => return,
    };
    assert!(texts.iter().all(|text| !text.contains(&0)));
}
