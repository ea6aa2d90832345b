//! Types of WIT as JSON Schema 2020-12: what is taken, and what is answered.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::types::{Case, FLOAT32_MAX, Field, Kind, Label, Labelled, Named, Type};

/// Base64 with its padding.
const BASE64_PATTERN: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

/// Bytes of a part of a schema beside its names and texts, about.
const PART_BYTES: usize = 128;

/// Which way a value goes: floats that are no numbers are answered and not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a client.
    In,
    /// To a client.
    Out,
}

/// Writes schemas, and keeps those of types with names to be referred to.
pub(crate) struct Schemas {
    /// What stands before a name in a reference: `#/$defs/`.
    place: String,
    /// What stands before a name in the keys of the kept.
    prefix: String,
    /// The kept, by key.
    kept: BTreeMap<String, Value>,
    /// Bytes that more schemas may have, about.
    left: usize,
}

impl Schemas {
    /// Schemas that are referred to at a place, under keys with a prefix.
    pub(crate) fn at(place: &str, prefix: &str) -> Schemas {
        Schemas { place: place.into(), prefix: prefix.into(), kept: BTreeMap::new(), left: usize::MAX }
    }

    /// The same of so many bytes at most, about.
    pub(crate) fn within(self, bytes_max: usize) -> Schemas {
        Schemas { left: bytes_max, ..self }
    }

    /// Bytes that more schemas may have, about; none where something is left out.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// What is kept.
    pub(crate) fn kept(self) -> BTreeMap<String, Value> {
        self.kept
    }

    /// The schema of a type; of one with a name it is a reference.
    pub(crate) fn of(&mut self, ty: &Type, way: Way) -> Value {
        let Some(name) = &ty.name else { return self.whole(ty, way) };
        let suffix = if way == Way::Out && ty.has_floats { ".answer" } else { "" };
        let key = format!("{}{name}{suffix}", self.prefix);
        if !self.kept.contains_key(&key) {
            self.kept.insert(key.clone(), Value::Null); // no type holds itself; this only keeps the order of the work
            let schema = self.whole(ty, way);
            self.kept.insert(key.clone(), schema);
        }
        json!({"$ref": format!("{}{key}", self.place)})
    }

    /// The schema of all arguments.
    pub(crate) fn of_arguments(&mut self, parameters: &Named<Field>) -> Value {
        self.object(parameters, Way::In)
    }

    /// Counts what a type's own part of a schema takes, about; false where that is too much.
    fn has_room(&mut self, ty: &Type) -> bool {
        let said = |label: &Label| label.json.len() + label.docs.as_ref().map_or(0, String::len) + PART_BYTES;
        let labels: usize = match &ty.kind {
            Kind::Record(fields) => fields.iter().map(Labelled::label).map(said).sum(),
            Kind::Variant(cases) | Kind::Result(cases) => cases.iter().map(Labelled::label).map(said).sum(),
            Kind::Enum(labels) | Kind::Flags(labels) => labels.iter().map(Labelled::label).map(said).sum(),
            _ => 0,
        };
        self.left = self.left.saturating_sub(labels + ty.docs.as_ref().map_or(0, |docs| docs.len()) + PART_BYTES);
        self.left > 0
    }

    fn whole(&mut self, ty: &Type, way: Way) -> Value {
        if !self.has_room(ty) {
            return Value::Bool(true);
        }
        let mut schema = self.structure(ty, way);
        let labels = match &ty.kind {
            Kind::Enum(labels) | Kind::Flags(labels) => words(labels),
            _ => None,
        };
        let docs: Vec<&str> = [ty.docs.as_deref(), labels.as_deref()].into_iter().flatten().collect();
        describe(&mut schema, &docs.join("\n\n"));
        schema
    }

    fn structure(&mut self, ty: &Type, way: Way) -> Value {
        match &ty.kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Integer(integer) => {
                let (least, greatest) = integer.range();
                let number = |limit: i128| u64::try_from(limit).map_or_else(|_| json!(i64::try_from(limit).ok()), Value::from);
                json!({"type": "integer", "minimum": number(least), "maximum": number(greatest)})
            }
            Kind::Float32 => float(json!({"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}), way),
            Kind::Float64 => float(json!({"type": "number"}), way),
            Kind::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => {
                json!({"type": "string", "format": "byte", "contentEncoding": "base64", "pattern": BASE64_PATTERN})
            }
            Kind::List(inner) => json!({"type": "array", "items": self.of(inner, way)}),
            Kind::Tuple(types) => {
                let items: Vec<Value> = types.iter().map(|ty| self.of(ty, way)).collect();
                json!({
                    "type": "array", "minItems": items.len(), "maxItems": items.len(), "prefixItems": items, "items": false,
                })
            }
            Kind::Record(fields) => self.object(fields, way),
            Kind::Variant(cases) => json!({"oneOf": self.cases(cases, way, true)}),
            Kind::Result(cases) => json!({"oneOf": self.cases(cases, way, false)}),
            Kind::Enum(labels) => json!({"type": "string", "enum": labels.names().collect::<Vec<_>>()}),
            Kind::Flags(labels) => json!({
                "type": "array", "uniqueItems": true, "items": {"type": "string", "enum": labels.names().collect::<Vec<_>>()},
            }),
            Kind::Option(inner) => {
                let schema = self.of(inner, way);
                let schema = match inner.kind {
                    Kind::Option(_) => closed(&json!({"some": schema}), &["some"]),
                    _ => schema,
                };
                json!({"anyOf": [schema, {"type": "null"}]})
            }
        }
    }

    fn object(&mut self, fields: &Named<Field>, way: Way) -> Value {
        let mut properties = Map::new();
        for Field { label, ty } in fields.iter() {
            let mut schema = self.of(ty, way);
            describe(&mut schema, label.docs.as_deref().unwrap_or_default());
            properties.insert(label.json.clone(), schema);
        }
        let is_needed = |field: &&Field| !matches!(field.ty.kind, Kind::Option(_));
        let required: Vec<&str> = fields.iter().filter(is_needed).map(|field| field.label.json.as_str()).collect();
        closed(&Value::Object(properties), &required)
    }

    fn cases(&mut self, cases: &Named<Case>, way: Way, may_stand_alone: bool) -> Vec<Value> {
        let mut schemas = Vec::new();
        for Case { label, ty } in cases.iter() {
            let name = label.json.as_str();
            let mut schema = match ty {
                Some(ty) => closed(&json!({name: self.of(ty, way)}), &[name]),
                None if may_stand_alone => json!({"const": name}),
                None => closed(&json!({name: {"type": "null"}}), &[name]),
            };
            describe(&mut schema, label.docs.as_deref().unwrap_or_default());
            schemas.push(schema);
        }
        schemas
    }
}

/// An object with no other keys.
fn closed(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A float that is answered may be none of JSON's numbers.
fn float(number: Value, way: Way) -> Value {
    match way {
        Way::In => number,
        Way::Out => json!({"anyOf": [number, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}),
    }
}

/// What is said of the names of an enum or of flags.
fn words(labels: &Named<Label>) -> Option<String> {
    let said = |label: &Label| Some(format!("- `{}`: {}", label.json, label.docs.as_deref()?));
    let lines: Vec<String> = labels.iter().map(Labelled::label).filter_map(said).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn describe(schema: &mut Value, docs: &str) {
    if !docs.is_empty() {
        schema["description"] = docs.into();
    }
}
