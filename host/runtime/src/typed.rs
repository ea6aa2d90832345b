//! Typed functions: what a component exports in WIT, as JSON over HTTP.
//!
//! Every exported function that no other part of the host knows is `POST /c/NAME/INTERFACE/FUNCTION`. What is taken and answered
//! follows from its WIT types alone; `docs/typed-functions.md` has the table.

pub(crate) mod answer;
mod decode;
mod docs;
pub(crate) mod events;
pub(crate) mod openapi;
pub(crate) mod read;
mod same;
pub(crate) mod schema;
pub(crate) mod stream;
pub(crate) mod types;
pub(crate) mod version;
pub(crate) mod write;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use wasmtime::component::ComponentExportIndex;

use stream::Element;
use types::{Field, Named, Type};

/// A function that may be called by anybody who may ask its component.
pub(crate) struct Function {
    /// The interface's whole name, as `acme:math/ops@1.0.0`; none for a function of the world itself.
    pub(crate) interface: Option<String>,
    /// Its name in WIT.
    pub(crate) name: String,
    /// What follows `/c/NAME/`: `ops/add`.
    pub(crate) path: String,
    /// What its author says of it.
    pub(crate) docs: Option<String>,
    /// JSON Schema of the object with its arguments.
    pub(crate) input_schema: Value,
    /// JSON Schema of what it answers where it does not fail; of each item where it streams.
    pub(crate) output_schema: Value,
    /// Whether it answers at once or item by item.
    pub(crate) answers: Answers,
    /// Its parameters in their order.
    pub(crate) parameters: Named<Field>,
    /// What it gives.
    pub(crate) outcome: Outcome,
    /// Where it is in the code.
    pub(crate) export: ComponentExportIndex,
}

/// An interface that a component imports from another one.
#[derive(Debug)]
pub(crate) struct Interface {
    /// Its whole name, as `acme:math/ops@1.0.0`.
    pub(crate) name: String,
    /// The functions of it that the code calls.
    pub(crate) functions: Vec<Signature>,
}

/// A function as its caller sees it.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Its name in WIT.
    pub(crate) name: String,
    /// Whether it is an `async func`.
    pub(crate) is_async: bool,
    /// Its parameters in their order.
    pub(crate) parameters: Named<Field>,
    /// What it gives.
    pub(crate) outcome: Outcome,
}

/// How a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// With one value.
    Whole,
    /// With a stream of them.
    Stream,
}

/// What a function gives.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where it does not fail.
    pub(crate) success: Success,
    /// Where it returns a `result`: the type of its error, if that has one.
    pub(crate) failure: Option<Option<Arc<Type>>>,
}

/// What a function gives where it does not fail.
#[derive(Debug)]
pub(crate) enum Success {
    /// Nothing.
    Nothing,
    /// A value.
    Value(Arc<Type>),
    /// A stream, alone or with a future of how it ended.
    Stream(Streamed),
}

/// A stream that a function gives.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// The type of its items.
    pub(crate) ty: Arc<Type>,
    /// How the host reads them.
    pub(crate) element: Element,
    /// How it ends, if it says so.
    pub(crate) end: Option<End>,
}

/// `future<result<ok, err>>` beside a stream.
#[derive(Debug)]
pub(crate) struct End {
    /// What it gives at the end, if anything.
    pub(crate) ok: Option<(Arc<Type>, Element)>,
    /// What it says where it failed, if anything.
    pub(crate) err: Option<(Arc<Type>, Element)>,
}

/// A function that can't be called from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unexposed {
    /// What its path would be.
    pub(crate) path: String,
    /// Why it is not called.
    pub(crate) reason: String,
}

/// The functions of a component.
#[derive(Default)]
pub(crate) struct Functions {
    list: Vec<Arc<Function>>,
    places: HashMap<String, usize>,
    unexposed: Vec<Unexposed>,
}

impl Functions {
    fn new(list: Vec<Arc<Function>>, unexposed: Vec<Unexposed>) -> Functions {
        let places = list.iter().enumerate().map(|(place, function)| (function.path.clone(), place)).collect();
        Functions { list, places, unexposed }
    }

    /// The function of a path, as `ops/add`.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Function>> {
        self.list.get(*self.places.get(path)?)
    }

    /// The function of an interface, in its version or else in the latest that takes its place: as 1.2.0 does for 1.1.0, and
    /// 0.2.1 for 0.2.0.
    pub(crate) fn exported(&self, interface: &str, name: &str) -> Option<&Arc<Function>> {
        let named = || self.list.iter().filter(|function| function.name == name);
        let exact = named().find(|function| function.interface.as_deref() == Some(interface));
        exact.or_else(|| {
            let version = |function: &Arc<Function>| version::instead(interface, function.interface.as_deref()?);
            let instead = named().filter_map(|function| Some((version(function)?, function)));
            instead.max_by(|one, other| one.0.cmp(&other.0)).map(|(_, function)| function)
        })
    }

    /// All of them, in the order in which the component exports them.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<Function>> {
        self.list.iter()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that can't be called, and why.
    pub(crate) fn unexposed(&self) -> &[Unexposed] {
        &self.unexposed
    }
}
