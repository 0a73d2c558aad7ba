//! An event as it is remembered for who looks at what happens: its fields, a line each.  Every message is
//! one, so it has to cost little to write.

use serde_json::{Map, Value};

/// The fields in their order, and which are numbers.
const FIELDS: [(&str, bool); 10] = [
    ("time", true),
    ("what", false),
    ("ip", false),
    ("hook", false),
    ("plugin", false),
    ("code", true),
    ("text", false),
    ("about", false),
    ("sender", false),
    ("recipient", false),
];

/// The values of all fields: the time is in seconds since 1970, and no text has more than a line.
pub type Remembered<'a> = [&'a str; FIELDS.len()];

/// As one text.
pub(super) fn joined(event: &Remembered<'_>) -> String {
    event.join("\n")
}

/// The event of such a text as a JSON object; None: the text is none.
pub fn remembered(text: &str) -> Option<Value> {
    let values: Vec<&str> = text.split('\n').collect();
    let fields = FIELDS.iter().zip(&values).map(|((name, is_number), text)| {
        let value = if *is_number { text.parse::<u64>().ok()?.into() } else { Value::from(*text) };
        Some(((*name).to_owned(), value))
    });
    let is_whole = values.len() == FIELDS.len();
    fields.collect::<Option<Map<_, _>>>().filter(|_| is_whole).map(Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = ["7", "refusal", "192.0.2.1", "rcpt", "rcpt_ok", "550", "no", "", "<>", ""];
        let want = json!({"time": 7, "what": "refusal", "ip": "192.0.2.1", "hook": "rcpt",
            "plugin": "rcpt_ok", "code": 550, "text": "no", "about": "", "sender": "<>",
            "recipient": ""});
        let text = joined(&event);
        assert_eq!(remembered(&text), Some(want));
        for text in ["", "no event", &text[1..], &format!("{text}\n")] {
            assert_eq!(remembered(text), None, "{text}");
        }
    }
}
