//! Rust by cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::super::{Plugin, toolchain};

/// A line of cargo's JSON messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    manifest_path: Option<PathBuf>,
}

/// Builds the crate and gives its component.
///
/// # Errors
/// When it does not build.
pub(super) fn build(plugin: &Plugin) -> anyhow::Result<Vec<u8>> {
    let mut cargo = Command::new("cargo");
    cargo.arg(format!("+{}", toolchain::rust()?)).args(["build", "--release", "--target", "wasm32-wasip2", "--message-format"]);
    let cargo = cargo.arg("json-render-diagnostics").current_dir(&plugin.folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    // Another cargo that started this must not choose the compiler.
    let cargo = cargo.env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    let done = cargo.output().context("cargo does not run: Rust plugins are built by it")?;
    ensure!(done.status.success(), "cargo failed, see above");
    let file = component(&String::from_utf8_lossy(&done.stdout), &plugin.folder.join("Cargo.toml"));
    let file = file.context("cargo made no component: Cargo.toml must have `crate-type = [\"cdylib\"]` under [lib]")?;
    std::fs::read(&file).with_context(|| format!("{} can't be read", file.display()))
}

/// The component that cargo tells of, of the package with this manifest.
fn component(messages: &str, manifest: &std::path::Path) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let artifacts = messages.filter(|message| message.reason == "compiler-artifact");
    let ours = artifacts.filter(|message| message.manifest_path.as_deref() == Some(manifest));
    ours.flat_map(|message| message.filenames).find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_component_is_the_packages_own() {
        let messages = "warning: not JSON\n\
            {\"reason\":\"compiler-artifact\",\"manifest_path\":\"/b/Cargo.toml\",\"filenames\":[\"/t/b.wasm\"]}\n\
            {\"reason\":\"compiler-artifact\",\"manifest_path\":\"/a/Cargo.toml\",\"filenames\":[\"/t/a.rlib\",\"/t/a.wasm\"]}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(component(messages, Path::new("/a/Cargo.toml")), Some("/t/a.wasm".into()));
        assert_eq!(component(messages, Path::new("/c/Cargo.toml")), None);
    }
}
