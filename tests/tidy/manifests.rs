//! Manifests: versions are written once, lints hold everywhere, and nothing is listed that is not used.

use toml::{Table, Value};

use super::tree::{File, Tree};
use super::{Offence, assert_caught, assert_tidy};

/// Lints of the workspace that others of these rules rely on.
const LINTS: [&str; 2] = ["missing_docs", "unsafe_code"];

/// Dependencies that are there for a feature of theirs, and appear in no source.
const FOR_A_FEATURE: [(&str, &str); 1] = [("host/engine/Cargo.toml", "cubecl")];

#[test]
fn members_take_lints_and_versions_from_the_workspace() {
    assert_tidy(&check(Tree::ours()));
}

fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.rsplit('/').next() == Some("Cargo.toml")) {
        let mut offend = |line, remedy: String| offences.push(Offence::new(&file.path, line, remedy));
        let table = match file.text.parse::<Table>() {
            Ok(table) => table,
            Err(cause) => {
                offend(1, format!("is no TOML: {cause}"));
                continue;
            }
        };
        // Templates are filled in by `tessera new`, and are packages of nobody's workspace.
        if file.path.contains("/templates/") {
            continue;
        }
        if let Some(workspace) = table.get("workspace") {
            let lints = &workspace.get("lints").and_then(|lints| lints.get("rust"));
            let denied =
                |lint: &&str| lints.and_then(|lints| lints.get(lint)).is_some_and(|level| level.as_str() == Some("deny"));
            for lint in LINTS.iter().filter(|lint| !denied(lint)) {
                offend(file.line_of("[workspace.lints.rust]"), format!("deny `{lint}`"));
            }
        } else {
            if table.get("lints").is_none_or(|lints| !from_workspace(lints)) {
                offend(file.line_of("[lints"), "add `[lints]` with `workspace = true`".into());
            }
            for (name, value) in dependencies(&table) {
                let line = file.line_of(&name);
                if !from_workspace(value) {
                    offend(line, format!("`{name}`: write its version in the root Cargo.toml and `workspace = true` here"));
                }
                if !is_used(tree, file, &name) {
                    offend(line, format!("`{name}` is not used: take it out"));
                }
            }
        }
    }
    offences
}

fn from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// Dependencies of every kind, those of single targets included.
fn dependencies(table: &Table) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let Value::Table(value) = value else { continue };
        if key.ends_with("dependencies") {
            found.extend(value.iter().map(|(name, value)| (name.clone(), value)));
        } else if key == "target" {
            found.extend(value.values().filter_map(Value::as_table).flat_map(dependencies));
        }
    }
    found
}

/// Whether a word of the member's sources is the dependency's name.
fn is_used(tree: &Tree, manifest: &File, name: &str) -> bool {
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let word = name.replace('-', "_");
    // Another member may lie in a folder below.
    let is_own = |path: &str| {
        let below = path[folder.len()..].rsplit_once('/').map_or("", |(below, _)| below);
        let up = below.match_indices('/').map(|(at, _)| &below[..at]).chain([below]);
        !up.filter(|up| !up.is_empty()).any(|up| tree.has(&format!("{folder}{up}/Cargo.toml")))
    };
    let mut sources = tree.below(folder, ".rs").filter(|file| is_own(&file.path));
    FOR_A_FEATURE.contains(&(manifest.path.as_str(), name)) || sources.any(|file| !file.find(&word).is_empty())
}

#[test]
fn a_manifest_of_its_own_mind_is_caught() {
    let root = "[workspace]\nmembers = []\n[workspace.lints.rust]\nmissing_docs = \"warn\"\nunsafe_code = \"deny\"\n";
    let bad = "\
[package]
name = \"bad\"
[dependencies]
serde = \"1\"
toml-edit = { version = \"1\", features = [] }
http.workspace = true
[dev-dependencies]
path = { path = \"../path\" }
[target.'cfg(unix)'.build-dependencies]
libc = { workspace = false }
[lints.rust]
missing_docs = \"allow\"
";
    let good = "[lints]\nworkspace = true\n[dependencies]\nserde-json = { workspace = true, features = [\"x\"] }\n";
    let tree = Tree::made_of(&[
        ("Cargo.toml", root),
        ("tests/Cargo.toml", bad),
        ("tests/lib.rs", "use serde::X; use toml_edit; use path; use libc;"),
        ("tests/guests/good/Cargo.toml", good),
        ("tests/guests/good/src/lib.rs", "serde_json::f(); http::f()"),
        ("torn/Cargo.toml", "[package"),
    ]);
    let expected = [
        ("Cargo.toml", 3, "deny `missing_docs`"),
        ("tests/Cargo.toml", 11, "add `[lints]`"),
        ("tests/Cargo.toml", 4, "`serde`: write its version"),
        ("tests/Cargo.toml", 5, "`toml-edit`: write"),
        ("tests/Cargo.toml", 6, "`http` is not used"),
        ("tests/Cargo.toml", 8, "`path`: write"),
        ("tests/Cargo.toml", 10, "`libc`: write"),
        ("torn/Cargo.toml", 1, "no TOML"),
    ];
    assert_caught(&check(&tree), &expected);
}
