//! Why a component could not be called, and how a function's error says so: the caller goes on, whatever became of the callee.

use std::sync::Arc;

use wasmtime::component::Val;

use crate::instance::Fault;
use crate::typed::types::{Kind, Type};

/// Why a component gave no answer to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No request is served.
    #[error("a component can be called only while a request is served")]
    Outside,
    /// The policy or the caller of the request doesn't allow it.
    #[error("the call is not allowed")]
    Denied,
    /// The component is not there.
    #[error("the component is not there")]
    Absent,
    /// It has no such function, or one with other types.
    #[error("the component has no such function with these types")]
    Mismatch,
    /// Guards stand before it, which look at HTTP alone.
    #[error("the component is guarded, so it takes no calls but by HTTP")]
    Guarded,
    /// It waits for this call itself.
    #[error("the component waits for this call itself")]
    Cycle,
    /// Too many components wait for one another.
    #[error("too many components wait for one another")]
    Depth,
    /// Its quota of requests is used up.
    #[error("the component has used up its quota: try again later")]
    Quota,
    /// As many requests as its policy allows are inside.
    #[error("the component is busy: try again later")]
    Busy,
    /// It took too long.
    #[error("the component took too long")]
    Deadline,
    /// It trapped.
    #[error("the component failed")]
    Trapped,
    /// The request is over, or nobody reads any more.
    #[error("the call was given up")]
    Cancelled,
}

/// Names of cases that mean any failure.
const ANY: [&str; 5] = ["unavailable", "failed", "internal", "unknown", "other"];

impl Failure {
    const ALL: [Failure; 12] = [
        Failure::Outside,
        Failure::Denied,
        Failure::Absent,
        Failure::Mismatch,
        Failure::Guarded,
        Failure::Cycle,
        Failure::Depth,
        Failure::Quota,
        Failure::Busy,
        Failure::Deadline,
        Failure::Trapped,
        Failure::Cancelled,
    ];

    /// Names of cases that mean it, the best first; after those come the ones for any failure.
    fn words(self) -> &'static [&'static str] {
        match self {
            Failure::Denied | Failure::Guarded => &["denied", "forbidden"],
            Failure::Absent => &["unavailable", "not-found"],
            Failure::Outside | Failure::Mismatch => &["unavailable", "unsupported"],
            Failure::Cycle => &["cycle"],
            Failure::Depth => &["too-deep"],
            Failure::Quota => &["quota", "overloaded", "busy"],
            Failure::Busy => &["busy", "overloaded"],
            Failure::Deadline => &["deadline", "timeout"],
            Failure::Trapped => &["failed", "internal"],
            Failure::Cancelled => &["cancelled"],
        }
    }

    /// As the error of a function; `error` is its type, where the function returns a `result`. None where that can't say it.
    pub(super) fn carried_by(self, error: Option<&Option<Arc<Type>>>) -> Option<Option<Val>> {
        match error? {
            None => Some(None),
            Some(ty) => self.value(ty).map(Some),
        }
    }

    /// Whether an error's type can say every failure.
    pub(super) fn are_carried_by(error: Option<&Option<Arc<Type>>>) -> bool {
        Failure::ALL.iter().all(|failure| failure.carried_by(error).is_some())
    }

    fn value(self, ty: &Type) -> Option<Val> {
        let mut words = self.words().iter().chain(&ANY);
        Some(match &ty.kind {
            Kind::String => Val::String(self.to_string()),
            Kind::Option(_) => Val::Option(None),
            Kind::Enum(labels) => Val::Enum(words.find_map(|word| labels.find(word))?.1.wit.clone()),
            Kind::Variant(cases) => words.find_map(|word| {
                let (_, case) = cases.find(word)?;
                let payload = match &case.ty {
                    Some(ty) => Some(Box::new(self.value(ty)?)),
                    None => None,
                };
                Some(Val::Variant(case.label.wit.clone(), payload))
            })?,
            Kind::Record(fields) => {
                let field = |name: &str, ty: &Type| match (&ty.kind, name) {
                    (Kind::String, "code" | "kind") => Some(Val::String((*self.words().first()?).into())),
                    _ => self.value(ty),
                };
                let values = fields.iter().map(|of| Some((of.label.wit.clone(), field(&of.label.wit, &of.ty)?)));
                Val::Record(values.collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Busy => Failure::Busy,
            Fault::Deadline | Fault::CpuTime => Failure::Deadline,
            Fault::Trapped | Fault::BadResponse => Failure::Trapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::types::{Case, Field, Integer, Label, Named};

    fn ty(kind: Kind) -> Arc<Type> {
        Arc::new(Type::new(kind))
    }

    fn label(name: &str) -> Label {
        Label::new(name, None)
    }

    fn enumeration(cases: &[&str]) -> Kind {
        Kind::Enum(Named::new(cases.iter().copied().map(label).collect()))
    }

    fn record(fields: Vec<(&str, Kind)>) -> Kind {
        Kind::Record(Named::new(fields.into_iter().map(|(name, kind)| Field { label: label(name), ty: ty(kind) }).collect()))
    }

    fn variant(cases: Vec<(&str, Option<Kind>)>) -> Kind {
        let case = |(name, kind): (&str, Option<Kind>)| Case { label: label(name), ty: kind.map(ty) };
        Kind::Variant(Named::new(cases.into_iter().map(case).collect()))
    }

    fn said(failure: Failure, kind: Kind) -> Option<Val> {
        failure.carried_by(Some(&Some(ty(kind)))).flatten()
    }

    #[test]
    fn an_error_says_the_failure_in_its_own_way() {
        let text = |text: &str| Val::String(text.into());
        assert_eq!(said(Failure::Trapped, Kind::String), Some(text("the component failed")));
        let words = || enumeration(&["invalid", "deadline", "internal"]);
        assert_eq!(said(Failure::Deadline, words()), Some(Val::Enum("deadline".into())));
        assert_eq!(said(Failure::Denied, words()), Some(Val::Enum("internal".into())));
        let cases = variant(vec![("denied", None), ("other", Some(Kind::String))]);
        assert_eq!(said(Failure::Denied, cases), Some(Val::Variant("denied".into(), None)));
        let cases = variant(vec![("busy", Some(Kind::Integer(Integer::U8))), ("other", Some(Kind::String))]);
        let other = Val::Variant("other".into(), Some(Box::new(text("the component is busy: try again later"))));
        assert_eq!(said(Failure::Busy, cases), Some(other));
        let fields = vec![("code", words()), ("message", Kind::String), ("retry", Kind::Option(ty(Kind::Bool)))];
        let expected = [("code", Val::Enum("internal".into())), ("message", text("the component waits for this call itself"))];
        let mut expected: Vec<(String, Val)> = expected.into_iter().map(|(name, value)| (name.into(), value)).collect();
        expected.push(("retry".into(), Val::Option(None)));
        assert_eq!(said(Failure::Cycle, record(fields)), Some(Val::Record(expected)));
        assert_eq!(Failure::Busy.carried_by(Some(&None)), Some(None));
    }

    #[test]
    fn what_can_not_say_every_failure_is_known_before_one_happens() {
        let can = |kind| Failure::are_carried_by(Some(&Some(ty(kind))));
        assert!(can(Kind::String) && can(enumeration(&["failed"])) && can(record(vec![("message", Kind::String)])));
        assert!(can(variant(vec![("bad", None), ("unavailable", Some(Kind::String))])));
        assert!(!can(Kind::Bool) && !can(enumeration(&["denied", "busy"])) && !can(record(vec![("at", Kind::Bool)])));
        assert!(!can(variant(vec![("failed", Some(Kind::Bool))])));
        assert!(!Failure::are_carried_by(None) && Failure::are_carried_by(Some(&None)));
    }
}
