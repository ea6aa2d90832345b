//! Values of WIT to JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use wasmtime::component::Val;

use super::types::{Case, Kind, Named, Type};

/// A value on its way out, with its type.
pub(crate) struct Written<'v>(pub(crate) &'v Type, pub(crate) &'v Val);

/// A value as JSON.
pub(crate) fn text(ty: &Type, value: &Val) -> Vec<u8> {
    serde_json::to_vec(&Written(ty, value)).unwrap_or_default() // nothing in it can fail
}

/// A value as JSON to be put into other JSON.
pub(crate) fn json(ty: &Type, value: &Val) -> Json {
    serde_json::to_value(Written(ty, value)).unwrap_or_default() // nothing in it can fail
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Written(ty, value) = *self;
        match (&ty.kind, value) {
            (_, Val::Bool(value)) => to.serialize_bool(*value),
            (_, Val::S8(value)) => to.serialize_i8(*value),
            (_, Val::U8(value)) => to.serialize_u8(*value),
            (_, Val::S16(value)) => to.serialize_i16(*value),
            (_, Val::U16(value)) => to.serialize_u16(*value),
            (_, Val::S32(value)) => to.serialize_i32(*value),
            (_, Val::U32(value)) => to.serialize_u32(*value),
            (_, Val::S64(value)) => to.serialize_i64(*value),
            (_, Val::U64(value)) => to.serialize_u64(*value),
            (_, Val::Float32(value)) if value.is_finite() => to.serialize_f32(*value),
            (_, Val::Float32(value)) => to.serialize_str(unwritable(f64::from(*value))),
            (_, Val::Float64(value)) if value.is_finite() => to.serialize_f64(*value),
            (_, Val::Float64(value)) => to.serialize_str(unwritable(*value)),
            (_, Val::Char(value)) => to.serialize_char(*value),
            (_, Val::String(value)) => to.serialize_str(value),
            (Kind::Bytes, Val::List(values)) => to.serialize_str(&BASE64_STANDARD.encode(bytes(values))),
            (Kind::List(ty), Val::List(values)) => to.collect_seq(values.iter().map(|value| Written(ty, value))),
            (Kind::Tuple(types), Val::Tuple(values)) => {
                to.collect_seq(types.iter().zip(values).map(|(ty, value)| Written(ty, value)))
            }
            (Kind::Record(fields), Val::Record(values)) => {
                let entries = fields.iter().zip(values);
                to.collect_map(entries.map(|(field, (_, value))| (&field.label.json, Written(&field.ty, value))))
            }
            (Kind::Variant(cases), Val::Variant(name, payload)) => write_case(to, cases, name, payload.as_deref(), true),
            (Kind::Result(cases), Val::Result(Ok(payload))) => write_case(to, cases, "ok", payload.as_deref(), false),
            (Kind::Result(cases), Val::Result(Err(payload))) => write_case(to, cases, "err", payload.as_deref(), false),
            (_, Val::Enum(name)) => to.serialize_str(&name.replace('-', "_")),
            (_, Val::Flags(names)) => to.collect_seq(names.iter().map(|name| name.replace('-', "_"))),
            (Kind::Option(ty), Val::Option(Some(value))) if matches!(ty.kind, Kind::Option(_)) => {
                to.collect_map([("some", Written(ty, value))])
            }
            (Kind::Option(ty), Val::Option(Some(value))) => Written(ty, value).serialize(to),
            _ => to.serialize_unit(), // an option's nothing, and what no exposed type has
        }
    }
}

/// A case with its value; without one its name alone, where that may stand alone.
fn write_case<S: Serializer>(
    to: S,
    cases: &Named<Case>,
    name: &str,
    payload: Option<&Val>,
    may_stand_alone: bool,
) -> Result<S::Ok, S::Error> {
    let ty = cases.find(name).and_then(|(_, case)| case.ty.as_deref());
    let name = name.replace('-', "_");
    match ty.zip(payload) {
        Some((ty, value)) => to.collect_map([(name, Written(ty, value))]),
        None if may_stand_alone => to.serialize_str(&name),
        None => to.collect_map([(name, ())]),
    }
}

fn bytes(values: &[Val]) -> Vec<u8> {
    values.iter().map(|value| if let Val::U8(byte) = value { *byte } else { 0 }).collect()
}

/// Floats that JSON has no numbers for.
fn unwritable(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}
