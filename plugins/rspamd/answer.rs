//! What rspamd answers: the JSON of its protocol, version 2.

use std::collections::BTreeMap;

use super::json::Json;

/// What rspamd says of a message.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(super) action: Action,
    pub(super) score: f64,
    /// The score from which on messages are refused.
    pub(super) required: f64,
    /// The names of the rules that matched, in order.
    pub(super) symbols: Vec<String>,
    /// What the client is to be told.
    pub(super) text: Option<String>,
    /// The new subject.
    pub(super) subject: Option<String>,
    /// What becomes of the header section, in order.
    pub(super) edits: Vec<Edit>,
    /// The fields for spam, in place of the usual one.
    pub(super) spam_fields: Vec<(String, String)>,
    /// Does it want to change the envelope?
    pub(super) has_envelope: bool,
    /// Nothing is to come of the action.
    pub(super) only_told: bool,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    None,
    Greylist,
    AddHeader,
    RewriteSubject,
    SoftReject,
    Reject,
    Quarantine,
    Discard,
}

/// The actions by their names.
const ACTIONS: [(&str, Action); 9] = [
    ("no action", Action::None),
    ("accept", Action::None),
    ("greylist", Action::Greylist),
    ("add header", Action::AddHeader),
    ("rewrite subject", Action::RewriteSubject),
    ("soft reject", Action::SoftReject),
    ("reject", Action::Reject),
    ("quarantine", Action::Quarantine),
    ("discard", Action::Discard),
];

impl Action {
    pub(super) fn name(self) -> &'static str {
        ACTIONS.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }
}

/// A change of the header section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// The field of that name and number is taken away: counted from 1, from the end below 0, all of
    /// them for 0.
    Remove(String, i64),
    /// A field is put at a position, counted from 0, from the end below 0.
    Add { name: String, value: String, position: i64 },
}

/// The most edits that are made.
const MOST: usize = 500;

impl Answer {
    /// Reads an answer.  Parts that only inform may be missing or of another kind; what decides may
    /// not.
    ///
    /// # Errors
    /// It is not JSON, or does not say what is to be done.
    pub(crate) fn read(octets: &[u8]) -> Result<Answer, String> {
        let text = String::from_utf8_lossy(octets);
        let json: Json =
            serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}"))?;
        if let Some(error) = json.get("error").text() {
            return Err(error.to_owned());
        }
        let name = json.get("action").text().ok_or("no action in the answer")?;
        let found = ACTIONS.iter().find(|row| row.0 == name);
        let mut action = found.ok_or_else(|| format!("an unknown action: {name}"))?.1;
        let milter = json.get("milter");
        match milter.get("reject").text() {
            Some("discard") if action == Action::Reject => action = Action::Discard,
            Some("quarantine") if action == Action::Reject => action = Action::Quarantine,
            _ => {}
        }
        let mut edits = removals(milter.get("remove_headers"));
        edits.extend(additions(milter.get("add_headers")));
        let signatures = json.get("dkim-signature").each().filter_map(Json::text);
        edits.extend(signatures.enumerate().map(|(number, value)| Edit::Add {
            name: "DKIM-Signature".to_owned(),
            value: value.to_owned(),
            position: number as i64,
        }));
        edits.truncate(MOST);
        let envelope = ["change_from", "add_rcpt", "del_rcpt"];
        Ok(Answer {
            action,
            score: json.get("score").number().unwrap_or(0.0),
            required: json.get("required_score").number().unwrap_or(0.0),
            symbols: json.get("symbols").pairs().iter().map(|(name, _)| name.clone()).collect(),
            text: json.get("messages").get("smtp_message").text().map(str::to_owned),
            subject: json.get("subject").text().map(str::to_owned),
            edits,
            spam_fields: spam_fields(milter.get("spam_header")),
            has_envelope: envelope.iter().any(|name| *milter.get(name) != Json::Nothing),
            only_told: *milter.get("no_action") == Json::Bool(true),
        })
    }

    /// What is said of the message in a note.
    pub(super) fn words(&self) -> BTreeMap<String, String> {
        let words = [
            ("action", self.action.name().to_owned()),
            ("score", self.score.to_string()),
            ("required", self.required.to_string()),
            ("symbols", self.symbols.join(",")),
        ];
        words.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// `{"name": number}`, or several numbers; those of a name from the last one on, so that taking one
/// away does not change what the next number means.
fn removals(json: &Json) -> Vec<Edit> {
    let mut edits = vec![];
    for (name, numbers) in json.pairs() {
        let mut numbers: Vec<i64> = numbers.each().filter_map(Json::whole).collect();
        numbers.sort_by_key(|number| std::cmp::Reverse((*number > 0, *number)));
        let below = numbers.iter().position(|number| *number <= 0).unwrap_or(numbers.len());
        // From the end: the last one, -1, comes last.
        numbers[below..].reverse();
        edits.extend(numbers.into_iter().map(|number| Edit::Remove(name.clone(), number)));
    }
    edits
}

/// `{"name": "value"}`, `{"name": {"value": "value", "order": 0}}`, or several of these.
fn additions(json: &Json) -> Vec<Edit> {
    let mut edits = vec![];
    for (name, values) in json.pairs() {
        for one in values.each() {
            let (value, place) = match one {
                Json::Text(value) => (Some(value.as_str()), None),
                one => {
                    (one.get("value").text(), one.get("order").whole().or(one.get("index").whole()))
                }
            };
            let Some(value) = value else { continue };
            let position = place.unwrap_or(-1);
            edits.push(Edit::Add { name: name.clone(), value: value.to_owned(), position });
        }
    }
    edits
}

fn spam_fields(json: &Json) -> Vec<(String, String)> {
    let pair = |(name, value): &(String, Json)| Some((name.clone(), value.text()?.to_owned()));
    match json {
        Json::Text(value) => vec![(String::new(), value.clone())],
        json => json.pairs().iter().filter_map(pair).take(MOST).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, value: &str, position: i64) -> Edit {
        Edit::Add { name: name.into(), value: value.into(), position }
    }

    fn read(json: &str) -> Answer {
        Answer::read(json.as_bytes()).unwrap()
    }

    /// As rspamd 3.4 writes it.
    #[test]
    fn an_answer_is_read() {
        let answer = read(
            r#"{"is_skipped":false,"score":6.199999,"required_score":15.0,"action":"add header",
            "symbols":{"ZED":{"name":"ZED","score":0.0},"ARC_NA":{"name":"ARC_NA","score":1}},
            "messages":{"smtp_message":"marked"},"message-id":"1@a.test","time_real":0.1,
            "subject":"[spam]","dkim-signature":"v=1; a=rsa",
            "milter":{"remove_headers":{"X-Spam":0,"Subject":[1,-1,-2,3]},
            "add_headers":{"X-Two":{"value":"2","order":1},"X-Many":[{"value":"a","order":0},"b"],
            "X-A":{"value":"e\n\tfold","index":-1},"X-No":7,"X-Nor":{"order":1}}}}"#,
        );
        assert_eq!(answer.action, Action::AddHeader);
        assert_eq!((answer.score, answer.required), (6.199999, 15.0));
        assert_eq!(answer.symbols, ["ZED", "ARC_NA"]);
        assert_eq!(answer.text.as_deref(), Some("marked"));
        assert_eq!(answer.subject.as_deref(), Some("[spam]"));
        let remove = |name: &str, number| Edit::Remove(name.into(), number);
        let edits = [
            remove("X-Spam", 0),
            remove("Subject", 3),
            remove("Subject", 1),
            remove("Subject", -2),
            remove("Subject", -1),
            add("X-Two", "2", 1),
            add("X-Many", "a", 0),
            add("X-Many", "b", -1),
            add("X-A", "e\n\tfold", -1),
            add("DKIM-Signature", "v=1; a=rsa", 0),
        ];
        assert_eq!(answer.edits, edits);
        assert!(!answer.has_envelope && !answer.only_told && answer.spam_fields.is_empty());
        assert_eq!(answer.words()["symbols"], "ZED,ARC_NA");
    }

    #[test]
    fn a_rule_can_say_what_becomes_of_what_is_refused() {
        for (json, action) in [
            (r#"{"action":"reject","milter":{"reject":"discard"}}"#, Action::Discard),
            (r#"{"action":"reject","milter":{"reject":"quarantine"}}"#, Action::Quarantine),
            (r#"{"action":"reject","milter":{"reject":"other"}}"#, Action::Reject),
            (r#"{"action":"add header","milter":{"reject":"discard"}}"#, Action::AddHeader),
            (r#"{"action":"quarantine","milter":[]}"#, Action::Quarantine),
        ] {
            assert_eq!(read(json).action, action, "{json}");
        }
        let more = read(
            r#"{"action":"add header","milter":{"no_action":true,"add_rcpt":["a@b"],
            "spam_header":{"X-A":"1","X-B":2}},"dkim-signature":["one","two"]}"#,
        );
        assert!(more.only_told && more.has_envelope);
        assert_eq!(more.spam_fields, [("X-A".to_owned(), "1".to_owned())]);
        assert_eq!(more.edits, [add("DKIM-Signature", "one", 0), add("DKIM-Signature", "two", 1)]);
        let word = read(r#"{"action":"add header","milter":{"spam_header":"Sure"}}"#);
        assert_eq!(word.spam_fields, [(String::new(), "Sure".to_owned())]);
    }

    #[test]
    fn what_does_not_say_what_to_do_is_an_error() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for (json, error) in [
            ("", "no JSON: EOF while parsing"),
            ("hello", "no JSON: expected value"),
            (r#"{"action":"no action""#, "no JSON: EOF while parsing"),
            (&deep, "no JSON: recursion limit exceeded"),
            ("[]", "no action in the answer"),
            (r#"{"action":1}"#, "no action in the answer"),
            (r#"{"action":"sing"}"#, "an unknown action: sing"),
            (r#"{"error":"invalid command","action":"reject"}"#, "invalid command"),
        ] {
            let found = Answer::read(json.as_bytes()).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
        assert!(Answer::read(b"{\"action\":\"no action\",\"subject\":\"\xff\"}").is_ok());
    }
}
