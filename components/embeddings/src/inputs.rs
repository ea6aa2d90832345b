//! What can be embedded: a text, texts, token ids or lists of token ids.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use tessera_sdk::embed::Input;

/// Most inputs in one request; OpenAI's limit.
pub(crate) const INPUTS_MAX: usize = 2048;

/// The inputs of one request, at most [`INPUTS_MAX`] and all of one kind; there may be none.
#[derive(Debug)]
pub(crate) struct Inputs(pub(crate) Vec<Input>);

impl Inputs {
    /// The first input that has nothing in it.
    pub(crate) fn empty_at(&self) -> Option<usize> {
        self.0.iter().position(|input| match input {
            Input::Text(text) => text.is_empty(),
            Input::Tokens(tokens) => tokens.is_empty(),
        })
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an array of strings, an array of token ids or an array of arrays of token ids")
    }

    fn visit_str<E>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs(vec![text.into()]))
    }

    fn visit_string<E>(self, text: String) -> Result<Inputs, E> {
        Ok(Inputs(vec![text.into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inputs, A::Error> {
        match items.next_element()? {
            None => Ok(Inputs(Vec::new())),
            Some(Item::Token(first)) => Ok(Inputs(vec![tokens(first, items)?.into()])),
            Some(Item::Text(first)) => Ok(Inputs(rest(first.into(), items, Kind::Text)?)),
            Some(Item::Tokens(first)) => Ok(Inputs(rest(first.into(), items, Kind::Tokens)?)),
        }
    }
}

/// The other ids of a single list of token ids.
fn tokens<'de, A: SeqAccess<'de>>(first: u32, mut items: A) -> Result<Vec<u32>, A::Error> {
    let mut tokens = vec![first];
    while let Some(item) = items.next_element()? {
        let Item::Token(token) = item else { return Err(mixed()) };
        tokens.push(token);
    }
    Ok(tokens)
}

#[derive(PartialEq)]
enum Kind {
    Text,
    Tokens,
}

/// The other inputs of an array, which must be of the first one's kind.
fn rest<'de, A: SeqAccess<'de>>(first: Input, mut items: A, kind: Kind) -> Result<Vec<Input>, A::Error> {
    let mut inputs = vec![first];
    while let Some(item) = items.next_element()? {
        let (input, kind_here) = match item {
            Item::Text(text) => (Input::Text(text), Kind::Text),
            Item::Tokens(tokens) => (Input::Tokens(tokens), Kind::Tokens),
            Item::Token(_) => return Err(mixed()),
        };
        if kind_here != kind {
            return Err(mixed());
        }
        if inputs.len() == INPUTS_MAX {
            return Err(de::Error::custom(format_args!("more than {INPUTS_MAX} inputs: send them in several requests")));
        }
        inputs.push(input);
    }
    Ok(inputs)
}

fn mixed<E: de::Error>() -> E {
    E::custom("the inputs must be of one kind: all strings, all token ids or all arrays of token ids")
}

/// One element of the outer array.
enum Item {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id (an integer from 0 to 4294967295) or an array of token ids")
    }

    fn visit_str<E>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Item, E> {
        Ok(Item::Text(text))
    }

    fn visit_u64<E: de::Error>(self, token: u64) -> Result<Item, E> {
        let id = u32::try_from(token).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(token), &self))?;
        Ok(Item::Token(id))
    }

    fn visit_i64<E: de::Error>(self, token: i64) -> Result<Item, E> {
        Err(E::invalid_value(de::Unexpected::Signed(token), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = items.next_element()? {
            tokens.push(token);
        }
        Ok(Item::Tokens(tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Inputs, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn texts(json: &str) -> Vec<String> {
        let text = |input| match input {
            Input::Text(text) => text,
            Input::Tokens(tokens) => format!("{tokens:?}"),
        };
        parse(json).expect("fits").0.into_iter().map(text).collect()
    }

    #[test]
    fn the_four_forms_are_told_apart() {
        assert_eq!(texts(r#""a\n""#), ["a\n"]);
        assert_eq!(texts(r#"["a", "b"]"#), ["a", "b"]);
        assert_eq!(texts("[1, 2, 4294967295]"), ["[1, 2, 4294967295]"]);
        assert_eq!(texts("[[1, 2], [3]]"), ["[1, 2]", "[3]"]);
        assert!(texts("[]").is_empty());
    }

    #[test]
    fn mixed_kinds_are_refused() {
        for json in [r#"["a", 1]"#, r#"[1, "a"]"#, r#"["a", [1]]"#, r#"[[1], "a"]"#, "[[1], 2]", "[1, [2]]"] {
            assert!(parse(json).expect_err(json).contains("must be of one kind"), "{json}");
        }
    }

    #[test]
    fn what_is_neither_text_nor_token_is_refused() {
        for json in ["null", "7", "true", "{}", "[null]", "[1.5]", "[-1]", "[4294967296]", "[[-1]]", "[[\"a\"]]", "[{}]"] {
            assert!(parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn inputs_are_limited_in_number() {
        let json = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
        assert_eq!(parse(&json(INPUTS_MAX)).expect("fits").0.len(), INPUTS_MAX);
        assert!(parse(&json(INPUTS_MAX + 1)).expect_err("too many").contains("more than 2048 inputs"));
    }

    #[test]
    fn an_empty_input_is_found() {
        assert_eq!(parse(r#"["a", ""]"#).expect("fits").empty_at(), Some(1));
        assert_eq!(parse("[[1], []]").expect("fits").empty_at(), Some(1));
        assert_eq!(parse("[1]").expect("fits").empty_at(), None);
    }
}
