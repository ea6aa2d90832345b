//! JSON and JSON lines, value by value: nothing but the text is kept.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::record::Records;
use crate::document::Builder;
use crate::limits::ParseError;

/// Every value becomes a line; an element of the outermost list is a record.
pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut records = Records::new(builder);
    read_value(text, &mut records)?;
    records.end()
}

/// Every line is a record.
pub(super) fn read_lines(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut records = Records::new(builder);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        read_value(line, &mut records).map_err(|error| match error {
            ParseError::Malformed { why, .. } => ParseError::malformed("JSON lines", format!("line {}: {why}", index + 1)),
            other => other,
        })?;
        records.end()?;
    }
    Ok(())
}

fn read_value(text: &str, records: &mut Records<'_, '_>) -> Result<(), ParseError> {
    let sink = RefCell::new(Sink { records, failed: None });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Value(&sink).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (read, sink.into_inner().failed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) if error.to_string().starts_with("recursion limit") => Err(ParseError::TooDeep),
        (Err(error), None) => Err(ParseError::malformed("JSON", error)),
        (Ok(()), None) => Ok(()),
    }
}

/// Where values go. Serde's error can't hold ours, so that is kept beside it.
struct Sink<'s, 'b, 'a> {
    records: &'s mut Records<'b, 'a>,
    failed: Option<ParseError>,
}

#[derive(Clone, Copy)]
struct Value<'r, 's, 'b, 'a>(&'r RefCell<Sink<'s, 'b, 'a>>);

impl Value<'_, '_, '_, '_> {
    fn tell<E: de::Error>(self, tell: impl FnOnce(&mut Records<'_, '_>) -> Result<(), ParseError>) -> Result<(), E> {
        let mut sink = self.0.borrow_mut();
        tell(sink.records).map_err(|error| {
            sink.failed = Some(error);
            E::custom("stopped")
        })
    }

    fn leave(self) {
        self.0.borrow_mut().records.leave();
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.tell(|records| records.value(if value { "true" } else { "false" }))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.tell(|records| records.value(&value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.tell(|records| records.value(&value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.tell(|records| records.value(&value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.tell(|records| records.value(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.tell(|records| records.tick())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.tell(|records| records.enter(""))?;
        while elements.next_element_seed(self)?.is_some() {
            self.tell(|records| records.next_element())?;
        }
        self.leave();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(name) = entries.next_key::<String>()? {
            self.tell(|records| records.enter(&name))?;
            entries.next_value_seed(self)?;
            self.leave();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::document::Kind;
    use crate::limits::ParseError;
    use crate::parse::tests::{blocks, read};

    fn texts(name: &str, json: &str) -> Vec<String> {
        let is_paragraph = |(kind, text)| {
            assert_eq!(kind, Kind::Paragraph);
            text
        };
        blocks(name, json.as_bytes()).into_iter().map(is_paragraph).collect()
    }

    #[test]
    fn values_are_lines_with_the_path_of_their_names() {
        let json = r#"{"a": {"b": [1, {"c": "x y"}]}, "d": true, "e": null, "f": 1.5}"#;
        assert_eq!(texts("a.json", json), ["a.b: 1\na.b.c: x y\nd: true\nf: 1.5"]);
    }

    #[test]
    fn an_element_of_the_outermost_list_is_a_record() {
        assert_eq!(texts("a.json", r#"[{"a": 1, "b": [2, 3]}, {"a": 4}, "x"]"#), ["a: 1\nb: 2\nb: 3", "a: 4", "x"]);
    }

    #[test]
    fn every_line_is_a_record() {
        assert_eq!(texts("a.jsonl", "{\"a\": 1}\n\n[2, 3]\r\n"), ["a: 1", "2", "3"]);
        let error = read("a.jsonl", b"{}\n{oops}").expect_err("no JSON");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read("a.json", deep.as_bytes()), Err(ParseError::TooDeep));
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(read("a.json", deep.as_bytes()), Err(ParseError::TooDeep));
    }

    #[test]
    fn what_is_no_json_names_the_place() {
        let error = read("a.json", b"{\n\"a\": }").expect_err("no JSON");
        assert!(error.to_string().contains("line 2 column 6"), "{error}");
    }
}
