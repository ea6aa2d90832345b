//! The world of a plugin: what its `component.toml` wants is imported, what its `wit/` or its kind says is exported, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use wit_component::WitPrinter;
use wit_parser::{FunctionKind, InterfaceId, PackageId, Resolve, UnresolvedPackageGroup, WorldId, WorldItem};

use super::files::WIT;
use super::{Plugin, wit};

/// Name of the world, in the package `tessera:plugin`.
pub(crate) const WORLD: &str = "plugin";

/// A world that is written down, in a folder as tools take it.
#[derive(Debug)]
pub(crate) struct World {
    /// The folder, with the packages that the world uses in `deps/`.
    pub(crate) folder: PathBuf,
    resolve: Resolve,
    package: PackageId,
    world: WorldId,
    /// The author's own package, if there is one.
    author: Option<PackageId>,
}

/// A function that is called without waiting for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AsyncImport {
    /// The interface, as `tessera:embed/embed@0.1.0`.
    pub(crate) interface: String,
    /// The function's name in it.
    pub(crate) function: String,
}

impl World {
    /// Writes the world of a plugin into its build folder.
    ///
    /// # Errors
    /// When the author's WIT is malformed, or uses a package that is not there.
    pub(crate) fn write(plugin: &Plugin) -> anyhow::Result<World> {
        let folder = plugin.made().join("wit");
        let deps = folder.join("deps");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be deleted", folder.display()))?;
        }
        std::fs::create_dir_all(&deps).with_context(|| format!("{} can't be made", deps.display()))?;
        for (path, text) in WIT.iter().filter(|(path, _)| *path != "service.wit") {
            let name = path.rsplit('/').next().unwrap_or(path);
            std::fs::write(deps.join(name), text)?;
        }
        let own = own_world(plugin, &deps)?;
        std::fs::write(folder.join("world.wit"), text(plugin, own.as_ref().map(|(_, world)| world.as_str())))?;
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&folder).with_context(|| format!("the world in {}", folder.display()))?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        let author = own.and_then(|(name, _)| resolve.package_names.get(&name).copied());
        Ok(World { folder, resolve, package, world, author })
    }

    /// Interfaces that are imported, types alone included.
    pub(crate) fn imports(&self) -> Vec<String> {
        let imports = self.resolve.worlds[self.world].imports.keys();
        imports.map(|key| self.resolve.name_world_key(key)).collect()
    }

    /// Interfaces that are exported.
    pub(crate) fn exports(&self) -> Vec<String> {
        let exports = self.resolve.worlds[self.world].exports.keys();
        exports.map(|key| self.resolve.name_world_key(key)).collect()
    }

    /// Imported functions that are `async`.
    pub(crate) fn async_imports(&self) -> BTreeSet<AsyncImport> {
        let mut found = BTreeSet::new();
        for id in self.imported() {
            let interface = self.resolve.id_of(id).unwrap_or_default();
            for function in self.resolve.interfaces[id].functions.values() {
                if function.kind == FunctionKind::AsyncFreestanding {
                    found.insert(AsyncImport { interface: interface.clone(), function: function.name.clone() });
                }
            }
        }
        found
    }

    /// Writes the same world with imports that wait, for tools that can't link others; gives the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write_waiting(&self) -> anyhow::Result<PathBuf> {
        let mut resolve = self.resolve.clone();
        for id in self.imported() {
            let functions = resolve.interfaces[id].functions.values_mut();
            for function in functions.filter(|function| function.kind == FunctionKind::AsyncFreestanding) {
                function.kind = FunctionKind::Freestanding;
            }
        }
        let others: Vec<PackageId> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != self.package).collect();
        let mut printer = WitPrinter::default();
        printer.print(&resolve, self.package, &others)?;
        let file = self.folder.with_file_name("waiting.wit");
        std::fs::write(&file, printer.output.to_string()).with_context(|| format!("{} can't be written", file.display()))?;
        Ok(file)
    }

    /// The author's package, to take its doc comments from.
    pub(crate) fn author(&self) -> Option<(&Resolve, PackageId)> {
        Some((&self.resolve, self.author?))
    }

    fn imported(&self) -> impl Iterator<Item = InterfaceId> + '_ {
        let items = self.resolve.worlds[self.world].imports.values();
        items.filter_map(|item| if let WorldItem::Interface { id, .. } = item { Some(*id) } else { None })
    }
}

/// The world as text. Without a world of the author's own it is a guard's where the manifest says that it is one, else a service's.
fn text(plugin: &Plugin, own: Option<&str>) -> String {
    let manifest = &plugin.manifest;
    let mut text =
        format!("package tessera:plugin@0.1.0;\n\n/// What `{}` wants and gives.\nworld {WORLD} {{\n", manifest.name);
    let wanted: BTreeSet<&String> = manifest.capabilities.iter().collect();
    for interface in wanted.into_iter().filter_map(|capability| wit::interface_of(capability)) {
        let _ = writeln!(text, "  import {interface};"); // a String takes everything
    }
    let given = match own {
        Some(world) => format!("include {world}"),
        None => {
            let which = if manifest.guard.is_some() { "guard" } else { "handler" };
            format!("export {}", wit::interface_of(which).unwrap_or_default())
        }
    };
    let _ = writeln!(text, "  {given};\n}}");
    text
}

/// Copies the author's `wit/` beside the host's packages, and gives its package and the world in it.
fn own_world(plugin: &Plugin, deps: &Path) -> anyhow::Result<Option<(wit_parser::PackageName, String)>> {
    let own = plugin.folder.join("wit");
    if !own.is_dir() {
        return Ok(None);
    }
    copy(&own, &deps.join("own"))?;
    let others = own.join("deps");
    for entry in others.read_dir().into_iter().flatten() {
        let entry = entry?;
        let to = deps.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    let group = UnresolvedPackageGroup::parse_dir(&own)?;
    let name = group.main.name;
    ensure!(
        name.namespace != "tessera" && name.namespace != "wasi",
        "{}: `{}` is not yours: name the package `local:{}`",
        own.display(),
        name,
        plugin.name()
    );
    let mut worlds = group.main.worlds.iter().map(|(_, world)| world.name.clone());
    let (Some(world), None) = (worlds.next(), worlds.next()) else {
        bail!("{}: it must have one `world` that says what the component exports", own.display());
    };
    let version = name.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    let path = format!("{}:{}/{world}{version}", name.namespace, name.name);
    Ok(Some((name, path)))
}

/// Copies the WIT files of a folder, those of folders in it left out.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.read_dir().with_context(|| format!("{} can't be read", from.display()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "wit") {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plugin with this end of its manifest, and this WIT of its own.
    fn world(manifest: &str, wit: Option<&str>) -> anyhow::Result<(tempfile::TempDir, World)> {
        let folder = tempfile::tempdir()?;
        let text = format!("name = \"mine\"\nversion = \"0.1.0\"\ndescription = \"Mine.\"\n{manifest}");
        std::fs::write(folder.path().join("component.toml"), text)?;
        if let Some(wit) = wit {
            std::fs::create_dir(folder.path().join("wit"))?;
            std::fs::write(folder.path().join("wit/mine.wit"), wit)?;
        }
        let world = World::write(&Plugin::open(folder.path())?)?;
        Ok((folder, world))
    }

    const TOOL: &str = "package local:mine@0.1.0;\n/// Sums.\ninterface sums {\n  /// Adds.\n  add: async func(a: u32) -> u32;\n}\n\
                        world tool {\n  export sums;\n}\n";

    #[test]
    fn only_what_is_wanted_is_imported() {
        let (_folder, world) = world("capabilities = [\"log\", \"embed\", \"fs\"]", None).expect("a world");
        let mut imports = world.imports();
        imports.sort();
        let expected = [
            "tessera:embed/embed@0.1.0",
            "tessera:handler/types@0.1.0",
            "tessera:inference/types@0.1.0",
            "tessera:log/log@0.1.0",
        ];
        assert_eq!(
            (imports.iter().map(String::as_str).collect::<Vec<_>>(), world.exports()),
            (expected.to_vec(), vec!["tessera:handler/handler@0.1.0".to_owned()])
        );
    }

    #[test]
    fn a_guard_exports_a_guard_and_a_tool_what_its_own_world_says() {
        let (_folder, guard) = world("[guard]\nreasons = []", None).expect("a world");
        assert_eq!(guard.exports(), ["tessera:guard/guard@0.1.0"]);
        let (_folder, tool) = world("", Some(TOOL)).expect("a world");
        assert_eq!(tool.exports(), ["local:mine/sums@0.1.0"]);
        assert!(tool.author().is_some());
    }

    #[test]
    fn imports_that_wait_are_of_the_same_names_and_exports_stay_async() {
        let (_folder, world) = world("capabilities = [\"embed\"]", Some(TOOL)).expect("a world");
        let of = |interface: &str, function: &str| AsyncImport { interface: interface.into(), function: function.into() };
        assert_eq!(
            world.async_imports(),
            BTreeSet::from(["embed", "embed-tokens"].map(|function| of("tessera:embed/embed@0.1.0", function)))
        );
        let text = std::fs::read_to_string(world.write_waiting().expect("writes")).expect("reads");
        assert!(text.contains("embed: func(") && text.contains("add: async func("), "{text}");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("waiting.wit", &text).expect("is WIT");
        assert!(resolve.select_world(&[package], Some(WORLD)).is_ok());
    }

    #[test]
    fn wit_that_names_no_world_of_its_own_is_refused_with_the_reason() {
        let refused = |wit| format!("{:#}", world("", Some(wit)).expect_err("refused"));
        assert!(refused("package local:mine;\ninterface a {}\n").contains("one `world`"));
        assert!(refused("package tessera:mine;\nworld a {}\n").contains("not yours"));
        assert!(refused("package local:mine;\nworld a { export b; }\n").contains('b'));
    }
}
