//! The functions that a component imports from others.

use wit_parser::decoding::DecodedWasm;
use wit_parser::{FunctionKind, WorldItem};

use super::super::docs::Docs;
use super::{Decoder, Obstacle};
use crate::typed::{Interface, Signature};

/// A function that can't be called across components.
#[derive(Debug)]
pub(crate) struct Uncallable {
    /// The function, as `acme:math/ops@1.0.0#add`.
    pub(crate) function: String,
    /// What is in the way.
    pub(crate) reason: String,
}

impl Interface {
    /// Finds these interfaces among the imports of a component's code.
    ///
    /// # Errors
    /// When one of their functions takes or gives what can't be passed on.
    pub(crate) fn read(wasm: &[u8], names: &[String]) -> Result<Vec<Interface>, Uncallable> {
        let unreadable = |function: &str, reason: String| Uncallable { function: function.into(), reason };
        let (docs, wasm) = Docs::split(wasm);
        let (resolve, world) = match wit_parser::decoding::decode(&wasm) {
            Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
            Ok(DecodedWasm::WitPackage(..)) => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&names.join(", "), format!("its interfaces can't be read: {error:#}"))),
        };
        let mut decoder = Decoder::new(&resolve, &docs, world);
        let mut found = Vec::new();
        for (key, item) in &resolve.worlds[world].imports {
            let name = resolve.name_world_key(key);
            let WorldItem::Interface { id, .. } = item else { continue };
            if !names.contains(&name) {
                continue;
            }
            let mut functions = Vec::new();
            for function in resolve.interfaces[*id].functions.values() {
                let (parameters, outcome) = decoder.signature(function).map_err(|obstacle| {
                    let (Obstacle::Unexposed(reason) | Obstacle::Unreadable(reason)) = obstacle;
                    unreadable(&format!("{name}#{}", function.name), reason)
                })?;
                let is_async = function.kind == FunctionKind::AsyncFreestanding;
                functions.push(Signature { name: function.name.clone(), is_async, parameters, outcome });
            }
            found.push(Interface { name, functions });
        }
        Ok(found)
    }
}
