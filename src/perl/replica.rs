//! What a Perl child has been told of a session, so that only changes travel.
//!
//! `lib/Qpsmtpd/State.pm` is the other half, and says what the letters mean.

mod fields;

use self::fields::{fields, set_field};
use crate::config::Lines;
use crate::hook::{List, Session};
use crate::mail::{Address, Header};
use crate::perl::items::{address, address_item, header_item};
use crate::perl::wire::Item;
use crate::state::{Notes, Transaction};

#[derive(Default)]
pub(super) struct Replica {
    session: String,
    list: List,
    epoch: Option<u32>,
    fields: Vec<(&'static str, Item)>,
    connection_notes: Notes,
    transaction_notes: Notes,
    sender: Option<Address>,
    recipients: Vec<Address>,
    header: u64,
    body: u64,
    is_discreet: bool,
    /// Did Perl ever ask for the header section?
    wants_header: bool,
    /// The configuration that was told, which Perl keeps for sessions to come.
    told: Vec<(String, Lines)>,
}

impl Replica {
    /// What the Perl child does not know yet.
    pub(super) fn state(&mut self, session: Option<&Session>) -> Item {
        let mut out = vec![];
        let Some(session) = session else { return Item::Map(out) };
        if self.session != session.id() {
            let told = std::mem::take(&mut self.told);
            let (id, wants_header) = (session.id().to_owned(), self.wants_header);
            *self = Replica { session: id, wants_header, ..Replica::default() };
            out.push(("S".into(), Item::text(&self.session)));
            let (known, changed) = told.into_iter().partition(|(name, lines)| {
                session.plain_config(name).is_some_and(|now| now.same(lines))
            });
            self.told = known;
            let changed: Vec<(String, Lines)> = changed;
            if !changed.is_empty() {
                out.push(("C".into(), Item::texts(changed.iter().map(|row| &row.0))));
            }
        }
        if self.is_discreet != session.has_secrets() {
            self.is_discreet = session.has_secrets();
            out.push(("q".into(), Item::flag(self.is_discreet)));
        }
        if self.list != session.list() {
            self.list = session.list();
            out.push(("l".into(), Item::text(self.list.name())));
        }
        if self.epoch != Some(session.epoch()) {
            self.epoch = Some(session.epoch());
            self.transaction_notes.clear();
            self.sender = None;
            self.recipients.clear();
            (self.header, self.body) = (0, 0);
            out.push(("X".into(), Item::number(session.epoch())));
        }
        let mut changed = vec![];
        for (name, value) in fields(&session.connection) {
            if self.field(name) != &value {
                changed.push((name.to_owned(), value.clone()));
                self.set_field(name, value);
            }
        }
        push_map(&mut out, "c", changed);
        push_notes(&mut out, ["n", "N"], &mut self.connection_notes, &session.connection.notes);
        let transaction = &session.transaction;
        push_notes(&mut out, ["t", "T"], &mut self.transaction_notes, &transaction.notes);
        if self.sender.as_ref() != transaction.sender() {
            self.sender = transaction.sender().cloned();
            out.push(("f".into(), self.sender.as_ref().map_or(Item::Undef, address_item)));
        }
        if self.recipients != transaction.recipients() {
            // Recipients come one by one: those that are known already need not travel again.
            let (key, new) = match transaction.recipients().strip_prefix(&*self.recipients) {
                Some(more) => ("R", more),
                None => {
                    self.recipients.clear();
                    ("r", transaction.recipients())
                }
            };
            out.push((key.into(), Item::List(new.iter().map(address_item).collect())));
            self.recipients.extend_from_slice(new);
        }
        if self.header != transaction.header.revision() {
            self.header = transaction.header.revision();
            out.push(("h".into(), Item::number(self.header)));
            if self.wants_header {
                out.push(("H".into(), header_item(&transaction.header)));
            }
        }
        if self.body != transaction.body.stamp() {
            self.body = transaction.body.stamp();
            out.push(("b".into(), Item::number(self.body)));
        }
        Item::Map(out)
    }

    /// Does to the session what plugins did there.
    pub(super) fn apply(&mut self, session: Option<&mut Session>, changes: &Item) {
        let Some(session) = session else { return };
        if self.session != session.id() {
            return;
        }
        for (name, value) in changes.get("c").map_or(&[][..], Item::as_map) {
            set_field(&mut session.connection, name, value);
            if let Some((name, _)) = fields(&session.connection).iter().find(|row| row.0 == name) {
                self.set_field(name, value.clone());
            }
        }
        apply_notes(&mut self.connection_notes, &mut session.connection.notes, changes, "n", "N");
        if self.epoch != Some(session.epoch()) {
            return;
        }
        let transaction = &mut session.transaction;
        apply_notes(&mut self.transaction_notes, &mut transaction.notes, changes, "t", "T");
        if let Some(from) = changes.get("f").and_then(address) {
            transaction.set_sender(from.clone());
            self.sender = Some(from);
        }
        if let Some(list) = changes.get("r") {
            let recipients: Vec<Address> = list.as_list().iter().filter_map(address).collect();
            transaction.set_recipients(recipients.clone());
            self.recipients = recipients;
        }
        if let Some(edits) = changes.get("h") {
            edit_header(&mut transaction.header, edits);
            self.header = transaction.header.revision();
        }
        if let Some(changed) = changes.get("A").and_then(address) {
            session.replace_address(changed);
        }
    }

    /// Perl asks for the header section: from now on it comes with what else has changed.
    pub(super) fn wants_header(&mut self) {
        self.wants_header = true;
    }

    /// Perl was told this of the configuration.
    pub(super) fn has_told(&mut self, name: &str, lines: &Lines) {
        match self.told.iter_mut().find(|row| row.0 == name) {
            Some(row) => row.1 = lines.clone(),
            None => self.told.push((name.to_owned(), lines.clone())),
        }
    }

    /// After something on this side has changed the body together with the Perl child.
    pub(super) fn knows_body(&mut self, transaction: &Transaction) {
        self.body = transaction.body.stamp();
    }

    fn field(&self, name: &str) -> &Item {
        let known = self.fields.iter().find(|(known, _)| *known == name);
        known.map_or(&Item::Undef, |(_, value)| value)
    }

    fn set_field(&mut self, name: &'static str, value: Item) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => self.fields.push((name, value)),
        }
    }
}

fn push_map(out: &mut Vec<(String, Item)>, key: &str, pairs: Vec<(String, Item)>) {
    if !pairs.is_empty() {
        out.push((key.into(), Item::Map(pairs)));
    }
}

fn push_notes(out: &mut Vec<(String, Item)>, keys: [&str; 2], known: &mut Notes, now: &Notes) {
    let set: Vec<_> = now.iter().filter(|(name, value)| known.value(name) != Some(value)).collect();
    let gone: Vec<&str> =
        known.iter().map(|(name, _)| name).filter(|name| now.value(name).is_none()).collect();
    if !gone.is_empty() {
        out.push((keys[1].into(), Item::texts(gone)));
    } else if set.is_empty() {
        return;
    }
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), Item::from_value(value)));
    push_map(out, keys[0], set.collect());
    known.clone_from(now);
}

fn apply_notes(known: &mut Notes, notes: &mut Notes, changes: &Item, set: &str, gone: &str) {
    for (name, item) in changes.get(set).map_or(&[][..], Item::as_map) {
        notes.set_value(name, item.to_value());
        known.set_value(name, item.to_value());
    }
    for name in changes.get(gone).map_or(&[][..], Item::as_list) {
        notes.remove(&name.as_text());
        known.remove(&name.as_text());
    }
}

fn edit_header(header: &mut Header, edits: &Item) {
    let edits = edits.as_list().iter().map(|edit| match edit {
        Item::List(text) => Err(text.first().map_or(&[][..], Item::as_octets)),
        index => Ok(index.as_number().and_then(|index| usize::try_from(index).ok())),
    });
    header.rebuild(edits.filter_map(|edit| match edit {
        Ok(index) => index.map(Ok),
        Err(text) => Some(Err(text)),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Note, Value};
    use crate::testing::Trial;

    const KARMA: Note<i64> = Note::new("karma");

    fn map(pairs: &[(&str, Item)]) -> Item {
        Item::Map(pairs.iter().map(|(key, item)| ((*key).into(), item.clone())).collect())
    }

    #[test]
    fn only_changes_travel() {
        let mut trial = Trial::new("", &[]);
        let mut replica = Replica::default();
        let all = replica.state(Some(&trial.session));
        assert_eq!(all.get("S").unwrap().as_text(), trial.session.id());
        assert!(all.get("c").unwrap().get("remote_ip").is_some());
        assert_eq!(replica.state(Some(&trial.session)), Item::Map(vec![]));
        trial.session.connection.notes.set(KARMA, 2);
        trial.session.connection.relay_client = true;
        let some = replica.state(Some(&trial.session));
        assert_eq!(some.get("n"), Some(&map(&[("karma", Item::text("2"))])));
        assert_eq!(some.get("c"), Some(&map(&[("relay_client", Item::text("1"))])));
        assert_eq!(some.as_map().len(), 2);
        trial.session.connection.notes.unset(KARMA);
        let gone = replica.state(Some(&trial.session));
        assert_eq!(gone, map(&[("N", Item::texts(["karma"]))]));
    }

    #[test]
    fn what_came_from_perl_does_not_go_back() {
        let mut trial = Trial::new("", &[]);
        let mut replica = Replica::default();
        replica.state(Some(&trial.session));
        let to = Item::List(vec![Item::List(vec![Item::text("a"), Item::text("x.example")])]);
        let changes = map(&[
            ("c", map(&[("relay_client", Item::text("1")), ("hello_host", Item::text("me"))])),
            ("n", map(&[("karma", Item::text("-3")), ("list", Item::texts(["a"]))])),
            ("r", to),
        ]);
        replica.apply(Some(&mut trial.session), &changes);
        assert!(trial.session.connection.relay_client);
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-3));
        let list = Value::List(vec![Value::Str("a".into())]);
        assert_eq!(trial.session.connection.notes.value("list"), Some(&list));
        assert_eq!(trial.session.transaction.recipients(), [Address::new("a", "x.example")]);
        let back = replica.state(Some(&trial.session));
        // Before HELO there is no name to tell, whatever a plugin has set.
        assert_eq!(back, map(&[("c", map(&[("hello_host", Item::Undef)]))]));
    }

    #[test]
    fn header_fields_are_kept_or_new() {
        let mut header = Header::parse(b"A: 1\r\nB:  2\r\n\tfolded\r\nC: 3\r\n");
        let edits = Item::List(vec![
            Item::List(vec![Item::text("X-New: a\nInjected: b\n\x01\n \x02\n\nc\u{9b}d")]),
            Item::number(1),
            Item::number(7),
            Item::number(0),
        ]);
        edit_header(&mut header, &edits);
        let text = String::from_utf8(header.to_bytes()).unwrap();
        assert_eq!(text, "X-New: a\r\n Injected: b\r\n cd\r\nB:  2\r\n\tfolded\r\nA: 1\r\n");
    }
}
