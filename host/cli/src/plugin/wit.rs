//! The interfaces that this host has, as the program carries them.

use std::collections::BTreeMap;

use anyhow::Context;
use wit_parser::{PackageName, Resolve, SourceMap, UnresolvedPackageGroup};

use super::files::WIT;

/// All packages, resolved.
///
/// # Errors
/// Never with the files that the program was built from.
pub(crate) fn resolve() -> anyhow::Result<Resolve> {
    let mut waiting = WIT.iter().map(|(path, text)| parse(path, text)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut resolve = Resolve::default();
    // A package is pushed once all that it uses are there.
    while !waiting.is_empty() {
        let is_ready = |group: &UnresolvedPackageGroup| {
            group.main.foreign_deps.keys().all(|name| resolve.package_names.contains_key(name))
        };
        let ready = waiting.iter().position(is_ready).context("the packages in wit/ use one that is not there")?;
        resolve.push_group(waiting.remove(ready))?;
    }
    Ok(resolve)
}

fn parse(path: &str, text: &str) -> anyhow::Result<UnresolvedPackageGroup> {
    let mut source = SourceMap::default();
    source.push_str(path, text);
    source.parse().map_err(|(_, error)| anyhow::anyhow!("{path}: {error}"))
}

/// The interface that a capability is called by, with its version: `tessera:embed/embed@0.1.0`; none where components call it by
/// WASI.
pub(crate) fn interface_of(capability: &str) -> Option<String> {
    let interface = if capability == "http" { "client" } else { capability };
    let (_, text) = WIT.iter().find(|(path, _)| path.strip_suffix(".wit") == Some(capability))?;
    let package = text.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'))?;
    let (name, version) = package.split_once('@')?;
    Some(format!("{name}/{interface}@{version}"))
}

/// Versions of the host's own packages: `tessera:embed` → `0.1.0`.
///
/// # Errors
/// Never with the files that the program was built from.
pub(crate) fn versions() -> anyhow::Result<BTreeMap<String, String>> {
    let resolve = resolve()?;
    let named = |PackageName { namespace, name, version }: &PackageName| {
        Some((format!("{namespace}:{name}"), version.as_ref()?.to_string()))
    };
    Ok(resolve.packages.iter().filter_map(|(_, package)| named(&package.name)).collect())
}

#[cfg(test)]
mod tests {
    use policy::CAPABILITIES;

    use super::*;

    #[test]
    fn every_capability_of_ours_has_an_interface_that_is_there() {
        let resolve = resolve().expect("resolves");
        let ids: Vec<String> = resolve.interfaces.iter().filter_map(|(id, _)| resolve.id_of(id)).collect();
        // The others are called by WASI, or by what other components export.
        for capability in CAPABILITIES.iter().filter(|name| !["call", "env", "fs", "nn"].contains(*name)) {
            let interface = interface_of(capability);
            assert!(interface.as_ref().is_some_and(|interface| ids.contains(interface)), "{capability}: {interface:?}");
        }
        assert_eq!(interface_of("fs"), None);
        assert_eq!(versions().expect("versions").get("tessera:embed").map(String::as_str), Some("0.1.0"));
    }
}
