//! The types of WIT as values of JSON meet them: without aliases, and with the names and words that their authors gave them.

use std::collections::HashMap;
use std::sync::Arc;

/// A type. Parts are shared, as they are in WIT: it is a tree only when it is unfolded.
#[derive(Debug, PartialEq)]
pub(crate) struct Type {
    /// Its name, where the author gave it one: `ops.point`.
    pub(crate) name: Option<String>,
    /// What the author says of it.
    pub(crate) docs: Option<String>,
    /// What it is made of.
    pub(crate) kind: Kind,
    /// Levels of types, itself included.
    pub(crate) depth: usize,
    /// Types that it unfolds to, where each named one counts as one.
    pub(crate) size: usize,
    /// Whether there are floats in it, which JSON knows not all of.
    pub(crate) has_floats: bool,
}

/// What a type is made of.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    /// `bool`.
    Bool,
    /// `u8` to `s64`.
    Integer(Integer),
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// `char`.
    Char,
    /// `string`.
    String,
    /// `list<u8>`.
    Bytes,
    /// Any other `list`.
    List(Arc<Type>),
    /// `tuple`.
    Tuple(Vec<Arc<Type>>),
    /// `record`.
    Record(Named<Field>),
    /// `variant`.
    Variant(Named<Case>),
    /// `enum`.
    Enum(Named<Label>),
    /// `flags`.
    Flags(Named<Label>),
    /// `option`.
    Option(Arc<Type>),
    /// `result`, as the two cases `ok` and `err`.
    Result(Named<Case>),
}

/// A whole number's width and sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    /// 8 bits, with a sign.
    S8,
    /// 8 bits.
    U8,
    /// 16 bits, with a sign.
    S16,
    /// 16 bits.
    U16,
    /// 32 bits, with a sign.
    S32,
    /// 32 bits.
    U32,
    /// 64 bits, with a sign.
    S64,
    /// 64 bits.
    U64,
}

impl Integer {
    /// As WIT calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Integer::S8 => "s8",
            Integer::U8 => "u8",
            Integer::S16 => "s16",
            Integer::U16 => "u16",
            Integer::S32 => "s32",
            Integer::U32 => "u32",
            Integer::S64 => "s64",
            Integer::U64 => "u64",
        }
    }

    /// The least and the greatest.
    pub(crate) fn range(self) -> (i128, i128) {
        match self {
            Integer::S8 => (i8::MIN.into(), i8::MAX.into()),
            Integer::U8 => (0, u8::MAX.into()),
            Integer::S16 => (i16::MIN.into(), i16::MAX.into()),
            Integer::U16 => (0, u16::MAX.into()),
            Integer::S32 => (i32::MIN.into(), i32::MAX.into()),
            Integer::U32 => (0, u32::MAX.into()),
            Integer::S64 => (i64::MIN.into(), i64::MAX.into()),
            Integer::U64 => (0, u64::MAX.into()),
        }
    }
}

/// A name as WIT and as JSON write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// In WIT: `retry-after`.
    pub(crate) wit: String,
    /// In JSON: `retry_after`.
    pub(crate) json: String,
    /// What the author says of it.
    pub(crate) docs: Option<String>,
}

impl Label {
    /// A name of WIT.
    pub(crate) fn new(wit: &str, docs: Option<String>) -> Label {
        Label { wit: wit.into(), json: wit.replace('-', "_"), docs }
    }
}

/// A field of a record, or a parameter of a function.
#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) label: Label,
    /// Its type.
    pub(crate) ty: Arc<Type>,
}

/// A case of a variant.
#[derive(Debug, PartialEq)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) label: Label,
    /// What it carries, if anything.
    pub(crate) ty: Option<Arc<Type>>,
}

/// What has a name.
pub(crate) trait Labelled {
    /// The name.
    fn label(&self) -> &Label;
}

impl Labelled for Label {
    fn label(&self) -> &Label {
        self
    }
}

impl Labelled for Field {
    fn label(&self) -> &Label {
        &self.label
    }
}

impl Labelled for Case {
    fn label(&self) -> &Label {
        &self.label
    }
}

/// Items that are found by their names, in WIT's spelling and in JSON's.
#[derive(Debug, PartialEq)]
pub(crate) struct Named<T> {
    items: Vec<T>,
    places: HashMap<String, usize>,
}

impl<T: Labelled> Named<T> {
    /// These items in this order.
    pub(crate) fn new(items: Vec<T>) -> Named<T> {
        let mut places = HashMap::new();
        for (place, item) in items.iter().enumerate() {
            places.insert(item.label().wit.clone(), place);
            places.insert(item.label().json.clone(), place);
        }
        Named { items, places }
    }

    /// The item of a name, and its place.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &T)> {
        let place = *self.places.get(name)?;
        Some((place, self.items.get(place)?))
    }

    /// The items in their order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Their names as JSON writes them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.label().json.as_str())
    }
}

impl Type {
    /// A type without a name.
    pub(crate) fn new(kind: Kind) -> Type {
        let parts = kind.parts();
        let depth = parts.iter().map(|part| part.depth).max().unwrap_or(0).saturating_add(1);
        let folded = |part: &&Arc<Type>| if part.name.is_some() { 1 } else { part.size };
        let size = parts.iter().map(folded).fold(kind.labels().saturating_add(1), usize::saturating_add);
        let has_floats = matches!(kind, Kind::Float32 | Kind::Float64) || parts.iter().any(|part| part.has_floats);
        Type { name: None, docs: None, kind, depth, size, has_floats }
    }

    /// What it is, for people: `u32`, `a string`.
    pub(crate) fn expected(&self) -> String {
        let said = match &self.kind {
            Kind::Bool => "true or false",
            Kind::Integer(integer) => {
                let (least, greatest) = integer.range();
                return format!("a whole number from {least} to {greatest} ({})", integer.name());
            }
            Kind::Float32 => "a number (f32)",
            Kind::Float64 => "a number (f64)",
            Kind::Char => "a string of one character",
            Kind::String => "a string",
            Kind::Bytes => "bytes as a string in base64",
            Kind::List(_) => "a list",
            Kind::Tuple(parts) => return format!("a list of {} items", parts.len()),
            Kind::Record(_) => "an object",
            Kind::Variant(cases) => return format!("one of the cases {}", listed(cases.names())),
            Kind::Enum(cases) => return format!("one of {}", listed(cases.names())),
            Kind::Flags(flags) => return format!("a list with any of {}", listed(flags.names())),
            Kind::Option(inner) if matches!(inner.kind, Kind::Option(_)) => "null or an object with the key `some`",
            Kind::Option(inner) => return format!("null or {}", inner.expected()),
            Kind::Result(_) => "an object with the key `ok` or `err`",
        };
        said.into()
    }
}

/// Names that are told at most.
const LISTED_MAX: usize = 12;

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<String> = names.take(LISTED_MAX + 1).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED_MAX {
        names.truncate(LISTED_MAX);
        names.push("…".into());
    }
    names.join(", ")
}

impl Kind {
    /// The types in it.
    pub(crate) fn parts(&self) -> Vec<&Arc<Type>> {
        match self {
            Kind::List(inner) | Kind::Option(inner) => vec![inner],
            Kind::Tuple(parts) => parts.iter().collect(),
            Kind::Record(fields) => fields.iter().map(|field| &field.ty).collect(),
            Kind::Variant(cases) | Kind::Result(cases) => cases.iter().filter_map(|case| case.ty.as_ref()).collect(),
            _ => Vec::new(),
        }
    }

    fn labels(&self) -> usize {
        match self {
            Kind::Record(fields) => fields.len(),
            Kind::Variant(cases) | Kind::Result(cases) => cases.len(),
            Kind::Enum(labels) | Kind::Flags(labels) => labels.len(),
            _ => 0,
        }
    }
}

/// The two cases of a `result`.
pub(crate) fn result(ok: Option<Arc<Type>>, err: Option<Arc<Type>>) -> Kind {
    let case = |name, ty| Case { label: Label::new(name, None), ty };
    Kind::Result(Named::new(vec![case("ok", ok), case("err", err)]))
}
