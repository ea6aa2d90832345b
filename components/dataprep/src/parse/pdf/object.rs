//! Objects of a PDF.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Null,
    Bool(bool),
    Number(f64),
    Text(Rc<[u8]>),
    Name(Rc<str>),
    List(Rc<[Object]>),
    Dict(Rc<Dict>),
    Stream(Rc<Stream>),
    /// Another object, by its number.
    Reference(u32),
}

/// Objects by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dict(pub(super) BTreeMap<Rc<str>, Object>);

/// Bytes of the file with what is said of them.
#[derive(Debug, PartialEq)]
pub(super) struct Stream {
    pub(super) dict: Dict,
    /// Where in the file they are, as they are.
    pub(super) range: Range<usize>,
    /// The object's number and generation.
    pub(super) id: (u32, u16),
}

pub(super) const NULL: Object = Object::Null;

impl Object {
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Object::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number without a fraction that is not negative.
    pub(super) fn count(&self) -> Option<u32> {
        self.number().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number)).map(|number| number as u32)
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Object::Name(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Object]> {
        match self {
            Object::List(list) => Some(list),
            _ => None,
        }
    }

    /// A dictionary, a stream's too.
    pub(super) fn dict(&self) -> Option<&Dict> {
        match self {
            Object::Dict(dict) => Some(dict),
            Object::Stream(stream) => Some(&stream.dict),
            _ => None,
        }
    }
}

impl Dict {
    /// What a name stands for, references as they are.
    pub(super) fn get(&self, name: &str) -> &Object {
        self.0.get(name).unwrap_or(&NULL)
    }

    pub(super) fn is_of_type(&self, kind: &str) -> bool {
        self.get("Type").name() == Some(kind)
    }
}
