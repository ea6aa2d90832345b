//! JavaScript by componentize-qjs.

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::files::JAVASCRIPT;
use super::super::world::{WORLD, World};
use super::super::{Plugin, toolchain, wit};
use super::unpack;

/// What the SDK gives for each capability.
const GIVEN: [(&str, &[&str]); 8] = [
    ("config", &["config"]),
    ("embed", &["embed", "embedModels"]),
    ("generate", &["Generation", "generate", "generateModels"]),
    ("http", &["send"]),
    ("log", &["log"]),
    ("rerank", &["rerank", "rerankModels"]),
    ("secret", &["secret"]),
    ("tokenize", &["countTokens", "detokenize", "tokenize"]),
];

/// `package.json`, as far as it matters here.
#[derive(Deserialize)]
struct Package {
    main: Option<String>,
    #[serde(default)]
    scripts: Map<String, Value>,
    #[serde(default)]
    dependencies: Map<String, Value>,
    #[serde(default, rename = "devDependencies")]
    tools: Map<String, Value>,
}

/// Builds the component from `main` of `package.json`, after the script `build` if there is one.
///
/// # Errors
/// When a tool is missing, or the sources do not build.
pub(super) fn build(plugin: &Plugin, world: &World) -> anyhow::Result<Vec<u8>> {
    let file = plugin.folder.join("package.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
    let package: Package = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let main = package.main.context("package.json has no `main`: it names the file that is built")?;
    let mut componentize = toolchain::componentize_qjs()?;
    let npm = |arguments: &[&str]| toolchain::run(Command::new("npm").args(arguments).current_dir(&plugin.folder));
    let modules = plugin.folder.join("node_modules");
    // What the script `build` runs is there for it.
    let tools = package.tools.keys().filter(|_| package.scripts.contains_key("build"));
    if !package.dependencies.keys().chain(tools).all(|name| modules.join(name).is_dir()) {
        npm(&["install", "--no-audit", "--no-fund"])?;
    }
    unpack(JAVASCRIPT, &modules.join("tessera-sdk"))?;
    std::fs::write(modules.join("tessera-sdk/index.js"), index(&plugin.manifest.capabilities))?;
    if package.scripts.contains_key("build") {
        npm(&["run", "build"])?;
    }
    ensure!(plugin.folder.join(&main).is_file(), "package.json names `{main}` as `main`, which is not there");
    let out = plugin.made().join("plugin.wasm");
    componentize.arg("--wit").arg(world.write_waiting()?).args(["--world", WORLD, "--module-root", ".", "--js", &main]);
    let done = componentize.arg("--output").arg(&out).current_dir(&plugin.folder).output().context("node does not run")?;
    ensure!(done.status.success() && out.is_file(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    std::fs::read(&out).with_context(|| format!("{} can't be read", out.display()))
}

/// The SDK's entry: what is wanted as it is, the rest as a function that says what to do.
fn index(wanted: &[String]) -> String {
    let mut text =
        String::from("export { CapabilityError, HttpError } from \"./error.js\";\nexport * from \"./service.js\";\n");
    text += "export * from \"./guard.js\";\n";
    for (capability, names) in GIVEN {
        let is_wanted = wanted.iter().any(|name| name == capability) && wit::interface_of(capability).is_some();
        if is_wanted {
            let _ = writeln!(text, "export {{ {} }} from \"./{capability}.js\";", names.join(", ")); // a String takes everything
            continue;
        }
        for name in names {
            let error = format!("`{name}`: add \\\"{capability}\\\" to capabilities in component.toml and build again");
            let _ = writeln!(text, "export function {name}() {{\n  throw new Error(\"{error}\");\n}}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_says_what_to_add() {
        let text = index(&["embed".into()]);
        assert!(text.contains("export { embed, embedModels } from \"./embed.js\";"), "{text}");
        assert!(text.contains("export function generate()") && text.contains("add \\\"generate\\\" to capabilities"), "{text}");
        assert!(!text.contains("\"./generate.js\""), "{text}");
    }
}
