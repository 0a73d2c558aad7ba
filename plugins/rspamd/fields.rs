//! What becomes of the header section.

use super::Scanner;
use super::answer::{Action, Answer, Edit};
use crate::hook::Session;

impl Scanner {
    /// Changes the header section.
    pub(super) fn edit(&self, session: &mut Session, answer: &Answer) {
        for edit in &answer.edits {
            match edit {
                Edit::Remove(name, number) => remove(session, name, *number),
                Edit::Add { name, value, position } => {
                    let value = session.readable(value.clone());
                    add(session, name, &value, *position);
                }
            }
        }
        match (answer.action, &answer.subject) {
            _ if answer.only_told => {}
            (Action::RewriteSubject, Some(subject)) => {
                let subject = session.readable(subject.clone());
                session.transaction.header.replace("Subject", &subject);
            }
            (Action::RewriteSubject | Action::AddHeader | Action::Reject, _) => {
                self.mark(session, answer);
            }
            _ => {}
        }
    }

    /// Adds what says that it is spam.
    fn mark(&self, session: &mut Session, answer: &Answer) {
        let usual = [(String::new(), "Yes".to_owned())];
        let fields = if answer.spam_fields.is_empty() { &usual[..] } else { &answer.spam_fields };
        for (name, value) in fields {
            let name = if name.is_empty() { &self.spam_field } else { name };
            let value = session.readable(value.clone());
            session.transaction.header.delete(name);
            session.transaction.header.add_at(0, name, &value);
        }
    }
}

fn remove(session: &mut Session, name: &str, number: i64) {
    let header = &mut session.transaction.header;
    let count = header.count(name) as i64;
    match number {
        0 => {
            header.delete(name);
        }
        _ => {
            let index = if number > 0 { number - 1 } else { count.saturating_add(number) };
            if let Ok(index) = usize::try_from(index) {
                header.delete_nth(name, index);
            }
        }
    }
}

fn add(session: &mut Session, name: &str, value: &str, position: i64) {
    let header = &mut session.transaction.header;
    match position {
        -1 => header.add(name, value),
        _ => {
            let count = header.len() as i64;
            let from_end = count.saturating_add(position).saturating_add(1).max(0);
            let position = if position >= 0 { position } else { from_end };
            header.add_at(usize::try_from(position).unwrap_or(usize::MAX), name, value);
        }
    }
}
