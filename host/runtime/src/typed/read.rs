//! JSON to values of WIT. What a client sends is read by the types alone, so that it takes no more memory than they say and is never
//! nested deeper than they are; whatever does not fit is told with its place.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::types::{Case, FLOAT32_MAX, Field, Integer, Kind, Named, Type};

/// Memory that the values of one request may take, in bytes: a short text may stand for many of them.
const VALUE_BYTES_MAX: usize = 128 << 20;
/// What is told of a name that a client sent, in characters.
const TOLD_CHARS_MAX: usize = 64;
/// What is told of a problem, in characters.
const PROBLEM_CHARS_MAX: usize = 256;
/// Whole numbers up to this are exact as floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Base64 as RFC 4648 has it, with its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is not what a function takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct Mismatch {
    /// Where it is, as `$.points[3].x`.
    pub(crate) path: String,
    /// What was expected there, and what was found.
    pub(crate) problem: String,
}

/// Reads the arguments of a function: one object with a key for each parameter. Nothing at all is an empty object.
///
/// # Errors
/// When the text is no JSON, or does not fit.
pub(crate) fn arguments(parameters: &Named<Field>, text: &[u8]) -> Result<Vec<Val>, Mismatch> {
    let text = if text.iter().all(u8::is_ascii_whitespace) { b"{}" } else { text };
    let mut reader = Reader::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = Object { reader: &mut reader, fields: parameters }.deserialize(&mut json);
    match read.and_then(|values| json.end().map(|()| values)) {
        Ok(values) => Ok(values.into_iter().map(|(_, value)| value).collect()),
        Err(error) => Err(reader.mismatch(&error)),
    }
}

/// Where the reading is.
#[derive(Default)]
struct Reader {
    path: Vec<Step>,
    problem: Option<String>,
    bytes: usize,
}

enum Step {
    Key(String),
    Item(usize),
}

impl Reader {
    /// The place and the problem; what the parser says where the problem is none of ours.
    fn mismatch(self, error: &serde_json::Error) -> Mismatch {
        let mut path = String::from("$");
        for step in &self.path {
            let _ = match step {
                Step::Item(place) => write!(path, "[{place}]"),
                Step::Key(key) if is_plain(key) => write!(path, ".{key}"),
                Step::Key(key) => write!(path, "[{:?}]", told(key)),
            };
        }
        let problem = self.problem.unwrap_or_else(|| match error.is_data() {
            true => error.to_string().chars().take(PROBLEM_CHARS_MAX).collect(),
            false => format!("this is no JSON: {error}"),
        });
        Mismatch { path, problem }
    }

    fn fail<E: Error>(&mut self, problem: String) -> E {
        self.problem.get_or_insert(problem);
        E::custom("")
    }

    fn expected<E: Error>(&mut self, ty: &Type, found: &str) -> E {
        self.fail(format!("expected {}, found {found}", ty.expected()))
    }

    /// Counts values before they are made.
    fn take<E: Error>(&mut self, values: usize) -> Result<(), E> {
        self.bytes = self.bytes.saturating_add(values.saturating_mul(size_of::<Val>()));
        match self.bytes > VALUE_BYTES_MAX {
            true => Err(self.fail(format!("up to here the values take more than {VALUE_BYTES_MAX} bytes: send less at once"))),
            false => Ok(()),
        }
    }
}

fn is_plain(key: &str) -> bool {
    key.len() <= TOLD_CHARS_MAX && !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn told(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}

/// A value that is to come.
struct Value<'r, 't> {
    reader: &'r mut Reader,
    ty: &'t Type,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Val, D::Error> {
        self.reader.take(1)?;
        match &self.ty.kind {
            Kind::Option(_) => json.deserialize_option(self),
            Kind::Integer(integer) => self.integer(*integer, <&RawValue>::deserialize(json)?.get()),
            Kind::Float32 | Kind::Float64 => self.float(<&RawValue>::deserialize(json)?.get()),
            _ => json.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ty.expected())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Val, E> {
        match self.ty.kind {
            Kind::Bool => Ok(Val::Bool(value)),
            _ => Err(self.reader.expected(self.ty, if value { "true" } else { "false" })),
        }
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<Val, E> {
        Err(self.reader.expected(self.ty, "a number"))
    }

    fn visit_u64<E: Error>(self, _value: u64) -> Result<Val, E> {
        Err(self.reader.expected(self.ty, "a number"))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Val, E> {
        Err(self.reader.expected(self.ty, "a number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        let Value { reader, ty } = self;
        match &ty.kind {
            Kind::String => Ok(Val::String(text.into())),
            Kind::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(one), None) => Ok(Val::Char(one)),
                    (None, _) => Err(reader.expected(ty, "an empty string")),
                    _ => Err(reader.expected(ty, "a longer string")),
                }
            }
            Kind::Bytes => {
                reader.take(text.len() / 4 * 3)?;
                let bytes = BASE64.decode(text).map_err(|error| reader.expected(ty, &format!("other text: {error}")))?;
                Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
            }
            Kind::Enum(cases) => match cases.find(text) {
                Some((_, case)) => Ok(Val::Enum(case.wit.clone())),
                None => Err(reader.expected(ty, &format!("`{}`", told(text)))),
            },
            Kind::Variant(cases) | Kind::Result(cases) => match cases.find(text) {
                Some((_, case)) if case.ty.is_none() => Ok(chosen(&ty.kind, case, None)),
                Some(_) => {
                    Err(reader.fail(format!("expected an object with the key `{0}`, as `{0}` carries a value", told(text))))
                }
                None => Err(reader.expected(ty, &format!("`{}`", told(text)))),
            },
            _ => Err(reader.expected(ty, "a string")),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Val, E> {
        Err(self.reader.expected(self.ty, "null"))
    }

    fn visit_none<E: Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Val, D::Error> {
        let Kind::Option(inner) = &self.ty.kind else { return Err(self.reader.expected(self.ty, "another value")) };
        let value = match inner.kind {
            Kind::Option(_) => json.deserialize_any(Inner { reader: self.reader, outer: self.ty, inner })?,
            _ => Value { reader: self.reader, ty: inner }.deserialize(json)?,
        };
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Val, A::Error> {
        match &self.ty.kind {
            Kind::List(ty) => self.list(ty, items),
            Kind::Tuple(types) => self.tuple(types, items),
            Kind::Flags(_) => self.flags(items),
            _ => Err(self.reader.expected(self.ty, "a list")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        let Value { reader, ty } = self;
        match &ty.kind {
            Kind::Record(fields) => Ok(Val::Record(Object { reader, fields }.visit_map(entries)?)),
            Kind::Variant(cases) | Kind::Result(cases) => {
                let Some(name) = entries.next_key::<String>()? else { return Err(reader.expected(ty, "an empty object")) };
                let Some((_, case)) = cases.find(&name) else {
                    return Err(reader.expected(ty, &format!("`{}`", told(&name))));
                };
                reader.path.push(Step::Key(name));
                let payload = match &case.ty {
                    Some(ty) => Some(entries.next_value_seed(Value { reader: &mut *reader, ty })?),
                    None if entries.next_value::<Option<IgnoredAny>>()?.is_some() => {
                        return Err(reader.fail("expected null: this case carries no value".into()));
                    }
                    None => None,
                };
                reader.path.pop();
                match entries.next_key::<IgnoredAny>()? {
                    None => Ok(chosen(&ty.kind, case, payload)),
                    Some(_) => Err(reader.expected(ty, "several keys")),
                }
            }
            _ => Err(reader.expected(ty, "an object")),
        }
    }
}

impl Value<'_, '_> {
    /// A whole number from its text, which may have a fraction of nothing; of the widest ones also from a string.
    fn integer<E: Error>(self, integer: Integer, text: &str) -> Result<Val, E> {
        let is_wide = matches!(integer, Integer::U64 | Integer::S64);
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.starts_with('+'));
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and exact")]
        let whole = |value: &f64| (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(*value as i128);
        let number = match quoted {
            Some(digits) => digits.parse::<i128>().ok().filter(|_| is_wide),
            None => text.parse::<i128>().ok().or_else(|| text.parse().ok().as_ref().and_then(whole)),
        };
        let value = number.and_then(|number| integer_of(integer, number));
        value.ok_or_else(|| self.reader.expected(self.ty, &found(text)))
    }

    /// A float from its text: the parser's own is not always the nearest one.
    fn float<E: Error>(self, text: &str) -> Result<Val, E> {
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let exact = text.parse().ok().filter(|value: &f64| is_number && value.is_finite());
        let value = match self.ty.kind {
            // Read by itself: rounded twice it may be another one.
            Kind::Float32 => exact.filter(|value| value.abs() <= FLOAT32_MAX).and_then(|_| text.parse().ok()).map(Val::Float32),
            _ => exact.map(Val::Float64),
        };
        value.ok_or_else(|| self.reader.expected(self.ty, &found(text)))
    }

    fn list<'de, A: SeqAccess<'de>>(self, ty: &Type, mut items: A) -> Result<Val, A::Error> {
        let mut values = Vec::new();
        loop {
            self.reader.path.push(Step::Item(values.len()));
            let Some(value) = items.next_element_seed(Value { reader: &mut *self.reader, ty })? else { break };
            self.reader.path.pop();
            values.push(value);
        }
        self.reader.path.pop();
        Ok(Val::List(values))
    }

    fn tuple<'de, A: SeqAccess<'de>>(self, types: &[std::sync::Arc<Type>], mut items: A) -> Result<Val, A::Error> {
        let mut values = Vec::new();
        for ty in types {
            self.reader.path.push(Step::Item(values.len()));
            let value = items.next_element_seed(Value { reader: &mut *self.reader, ty })?;
            self.reader.path.pop();
            let Some(value) = value else {
                return Err(self.reader.expected(self.ty, &format!("one of {}", values.len())));
            };
            values.push(value);
        }
        match items.next_element::<IgnoredAny>()? {
            None => Ok(Val::Tuple(values)),
            Some(_) => Err(self.reader.expected(self.ty, "a longer one")),
        }
    }

    fn flags<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        let Value { reader, ty } = self;
        let Kind::Flags(labels) = &ty.kind else { return Err(reader.expected(ty, "a list")) };
        let mut is_set = vec![false; labels.len()];
        let mut at = 0;
        loop {
            reader.path.push(Step::Item(at));
            let Some(name) = items.next_element::<String>()? else { break };
            let Some((place, _)) = labels.find(&name) else {
                return Err(reader.expected(ty, &format!("`{}`", told(&name))));
            };
            if std::mem::replace(&mut is_set[place], true) {
                return Err(reader.fail(format!("`{}` stands there twice", told(&name))));
            }
            reader.path.pop();
            at += 1;
        }
        reader.path.pop();
        let set = labels.iter().zip(is_set).filter(|(_, is_set)| *is_set);
        Ok(Val::Flags(set.map(|(label, _)| label.wit.clone()).collect()))
    }
}

/// What a text of JSON is, where no text of a client is repeated.
fn found(text: &str) -> String {
    match text.as_bytes().first() {
        Some(b'"') => "a string".into(),
        Some(b'[') => "a list".into(),
        Some(b'{') => "an object".into(),
        _ => told(text),
    }
}

fn chosen(kind: &Kind, case: &Case, payload: Option<Val>) -> Val {
    let payload = payload.map(Box::new);
    match kind {
        Kind::Result(_) if case.label.wit == "ok" => Val::Result(Ok(payload)),
        Kind::Result(_) => Val::Result(Err(payload)),
        _ => Val::Variant(case.label.wit.clone(), payload),
    }
}

fn integer_of(integer: Integer, value: i128) -> Option<Val> {
    Some(match integer {
        Integer::S8 => Val::S8(value.try_into().ok()?),
        Integer::U8 => Val::U8(value.try_into().ok()?),
        Integer::S16 => Val::S16(value.try_into().ok()?),
        Integer::U16 => Val::U16(value.try_into().ok()?),
        Integer::S32 => Val::S32(value.try_into().ok()?),
        Integer::U32 => Val::U32(value.try_into().ok()?),
        Integer::S64 => Val::S64(value.try_into().ok()?),
        Integer::U64 => Val::U64(value.try_into().ok()?),
    })
}

/// An object with known keys: a record, or all arguments.
struct Object<'r, 't> {
    reader: &'r mut Reader,
    fields: &'t Named<Field>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = Vec<(String, Val)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        // Of the arguments only: a record's own value is visited before.
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = Vec<(String, Val)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys that are described")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let Object { reader, fields } = self;
        let names: usize = fields.iter().map(|field| size_of::<String>() + field.label.wit.len()).sum();
        reader.take(fields.len() + names / size_of::<Val>())?;
        let mut found: Vec<Option<Val>> = fields.iter().map(|_| None).collect();
        while let Some(name) = entries.next_key::<String>()? {
            let known = fields.find(&name);
            reader.path.push(Step::Key(name));
            let Some((place, field)) = known else {
                let names: Vec<&str> = fields.names().take(12).collect();
                return Err(reader.fail(format!("this key is not known; there are [{}]", names.join(", "))));
            };
            if found[place].is_some() {
                return Err(reader.fail("this key stands there twice".into()));
            }
            found[place] = Some(entries.next_value_seed(Value { reader: &mut *reader, ty: &field.ty })?);
            reader.path.pop();
        }
        let mut values = Vec::with_capacity(fields.len());
        for (field, value) in fields.iter().zip(found) {
            let value = match (value, &field.ty.kind) {
                (Some(value), _) => value,
                (None, Kind::Option(_)) => Val::Option(None),
                (None, _) => {
                    reader.path.push(Step::Key(field.label.json.clone()));
                    return Err(reader.fail(format!("is missing: expected {}", field.ty.expected())));
                }
            };
            values.push((field.label.wit.clone(), value));
        }
        Ok(values)
    }
}

/// The inside of an option within an option: `{"some": …}`.
struct Inner<'r, 't> {
    reader: &'r mut Reader,
    outer: &'t Type,
    inner: &'t Type,
}

impl<'de> Visitor<'de> for Inner<'_, '_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key `some`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        let Inner { reader, outer, inner } = self;
        if entries.next_key::<String>()?.as_deref() != Some("some") {
            return Err(reader.expected(outer, "another object"));
        }
        reader.path.push(Step::Key("some".into()));
        let value = entries.next_value_seed(Value { reader: &mut *reader, ty: inner })?;
        reader.path.pop();
        match entries.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(reader.expected(outer, "several keys")),
        }
    }
}
