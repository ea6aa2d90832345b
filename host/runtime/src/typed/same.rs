//! Whether two components mean the same by a function: their types, whatever they are called, and the names in these.

use std::sync::Arc;

use super::stream::Element;
use super::types::{Kind, Named, Type};
use super::{End, Function, Outcome, Signature, Success};

impl Signature {
    /// Whether a function of another component takes and gives the same.
    pub(crate) fn is_of(&self, function: &Function) -> bool {
        let (one, other) = (&self.parameters, &function.parameters);
        let is_same =
            |(one, other): (&super::Field, &super::Field)| one.label.wit == other.label.wit && same(&one.ty, &other.ty);
        one.len() == other.len() && one.iter().zip(other.iter()).all(is_same) && outcome(&self.outcome, &function.outcome)
    }
}

fn outcome(one: &Outcome, other: &Outcome) -> bool {
    let is_failure_same = match (&one.failure, &other.failure) {
        (None, None) => true,
        (Some(one), Some(other)) => optional(one.as_deref(), other.as_deref()),
        _ => false,
    };
    let is_success_same = match (&one.success, &other.success) {
        (Success::Nothing, Success::Nothing) => true,
        (Success::Value(one), Success::Value(other)) => same(one, other),
        (Success::Stream(one), Success::Stream(other)) => {
            let is_end_same = match (&one.end, &other.end) {
                (None, None) => true,
                (Some(one), Some(other)) => end(one, other),
                _ => false,
            };
            one.element == other.element && same(&one.ty, &other.ty) && is_end_same
        }
        _ => false,
    };
    is_failure_same && is_success_same
}

fn end(one: &End, other: &End) -> bool {
    let side = |one: &Option<(Arc<Type>, Element)>, other: &Option<(Arc<Type>, Element)>| match (one, other) {
        (None, None) => true,
        (Some((one, kind)), Some((other, others))) => kind == others && same(one, other),
        _ => false,
    };
    side(&one.ok, &other.ok) && side(&one.err, &other.err)
}

/// Types unfold to no more than what a component may hold, so this ends soon.
fn same(one: &Type, other: &Type) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::List(one), Kind::List(other)) | (Kind::Option(one), Kind::Option(other)) => same(one, other),
        (Kind::Tuple(one), Kind::Tuple(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Kind::Record(one), Kind::Record(other)) => {
            named(one, other, |one, other| one.label.wit == other.label.wit && same(&one.ty, &other.ty))
        }
        (Kind::Variant(one), Kind::Variant(other)) | (Kind::Result(one), Kind::Result(other)) => {
            named(one, other, |one, other| one.label.wit == other.label.wit && optional(one.ty.as_deref(), other.ty.as_deref()))
        }
        (Kind::Enum(one), Kind::Enum(other)) | (Kind::Flags(one), Kind::Flags(other)) => {
            named(one, other, |one, other| one.wit == other.wit)
        }
        (Kind::Integer(one), Kind::Integer(other)) => one == other,
        (one, other) => one.is_plain() && std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn optional(one: Option<&Type>, other: Option<&Type>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => same(one, other),
        _ => false,
    }
}

fn named<T: super::types::Labelled>(one: &Named<T>, other: &Named<T>, is_same: impl Fn(&T, &T) -> bool) -> bool {
    one.len() == other.len() && one.iter().zip(other.iter()).all(|(one, other)| is_same(one, other))
}

impl Kind {
    /// Whether there is nothing more to say of it.
    fn is_plain(&self) -> bool {
        matches!(self, Kind::Bool | Kind::Float32 | Kind::Float64 | Kind::Char | Kind::String | Kind::Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::types::{Field, Integer, Label, result};

    fn ty(kind: Kind) -> Arc<Type> {
        Arc::new(Type::new(kind))
    }

    fn point(fields: &[&str], kind: fn() -> Kind) -> Arc<Type> {
        let field = |name: &&str| Field { label: Label::new(name, None), ty: ty(kind()) };
        ty(Kind::Record(Named::new(fields.iter().map(field).collect())))
    }

    fn colours(cases: &[&str], kind: fn(Named<Label>) -> Kind) -> Arc<Type> {
        ty(kind(Named::new(cases.iter().map(|case| Label::new(case, None)).collect())))
    }

    #[test]
    fn types_are_the_same_where_all_their_parts_and_names_are() {
        let all: [fn() -> Arc<Type>; 16] = [
            || ty(Kind::Bool),
            || ty(Kind::Integer(Integer::U8)),
            || ty(Kind::Integer(Integer::U16)),
            || ty(Kind::Float32),
            || ty(Kind::String),
            || ty(Kind::Bytes),
            || ty(Kind::List(ty(Kind::String))),
            || ty(Kind::Option(ty(Kind::String))),
            || ty(Kind::Tuple(vec![ty(Kind::String), ty(Kind::Bool)])),
            || ty(Kind::Tuple(vec![ty(Kind::String)])),
            || point(&["x", "y"], || Kind::Float32),
            || point(&["x", "z"], || Kind::Float32),
            || point(&["x", "y"], || Kind::Float64),
            || colours(&["red", "blue"], Kind::Enum),
            || colours(&["red", "blue"], Kind::Flags),
            || ty(result(Some(ty(Kind::String)), None)),
        ];
        for (one, make) in all.iter().enumerate() {
            for (other, make_other) in all.iter().enumerate() {
                assert_eq!(same(&make(), &make_other()), one == other, "{one} and {other}");
            }
        }
    }

    #[test]
    fn what_a_type_is_called_and_said_to_be_does_not_matter() {
        let plain = point(&["x"], || Kind::Bool);
        let called = Type { name: Some("geometry.point".into()), docs: Some("A point.".into()), ..Type::new(Kind::Bool) };
        let field = Field { label: Label::new("x", Some("Across.".into())), ty: Arc::new(called) };
        assert!(same(&plain, &Type::new(Kind::Record(Named::new(vec![field])))));
    }
}
