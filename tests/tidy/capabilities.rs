//! One capability, one name, six places.

use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy, docs, wit};

/// Files of a capability `NAME`, and what each of them is for.
const FILES: [(&str, &str); 5] = [
    ("wit/NAME.wit", "its package"),
    ("sdk/src/NAME.rs", "its guest side"),
    ("host/policy/src/grant/NAME.rs", "its policy section and checks"),
    ("host/runtime/src/capability/NAME.rs", "its `Host` impl"),
    ("tests/capability/NAME.rs", "its tests: allow, deny, limit, hostile"),
];

/// Capabilities that are standard interfaces of WASI, and `call`, whose interfaces components make up between them. Others wrote
/// the first two of their files: guests use their WIT as it is.
const STANDARD: [&str; 4] = ["call", "env", "fs", "nn"];

#[test]
fn every_capability_has_its_six_places() {
    assert_tidy(&check(Tree::ours()));
}

#[test]
fn every_standard_capability_has_the_places_that_are_ours() {
    assert_tidy(&places(Tree::ours(), &STANDARD.map(String::from), &FILES[2..]));
}

#[test]
fn policies_have_sections_for_the_capabilities_of_world_service() {
    let capabilities = wit::capabilities(Tree::ours()).expect("wit/ resolves");
    let mut named = policy::CAPABILITIES.to_vec();
    named.retain(|name| !STANDARD.contains(name));
    named.sort_unstable();
    assert_eq!(capabilities, named, "wit/service.wit imports the left, host/policy/src/grant.rs names the right");
}

fn check(tree: &Tree) -> Vec<Offence> {
    wit::capabilities(tree).map_or_else(|offence| vec![offence], |names| places(tree, &names, &FILES))
}

fn places(tree: &Tree, names: &[String], files: &[(&str, &str)]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for name in names {
        for (file, what) in files.iter().map(|(file, what)| (file.replace("NAME", &name.replace('-', "_")), what)) {
            // WIT files keep the dashes of the name.
            let file = if file.ends_with(".wit") { format!("wit/{name}.wit") } else { file };
            if !tree.has(&file) {
                offences.push(Offence::new(&file, 1, format!("capability `{name}` lacks {what}: add this file")));
            }
        }
        if !docs::sections(tree).contains(name) {
            offences.push(Offence::new(docs::POLICIES, 1, format!("capability `{name}` lacks its heading `[{name}]`: add it")));
        }
        if docs::policy_sections(tree).iter().all(|section| *section != name.replace('-', "_")) {
            let remedy = format!("capability `{name}` lacks its field in `PolicyFile`: add it");
            offences.push(Offence::new(docs::POLICY_FILE, 1, remedy));
        }
    }
    offences
}

#[test]
fn a_missing_place_is_named() {
    let package = "package tessera:kv-store@0.1.0;\ninterface kv { get: func(); }\n";
    let types = "package tessera:types@0.1.0;\ninterface types { type t = u8; }\n";
    let world = "package tessera:service@0.1.0;\nworld service {\n  import tessera:kv-store/kv@0.1.0;\n  import tessera:types/types@0.1.0;\n}\n";
    let mut files = vec![
        ("wit/service.wit", world),
        ("wit/types.wit", types),
        ("wit/kv-store.wit", package),
        ("host/policy/src/grant/kv_store.rs", ""),
        ("host/runtime/src/capability/kv_store.rs", ""),
        ("sdk/src/kv_store.rs", ""),
        ("tests/capability/kv_store.rs", ""),
        ("policies/README.md", "## `[kv-store]`\n"),
        ("host/policy/src/snapshot.rs", "pub struct PolicyFile { pub kv_store: Option<KvGrant> }"),
    ];
    assert_tidy(&check(&Tree::made_of(&files)));
    for at in 3..files.len() {
        let (path, text) = files.remove(at);
        let offences = check(&Tree::made_of(&files));
        assert_caught(&offences, &[(path, 1, "capability `kv-store` lacks")]);
        files.insert(at, (path, text));
    }
    files[2].0 = "wit/kv.wit";
    assert_caught(&check(&Tree::made_of(&files)), &[("wit/kv-store.wit", 1, "lacks its package")]);
}
