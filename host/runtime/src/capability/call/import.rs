//! What a component calls of others: what its manifest says, and what its code has.

use policy::{Callee, ComponentName, PolicyFile, Snapshot};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::Failure;
use crate::component::{LoadError, Manifest};
use crate::typed::{Interface, version};

/// `[[imports]]` of `component.toml`: an interface that the component imports, and the one that exports it. Wanting grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The interface, as `acme:math/ops@1.0.0`: a version that takes this one's place will do, and without one any will.
    pub interface: String,
    /// The component that exports it.
    pub component: ComponentName,
}

impl Import {
    fn is_of(&self, interface: &str) -> bool {
        self.interface == version::unversioned(interface) || version::instead(interface, &self.interface).is_some()
    }
}

/// Interfaces of a component that others implement.
#[derive(Debug, Default)]
pub(crate) struct Imports(Vec<(Callee, Interface)>);

impl Imports {
    /// Finds whom the code calls.
    ///
    /// # Errors
    /// When the manifest does not say who implements an interface, or a function of one can't be called across components.
    pub(crate) fn read(wasm: &[u8], code: &Component, engine: &Engine, manifest: &Manifest) -> Result<Imports, LoadError> {
        let ty = code.component_type();
        let names: Vec<String> = ty
            .imports(engine)
            .filter(|(name, item)| is_of_component(name, &item.ty, engine))
            .map(|(name, _)| name.into())
            .collect();
        if names.is_empty() {
            return Ok(Imports::default());
        }
        let declared = |name: &str| manifest.imports.iter().find(|import| import.is_of(name));
        let missing: Vec<&String> = names.iter().filter(|name| declared(name).is_none()).collect();
        if !missing.is_empty() {
            let lines = missing.iter().map(|name| format!("[[imports]]\ninterface = {name:?}\ncomponent = \"NAME\"\n"));
            return Err(LoadError::UndeclaredImport {
                missing: missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
                lines: lines.collect::<Vec<_>>().join("\n"),
            });
        }
        let uncallable = |function, reason| LoadError::Import { function, reason };
        let interfaces = Interface::read(wasm, &names).map_err(|error| uncallable(error.function, error.reason))?;
        let with_callee = |interface: Interface| {
            let import = declared(&interface.name)?;
            let callee = Callee::new(&import.component, &interface.name);
            Some(
                callee.map_err(|error| uncallable(interface.name.clone(), error.to_string())).map(|callee| (callee, interface)),
            )
        };
        interfaces.into_iter().filter_map(with_callee).collect::<Result<_, _>>().map(Imports)
    }

    /// Whether nobody is called.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom to call, and what of it.
    pub(super) fn into_parts(self) -> Vec<(Callee, Interface)> {
        self.0
    }

    /// Those that a policy doesn't grant, and the lines that would.
    pub(crate) fn not_granted(&self, policy: &Snapshot) -> Option<(Vec<String>, String)> {
        let missing: Vec<&Callee> = self.0.iter().map(|(callee, _)| callee).filter(|one| !policy.lists_callee(one)).collect();
        if missing.is_empty() {
            return None;
        }
        let known = policy.grants().call.iter().flat_map(|grant| &grant.allow);
        let all: Vec<String> = known.chain(missing.iter().copied()).map(|callee| format!("\"{callee}\"")).collect();
        let lines = PolicyFile::lines_to_add("call").replace("\"calculator\"", &all.join(", "));
        Some((missing.iter().map(|callee| format!("call {callee}")).collect(), lines))
    }

    /// Functions whose error can't say that a call failed, so that the instance fails that makes it.
    pub(crate) fn mute(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(_, interface)| {
            let mute =
                interface.functions.iter().filter(|function| !Failure::are_carried_by(function.outcome.failure.as_ref()));
            mute.map(|function| format!("{}#{}", interface.name, function.name))
        })
    }
}

/// Whether an import is of functions that another component has to implement.
pub(crate) fn is_of_component(import: &str, item: &ComponentItem, engine: &Engine) -> bool {
    let Some((namespace, _)) = import.split_once(':') else { return false };
    let ComponentItem::ComponentInstance(instance) = item else { return false };
    let mut items = instance.exports(engine);
    !["wasi", "tessera"].contains(&namespace) && items.any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
}
