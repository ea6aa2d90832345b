//! Which crate may depend on which. The picture is in `README.md`; what it does not draw is forbidden.

use std::collections::BTreeSet;

use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

/// Members in a folder (one that ends in `/` holds many), the members they may depend on, and what they must not use.
struct Edges {
    folder: &'static str,
    to: &'static [&'static str],
    /// Crates from outside, with all whose names go on after a `-`.
    never: &'static [&'static str],
}

const BURN: [&str; 2] = ["burn", "cubecl"];

const DRAWN: [Edges; 11] = [
    Edges { folder: "host/engine", to: &[], never: &["wasmtime", "wit", "wasi", "axum", "hyper", "http", "tower"] },
    Edges { folder: "host/policy", to: &[], never: &["burn", "cubecl", "wasmtime", "axum", "hyper", "tokio"] },
    Edges { folder: "host/store", to: &[], never: &["burn", "cubecl", "wasmtime", "axum", "hyper"] },
    Edges { folder: "host/runtime", to: &["engine", "policy", "store"], never: &BURN },
    Edges { folder: "host/cli", to: &["engine", "policy", "runtime"], never: &BURN },
    Edges { folder: "sdk", to: &[], never: &["wasmtime", "burn", "cubecl"] },
    Edges { folder: "components/", to: &["tessera-sdk"], never: &["wasmtime", "burn", "cubecl"] },
    Edges { folder: "tests/guests/", to: &["tessera-sdk"], never: &["wasmtime", "burn", "cubecl"] },
    Edges { folder: "tests/hostile", to: &["tessera-sdk"], never: &["wasmtime", "burn", "cubecl"] },
    Edges { folder: "tests", to: &["engine", "policy", "store", "runtime", "cli"], never: &BURN },
    Edges { folder: "benches", to: &["engine", "policy", "store", "runtime", "cli", "tests"], never: &[] },
];

/// Guests that show what others make: without our SDK.
const STANDARD_GUESTS: [&str; 6] = [
    "tests/guests/callee",
    "tests/guests/caller",
    "tests/guests/wasi-http-02",
    "tests/guests/wasi-http-03",
    "tests/guests/generate-poll",
    "tests/guests/nn",
];

/// Words that name no idea, so that anything ends up in them.
const NAMELESS: [&str; 10] = ["common", "util", "utils", "core", "type", "types", "helper", "helpers", "misc", "shared"];

/// A crate of the workspace.
struct Member {
    name: String,
    folder: String,
    /// Of every kind: for the build and for tests as well.
    dependencies: Vec<String>,
}

#[test]
fn crates_depend_only_along_the_drawn_edges() {
    assert_tidy(&check(Tree::ours(), &members()));
}

fn members() -> Vec<Member> {
    let root = tests::root();
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".into()])
        .exec()
        .expect("cargo metadata reads the workspace");
    let member = |package: &cargo_metadata::Package| {
        let folder = package.manifest_path.parent().expect("a manifest is in a folder");
        let folder = folder.as_std_path().strip_prefix(root).expect("a member is in the workspace");
        let dependencies = package.dependencies.iter().map(|dependency| dependency.name.clone()).collect();
        Member { name: package.name.to_string(), folder: folder.to_string_lossy().replace('\\', "/"), dependencies }
    };
    metadata.workspace_packages().into_iter().map(member).collect()
}

fn check(tree: &Tree, members: &[Member]) -> Vec<Offence> {
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut offences = Vec::new();
    for Member { name, folder, dependencies } in members {
        let path = format!("{folder}/Cargo.toml");
        let line_of = |start: &str| tree.file(&path).map_or(1, |file| file.line_of(start));
        let mut offend = |line, remedy: String| offences.push(Offence::new(&path, line, remedy));
        if let Some(word) = name.split(['-', '_']).find(|word| NAMELESS.contains(word)) {
            offend(line_of("name"), format!("a crate called `{word}` takes anything: name what it is about"));
        }
        let Some(edges) = DRAWN.iter().find(|edges| edges.hold_for(folder)) else {
            offend(1, "a new kind of crate: draw it in README.md and in tests/tidy/edges.rs".into());
            continue;
        };
        for dependency in dependencies {
            let allowed = edges.to.contains(&dependency.as_str()) && !STANDARD_GUESTS.contains(&folder.as_str());
            if ours.contains(dependency.as_str()) && !allowed {
                offend(line_of(dependency), format!("`{name}` must not depend on `{dependency}`: no such edge is drawn"));
            }
            if let Some(never) = edges.never.iter().find(|never| is_of(dependency, never)) {
                offend(line_of(dependency), format!("`{name}` knows no {never}: leave `{dependency}` to the crate that does"));
            }
        }
    }
    offences
}

impl Edges {
    fn hold_for(&self, folder: &str) -> bool {
        match self.folder.strip_suffix('/') {
            Some(parent) => folder.rsplit_once('/').is_some_and(|(above, _)| above == parent),
            None => folder == self.folder,
        }
    }
}

fn is_of(dependency: &str, family: &str) -> bool {
    dependency.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[test]
fn the_members_are_read_from_cargo() {
    let members = members();
    let runtime = members.iter().find(|member| member.folder == "host/runtime").expect("a member");
    for dependency in ["engine", "wasmtime", "tempfile"] {
        assert!(runtime.dependencies.iter().any(|name| name == dependency), "{dependency}");
    }
    assert!(members.len() > 10);
}

#[test]
fn an_edge_that_is_not_drawn_is_caught() {
    let member = |folder: &str, name: &str, dependencies: &[&str]| Member {
        name: name.into(),
        folder: folder.into(),
        dependencies: dependencies.iter().map(|&dependency| dependency.into()).collect(),
    };
    let members = [
        member("host/engine", "engine", &["policy", "burn", "hyper-util", "httparse"]),
        member("host/policy", "policy", &["serde", "engine"]),
        member("host/runtime", "runtime", &["engine", "policy", "burn-flex", "burnish", "cli"]),
        member("host/cli", "cli", &["runtime", "burn"]),
        member("sdk", "tessera-sdk", &["policy"]),
        member("components/chat", "chat", &["tessera-sdk", "runtime", "wasmtime"]),
        member("tests/guests/echo", "echo", &["tessera-sdk", "chat"]),
        member("tests/guests/wasi-http-02", "two", &["tessera-sdk"]),
        member("tests", "tests", &["engine", "policy", "runtime", "cli"]),
        member("benches", "benches", &["tests", "burn"]),
        member("host/core", "tessera-core", &[]),
    ];
    let tree = Tree::made_of(&[("host/engine/Cargo.toml", "[dependencies]\nburn = 1\npolicy.workspace = true\n")]);
    let expected = [
        ("host/engine/Cargo.toml", 3, "`engine` must not depend on `policy`"),
        ("host/engine/Cargo.toml", 1, "`engine` knows no hyper"),
        ("host/policy/Cargo.toml", 1, "`policy` must not depend on `engine`"),
        ("host/runtime/Cargo.toml", 1, "leave `burn-flex`"),
        ("host/runtime/Cargo.toml", 1, "must not depend on `cli`"),
        ("host/cli/Cargo.toml", 1, "leave `burn`"),
        ("sdk/Cargo.toml", 1, "must not depend on `policy`"),
        ("components/chat/Cargo.toml", 1, "must not depend on `runtime`"),
        ("components/chat/Cargo.toml", 1, "knows no wasmtime"),
        ("tests/guests/echo/Cargo.toml", 1, "must not depend on `chat`"),
        ("tests/guests/wasi-http-02/Cargo.toml", 1, "must not depend on `tessera-sdk`"),
        ("host/core/Cargo.toml", 1, "a crate called `core`"),
        ("host/core/Cargo.toml", 1, "a new kind of crate"),
    ];
    assert_caught(&check(&tree, &members), &expected);
}
