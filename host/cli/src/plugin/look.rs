//! What a component imports and exports, by its binary form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{Resolve, WorldItem, WorldKey};

use super::{docs, wit};

/// What a component imports and exports.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Length of its code, in bytes.
    pub(crate) bytes: u64,
    /// Capabilities of the host that it calls, and the interfaces that it calls them by.
    pub(crate) capabilities: BTreeMap<String, BTreeSet<String>>,
    /// Packages of WASI.
    pub(crate) wasi: BTreeSet<String>,
    /// Interfaces that are neither the host's nor WASI's: of other components.
    pub(crate) others: BTreeSet<String>,
    /// Exported interfaces, and the functions of each.
    pub(crate) exports: BTreeMap<String, Vec<String>>,
    /// Interfaces of the host's packages in a version that it does not have, and the version that it has.
    pub(crate) skewed: Vec<(String, Option<String>)>,
}

impl Look {
    /// Looks at the component in a file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn at(file: &Path) -> anyhow::Result<Look> {
        let code = std::fs::read(file);
        let code = code.with_context(|| format!("{} can't be read: `tessera build` makes it", file.display()))?;
        Look::of(&code).with_context(|| format!("{} is no component", file.display()))
    }

    /// Looks at a component.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of(code: &[u8]) -> anyhow::Result<Look> {
        let DecodedWasm::Component(resolve, world) = decode(&docs::without(code))? else { bail!("it is a WIT package") };
        let mut look = Look { bytes: code.len() as u64, ..Look::default() };
        let world = &resolve.worlds[world];
        for (key, item) in &world.imports {
            look.import(&resolve.name_world_key(key), has_functions(&resolve, item));
        }
        for (key, item) in &world.exports {
            look.exports.insert(resolve.name_world_key(key), functions(&resolve, key, item));
        }
        let versions = wit::versions()?;
        let names = world.imports.keys().chain(world.exports.keys()).map(|key| resolve.name_world_key(key));
        look.skewed = names.filter_map(|name| skew(&name, &versions)).collect();
        Ok(look)
    }

    fn import(&mut self, name: &str, has_functions: bool) {
        let (namespace, rest) = name.split_once(':').unwrap_or(("", name));
        let package = rest.split(['/', '@']).next().unwrap_or(rest);
        match namespace {
            "tessera" if has_functions => drop(self.capabilities.entry(package.into()).or_default().insert(name.into())),
            "tessera" => {}
            "wasi" if package == "nn" => drop(self.capabilities.entry("nn".into()).or_default().insert(name.into())),
            "wasi" => drop(self.wasi.insert(package.into())),
            _ => drop(self.others.insert(name.into())),
        }
    }

    /// Whether something is exported that a server can use: a way to serve HTTP, a guard, or functions.
    pub(crate) fn is_of_use(&self) -> bool {
        self.exports.values().any(|functions| !functions.is_empty())
    }
}

fn has_functions(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    }
}

fn functions(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Vec<String> {
    match item {
        WorldItem::Interface { id, .. } => resolve.interfaces[*id].functions.keys().cloned().collect(),
        WorldItem::Function(_) => vec![resolve.name_world_key(key)],
        WorldItem::Type { .. } => Vec::new(),
    }
}

/// The version that the host has instead, where it does not have that of the interface.
fn skew(interface: &str, versions: &BTreeMap<String, String>) -> Option<(String, Option<String>)> {
    let (name, version) = interface.split_once('@')?;
    let package = name.split('/').next()?;
    let has = versions.get(package).cloned();
    (package.starts_with("tessera:") && has.as_deref() != Some(version)).then(|| (interface.into(), has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_the_host_does_not_have_is_told_with_the_one_it_has() {
        let versions = wit::versions().expect("versions");
        assert_eq!(skew("tessera:embed/embed@0.1.0", &versions), None);
        let newer = skew("tessera:embed/embed@0.2.0", &versions);
        assert_eq!(newer, Some(("tessera:embed/embed@0.2.0".into(), Some("0.1.0".into()))));
        assert_eq!(skew("tessera:video/video@0.1.0", &versions), Some(("tessera:video/video@0.1.0".into(), None)));
        assert_eq!(skew("wasi:io/poll@0.2.0", &versions), None);
    }

    #[test]
    fn imports_are_told_by_whose_they_are() {
        let mut look = Look::default();
        look.import("tessera:http/client@0.1.0", true);
        look.import("tessera:inference/types@0.1.0", false);
        look.import("wasi:clocks/monotonic-clock@0.2.0", true);
        look.import("acme:ocr/ocr@1.0.0", true);
        assert_eq!(look.capabilities.keys().collect::<Vec<_>>(), ["http"]);
        assert_eq!((look.wasi.len(), look.others.len(), look.is_of_use()), (1, 1, false));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(Look::of(b"garbage").is_err());
        assert!(Look::at(Path::new("nowhere.wasm")).expect_err("none").to_string().contains("tessera build"));
    }
}
