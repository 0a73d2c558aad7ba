//! JSON in the order in which it was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// JSON whose objects keep the order in which they were written, in which fields are to be added.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Nothing,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

static NOTHING: Json = Json::Nothing;

impl Json {
    /// The value of a name in an object, or nothing.
    pub(super) fn get(&self, name: &str) -> &Json {
        self.pairs().iter().find(|(known, _)| known == name).map_or(&NOTHING, |(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<f64> {
        if let Json::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn whole(&self) -> Option<i64> {
        self.number().map(|number| number as i64)
    }

    pub(super) fn pairs(&self) -> &[(String, Json)] {
        if let Json::Object(pairs) = self { pairs } else { &[] }
    }

    /// The values of a list; something else is a list of one.
    pub(super) fn each(&self) -> impl Iterator<Item = &Json> {
        match self {
            Json::List(values) => values.iter(),
            one => std::slice::from_ref(one).iter(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = vec![];
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut pairs: Vec<(String, Json)> = vec![];
        while let Some((name, value)) = object.next_entry()? {
            if pairs.len() > 100_000 {
                return Err(A::Error::custom("an object that is too large"));
            }
            pairs.push((name, value));
        }
        Ok(Json::Object(pairs))
    }
}
