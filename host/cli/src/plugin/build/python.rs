//! Python by componentize-py.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::super::files::PYTHON;
use super::super::world::{WORLD, World};
use super::super::{Plugin, toolchain};
use super::unpack;

/// The author's module, in `src/`.
const MODULE: &str = "app";
/// The module that is built: the author's, and what the SDK exports for it.
const ENTRY: &str = "tessera_entry";

/// `pyproject.toml`, as far as it matters here.
#[derive(Deserialize)]
struct Project {
    project: Table,
}

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Builds the component from `src/app.py`, with the packages that `pyproject.toml` depends on.
///
/// # Errors
/// When a tool is missing, or the sources do not build.
pub(super) fn build(plugin: &Plugin, world: &World) -> anyhow::Result<Vec<u8>> {
    let source = plugin.folder.join("src").join(MODULE).with_extension("py");
    ensure!(source.is_file(), "{} is not there: it is what is built", source.display());
    let made = plugin.made().join("python");
    unpack(PYTHON, &made.join("tessera_sdk"))?;
    std::fs::write(made.join(ENTRY).with_extension("py"), entry(world))?;
    let packages = plugin.made().join("packages");
    dependencies(plugin, &packages)?;
    let out = plugin.made().join("plugin.wasm");
    let mut componentize = command(world)?;
    componentize.args(["componentize", ENTRY]);
    for path in [&made, &plugin.folder.join("src"), &packages] {
        componentize.arg("--python-path").arg(path);
    }
    run(componentize.arg("--output").arg(&out))?;
    // Types for editors; nothing of it is built.
    let types = plugin.made().join("types");
    drop(std::fs::remove_dir_all(&types)); // there may be none yet
    run(command(world)?.arg("bindings").arg(&types))?;
    std::fs::read(&out).with_context(|| format!("{} can't be read", out.display()))
}

/// componentize-py for a world, with names of modules that do not depend on what else is imported.
fn command(world: &World) -> anyhow::Result<std::process::Command> {
    let mut command = toolchain::componentize_py()?;
    command.arg("--quiet").arg("--wit-path").arg(&world.folder).args(["--world", WORLD]);
    for interface in world.imports().iter().filter(|name| name.starts_with("tessera:")) {
        command.arg("--import-interface-name").arg(format!("{interface}={}", module(interface)));
    }
    Ok(command)
}

fn run(command: &mut std::process::Command) -> anyhow::Result<()> {
    let done = command.stdin(Stdio::null()).output().context("python3 does not run")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// `tessera_embed` for `tessera:embed/embed@0.1.0`, `tessera_handler_types` for `tessera:handler/types@0.1.0`.
fn module(interface: &str) -> String {
    let name = interface.split('@').next().unwrap_or(interface);
    let (package, interface) = name.split_once('/').unwrap_or((name, ""));
    let package = package.replace([':', '-'], "_");
    if interface == "types" { format!("{package}_types") } else { package }
}

/// The entry: classes for the exports of the host's own interfaces, then what the author defines.
fn entry(world: &World) -> String {
    let exports = world.exports();
    let mut text = format!("import {MODULE}  # what it registers comes first\nfrom wit_world import exports\n");
    for (interface, class) in [("tessera:handler/handler@", "Handler"), ("tessera:guard/guard@", "Guard")] {
        if exports.iter().any(|name| name.starts_with(interface)) {
            text += &format!("from tessera_sdk.exports import {class} as Our{class}\n");
            text += &format!("\n\nclass {class}(Our{class}, exports.{class}):\n    pass\n\n\n");
        }
    }
    text + &format!("from {MODULE} import *\n")
}

/// Installs what the project depends on, unless it is the same as before.
fn dependencies(plugin: &Plugin, packages: &Path) -> anyhow::Result<()> {
    let file = plugin.folder.join("pyproject.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
    let project: Project = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let (wanted, marker) = (project.project.dependencies, packages.join(".installed"));
    std::fs::create_dir_all(packages)?;
    if std::fs::read_to_string(&marker).unwrap_or_default() == wanted.join("\n") {
        return Ok(());
    }
    std::fs::remove_dir_all(packages)?;
    toolchain::pip(packages, &wanted)?;
    Ok(std::fs::write(marker, wanted.join("\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_by_their_package() {
        assert_eq!(module("tessera:embed/embed@0.1.0"), "tessera_embed");
        assert_eq!(module("tessera:http/client@0.1.0"), "tessera_http");
        assert_eq!(module("tessera:handler/types@0.1.0"), "tessera_handler_types");
    }
}
