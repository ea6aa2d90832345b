//! What a GGUF file says of its model: named values.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use crate::weights::WeightsError;

/// The longest key of the specification.
const KEY_BYTES_MAX: usize = (1 << 16) - 1;
/// A length and no bytes.
const TEXT_BYTES_MIN: usize = 8;

/// One value; widths of numbers are not kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A number of an unsigned type.
    Unsigned(u64),
    /// A number of a signed type.
    Signed(i64),
    /// A number of a floating-point type.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of numbers of any one type, or of 0 and 1 for truth values.
    Numbers(Vec<f64>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::Unsigned(_) | Value::Signed(0..) => "a whole number",
            Value::Signed(_) => "a negative number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "a truth value",
            Value::Text(_) => "a text",
            Value::Texts(_) => "a list of texts",
            Value::Numbers(_) => "a list of numbers",
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Value, String> {
        match Kind::read(cursor)? {
            Kind::Text => cursor.text().map(|text| Value::Text(text.into())),
            Kind::Array => Value::read_array(cursor),
            Kind::Number(number) => number.read(cursor),
        }
    }

    fn read_array(cursor: &mut Cursor<'_>) -> Result<Value, String> {
        match Kind::read(cursor)? {
            Kind::Array => Err("it has a nested array".into()),
            Kind::Text => {
                let count = cursor.count(TEXT_BYTES_MIN)?;
                (0..count).map(|_| cursor.text().map(str::to_owned)).collect::<Result<_, _>>().map(Value::Texts)
            }
            Kind::Number(number) => {
                let count = cursor.count(number.bytes())?;
                (0..count)
                    .map(|_| number.read(cursor).map(|value| value.as_f64()))
                    .collect::<Result<_, _>>()
                    .map(Value::Numbers)
            }
        }
    }

    /// The number that this is; 0 for what is none.
    fn as_f64(&self) -> f64 {
        match *self {
            Value::Unsigned(number) => number as f64,
            Value::Signed(number) => number as f64,
            Value::Float(number) => number,
            Value::Bool(truth) => f64::from(truth),
            Value::Text(_) | Value::Texts(_) | Value::Numbers(_) => 0.0,
        }
    }
}

/// How a value is stored.
enum Kind {
    Number(Number),
    Text,
    Array,
}

impl Kind {
    fn read(cursor: &mut Cursor<'_>) -> Result<Kind, String> {
        Ok(match cursor.u32()? {
            0 => Kind::Number(Number::U8),
            1 => Kind::Number(Number::I8),
            2 => Kind::Number(Number::U16),
            3 => Kind::Number(Number::I16),
            4 => Kind::Number(Number::U32),
            5 => Kind::Number(Number::I32),
            6 => Kind::Number(Number::F32),
            7 => Kind::Number(Number::Bool),
            8 => Kind::Text,
            9 => Kind::Array,
            10 => Kind::Number(Number::U64),
            11 => Kind::Number(Number::I64),
            12 => Kind::Number(Number::F64),
            other => return Err(format!("it has a value of the unknown type {other}")),
        })
    }
}

/// The types of one size.
#[derive(Clone, Copy)]
enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
}

impl Number {
    fn bytes(self) -> usize {
        match self {
            Number::U8 | Number::I8 | Number::Bool => 1,
            Number::U16 | Number::I16 => 2,
            Number::U32 | Number::I32 | Number::F32 => 4,
            Number::U64 | Number::I64 | Number::F64 => 8,
        }
    }

    fn read(self, cursor: &mut Cursor<'_>) -> Result<Value, String> {
        Ok(match self {
            Number::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array()?).into()),
            Number::I8 => Value::Signed(i8::from_le_bytes(cursor.array()?).into()),
            Number::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array()?).into()),
            Number::I16 => Value::Signed(i16::from_le_bytes(cursor.array()?).into()),
            Number::U32 => Value::Unsigned(cursor.u32()?.into()),
            Number::I32 => Value::Signed(i32::from_le_bytes(cursor.array()?).into()),
            Number::U64 => Value::Unsigned(u64::from_le_bytes(cursor.array()?)),
            Number::I64 => Value::Signed(i64::from_le_bytes(cursor.array()?)),
            Number::F32 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
            Number::F64 => Value::Float(f64::from_le_bytes(cursor.array()?)),
            Number::Bool => Value::Bool(cursor.array::<1>()? != [0]),
        })
    }
}

/// All values of a file, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Metadata, String> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.text()?;
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(format!("it has a key of {} bytes", key.len()));
            }
            let value = Value::read(cursor).map_err(|reason| format!("key `{key}`: {reason}"))?;
            if values.insert(key.to_owned(), value).is_some() {
                return Err(format!("key `{key}` is there twice"));
            }
        }
        Ok(Metadata(values))
    }

    /// Whether there is a value of this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A text.
    ///
    /// # Errors
    /// When it is missing or of another kind; the text names the key. So do the following.
    pub(crate) fn text(&self, key: &str) -> Result<&str, WeightsError> {
        self.find(key, "a text", |value| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// A whole number from 0, of a signed type too.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn unsigned(&self, key: &str) -> Result<u64, WeightsError> {
        self.find(key, "a whole number from 0", |value| match *value {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        })
    }

    /// A number.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn float(&self, key: &str) -> Result<f64, WeightsError> {
        self.find(key, "a number", |value| match value {
            Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => Some(value.as_f64()),
            _ => None,
        })
    }

    /// A truth value.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn bool(&self, key: &str) -> Result<bool, WeightsError> {
        self.find(key, "a truth value", |value| if let Value::Bool(truth) = value { Some(*truth) } else { None })
    }

    /// A list of texts.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn texts(&self, key: &str) -> Result<&[String], WeightsError> {
        self.find(key, "a list of texts", |value| if let Value::Texts(texts) = value { Some(texts.as_slice()) } else { None })
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn numbers(&self, key: &str) -> Result<&[f64], WeightsError> {
        self.find(key, "a list of numbers", |value| if let Value::Numbers(list) = value { Some(list.as_slice()) } else { None })
    }

    fn find<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<T, WeightsError> {
        let value = self.0.get(key);
        let wrong = || WeightsError::Key { key: key.into(), expected, found: value.map_or("missing", Value::kind) };
        value.and_then(read).ok_or_else(wrong)
    }
}

impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Metadata(values.into_iter().collect())
    }
}
