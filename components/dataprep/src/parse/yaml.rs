//! YAML, event by event. An alias is not expanded into what it stands for, so that a few lines can't become gigabytes; one of a
//! single value is replaced by it.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

use super::record::Records;
use crate::document::Builder;
use crate::limits::{DEPTH_MAX, ParseError};

/// Longest value that an alias repeats, in bytes.
const ALIAS_BYTES_MAX: usize = 200;

/// Most values that are kept for aliases.
const ANCHORS_MAX: usize = 10_000;

pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut reader = Reader { records: Records::new(builder), open: Vec::new(), anchors: HashMap::new() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, _) = event.map_err(|error| match error.to_string() {
            text if text.starts_with("recursion limit") => ParseError::TooDeep,
            text => ParseError::malformed("YAML", text),
        })?;
        reader.records.tick()?;
        reader.take(event)?;
    }
    reader.records.end()
}

/// A list or a mapping that is not over.
enum Open {
    List,
    Mapping(Next),
}

/// What comes next in a mapping.
#[derive(Clone, Copy)]
enum Next {
    Name,
    /// The end of a list or a mapping that is a name itself.
    EndOfName,
    Value,
}

struct Reader<'b, 'a> {
    records: Records<'b, 'a>,
    open: Vec<Open>,
    anchors: HashMap<usize, String>,
}

impl Reader<'_, '_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), ParseError> {
        match event {
            Event::Scalar(value, _, anchor, _) => {
                if anchor > 0 && value.len() <= ALIAS_BYTES_MAX && self.anchors.len() < ANCHORS_MAX {
                    self.anchors.insert(anchor, value.clone().into_owned());
                }
                self.scalar(&value)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.scalar(&value)
            }
            Event::SequenceStart(..) => {
                self.begin();
                self.records.enter("")?;
                self.open(Open::List)
            }
            Event::MappingStart(..) => {
                self.begin();
                self.open(Open::Mapping(Next::Name))
            }
            Event::SequenceEnd => {
                self.open.pop();
                self.records.leave();
                self.end_value()
            }
            Event::MappingEnd => {
                self.open.pop();
                self.end_value()
            }
            Event::DocumentEnd => self.records.end(),
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), ParseError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(ParseError::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }

    /// A list or a mapping begins, which may be a name.
    fn begin(&mut self) {
        if let Some(Open::Mapping(next @ Next::Name)) = self.open.last_mut() {
            *next = Next::EndOfName;
        }
    }

    fn scalar(&mut self, value: &str) -> Result<(), ParseError> {
        if let Some(Open::Mapping(next @ Next::Name)) = self.open.last_mut() {
            *next = Next::Value;
            return self.records.enter(value);
        }
        if !matches!(value, "~" | "null") {
            self.records.value(value)?;
        }
        self.end_value()
    }

    fn end_value(&mut self) -> Result<(), ParseError> {
        match self.open.last_mut() {
            Some(Open::Mapping(next @ Next::EndOfName)) => {
                *next = Next::Value;
                self.records.enter("")
            }
            Some(Open::Mapping(next)) => {
                *next = Next::Name;
                self.records.leave();
                Ok(())
            }
            Some(Open::List) => self.records.next_element(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::ParseError;
    use crate::parse::tests::{blocks, read};

    fn texts(yaml: &str) -> Vec<String> {
        blocks("a.yaml", yaml.as_bytes()).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn values_are_lines_with_the_path_of_their_names() {
        assert_eq!(texts("a:\n  b:\n    - 1\n    - c: x\nd: ~\ne: |\n  one\n  two\n"), ["a.b: 1\na.b.c: x\ne: one\ntwo"]);
    }

    #[test]
    fn documents_and_elements_of_the_outermost_list_are_records() {
        assert_eq!(texts("a: 1\n---\n- b: 2\n- c: 3\n"), ["a: 1", "b: 2", "c: 3"]);
    }

    #[test]
    fn an_alias_is_its_value_and_never_a_structure() {
        assert_eq!(texts("a: &x 1\nb: *x\nc: &y [2]\nd: *y\ne: 3"), ["a: 1\nb: 1\nc: 2\ne: 3"]);
    }

    #[test]
    fn a_bomb_of_aliases_stays_as_small_as_it_is() {
        let mut bomb = String::from("a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
        for level in 1..30 {
            let before = vec![format!("*a{}", level - 1); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert_eq!(texts(&bomb).concat().matches("lol").count(), 9);
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(read("a.yaml", "[".repeat(10_000).as_bytes()), Err(ParseError::TooDeep));
    }

    #[test]
    fn a_mapping_as_a_name_does_not_confuse_the_rest() {
        assert_eq!(texts("? {a: 1}\n: 2\nb: 3\n"), ["a: 1\n2\nb: 3"]);
    }
}
