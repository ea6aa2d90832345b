//! Tools: the functions of the components that a caller may ask.

use std::fmt::Write;
use std::sync::Arc;

use policy::Caller;
use rmcp::model::{JsonObject, Tool};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::answer::Shape;
use crate::component::Component;
use crate::registry::Registry;
use crate::typed::Function;

/// Tools in one answer; a cursor says where the next ones begin.
const PAGE_TOOLS_MAX: usize = 100;
/// Length of a name: many clients take no longer one.
const NAME_BYTES_MAX: usize = 64;
/// What is kept of a longer name; the rest is a digest.
const KEPT_BYTES: usize = 55;

/// The tools of a caller in order of name, those after a cursor, and the cursor of the next ones if there are more.
pub(super) fn list(registry: &Registry, caller: &Caller, after: Option<&str>) -> (Vec<Tool>, Option<String>) {
    let components = registry.components().filter(|component| is_open(component, caller));
    let functions = components.flat_map(|component| component.exports.functions().iter().map(move |it| (component, it)));
    let named = functions.map(|(component, function)| (name(component.name().as_str(), &function.path), component, function));
    let mut named: Vec<_> = named.filter(|(name, ..)| after.is_none_or(|after| name.as_str() > after)).collect();
    named.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
    let cursor = (named.len() > PAGE_TOOLS_MAX).then(|| named[PAGE_TOOLS_MAX - 1].0.clone());
    named.truncate(PAGE_TOOLS_MAX);
    (named.into_iter().map(|(name, component, function)| tool(name, component, function)).collect(), cursor)
}

/// The function that a tool is, whoever may ask it.
pub(super) fn find(registry: &Registry, wanted: &str) -> Option<(Arc<Component>, Arc<Function>)> {
    let begins = |component: &&Arc<Component>| {
        let name = component.name().as_str();
        wanted.starts_with(&name[..name.len().min(KEPT_BYTES)])
    };
    registry.components().filter(begins).find_map(|component| {
        let is_it = |function: &&Arc<Function>| name(component.name().as_str(), &function.path) == wanted;
        let function = component.exports.functions().iter().find(is_it)?;
        Some((component.clone(), function.clone()))
    })
}

/// Whether a text may be a tool's name, and so a cursor.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && text.bytes().all(is_plain)
}

fn is_open(component: &Component, caller: &Caller) -> bool {
    !component.is_stopped() && caller.may_ask(component.name()).is_ok()
}

/// `COMPONENT__INTERFACE__FUNCTION`. Where that would be too long, or a character has no place in names, a digest follows, so that no
/// two functions have one name.
fn name(component: &str, path: &str) -> String {
    let whole = format!("{component}/{path}");
    let mut name = String::with_capacity(whole.len() + 8);
    for char in whole.chars() {
        match char {
            '/' => name.push_str("__"),
            char if char.is_ascii_alphanumeric() || char == '-' => name.push(char),
            _ => name.push('-'),
        }
    }
    let is_lossless = whole.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '/'));
    if !is_lossless || name.len() > NAME_BYTES_MAX {
        name.truncate(KEPT_BYTES);
        name.push('_');
        for byte in Sha256::digest(&whole).iter().take(4) {
            let _ = write!(name, "{byte:02x}"); // a string takes everything
        }
    }
    name
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn tool(name: String, component: &Component, function: &Function) -> Tool {
    let mut tool = Tool::default();
    tool.name = name.into();
    tool.title = Some(format!("{}: {}", component.name(), function.path));
    tool.description = function.docs.clone().map(Into::into);
    tool.input_schema = object(function.input_schema.clone());
    tool.output_schema = Some(object(Shape::of(function).schema(function)));
    tool
}

fn object(schema: Value) -> Arc<JsonObject> {
    match schema {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::default(), // every schema of a function is one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_its_function_is() {
        assert_eq!(name("math", "ops/add"), "math__ops__add");
        assert_eq!(name("my-math", "sum-up"), "my-math__sum-up");
    }

    #[test]
    fn names_that_would_be_long_or_alike_get_a_digest() {
        let long = "l".repeat(60);
        let (one, other) = (name("math", &format!("{long}/a")), name("math", &format!("{long}/b")));
        assert!(one.len() == 64 && other.len() == 64 && one != other, "{one} {other}");
        let (one, other) = (name("math", "acme-math-ops-1.0.0/add"), name("math", "acme-math-ops-1-0.0/add"));
        assert_ne!(one, other);
        for name in [one, other, name(&"c".repeat(64), "add")] {
            assert!(is_name(&name), "{name}");
        }
    }
}
