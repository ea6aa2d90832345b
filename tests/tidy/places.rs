//! What may be said in one place only: Burn's backends, generated bindings, `unsafe`, lints taken off.

use super::rust;
use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

/// Rust code that may stand only where it is said here.
struct Ban {
    code: &'static [&'static str],
    /// Files, folders that end in `/`, or files in which `*` is the name of any folder.
    only_in: &'static [&'static str],
    /// Whether code under `#[cfg(test)]` is bound as well.
    tests: Tests,
    remedy: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    Bound,
    Free,
}

/// Rust code that has to stand in a file.
struct Must {
    file: &'static str,
    code: &'static str,
    remedy: &'static str,
}

const UNSAFE: [&str; 3] =
    ["host/runtime/src/component/compiled.rs", "host/engine/src/kernel/", "host/engine/src/weights/map.rs"];

/// Generated code of guests that are made without our SDK.
const STANDARD_BINDINGS: [&str; 6] = [
    "tests/guests/callee/src/bindings.rs",
    "tests/guests/caller/src/bindings.rs",
    "tests/guests/generate-poll/src/bindings.rs",
    "tests/guests/mixed/src/bindings.rs",
    "tests/guests/nn/src/bindings.rs",
    "tests/guests/types/src/bindings.rs",
];

/// Generated code of components that others call, by interfaces of their own.
const OWN_BINDINGS: &str = "components/*/src/bindings.rs";

/// Backends as Burn 0.22 and the crates below it call them.
#[rustfmt::skip]
const BACKENDS: [&str; 23] = [
    "burn::backend", "DeviceType", "Flex", "Wgpu", "Cuda", "Rocm", "Hip", "Vulkan", "Metal", "WebGpu", "NdArray", "LibTorch",
    "FlexDevice", "WgpuDevice", "CudaDevice", "RocmDevice", "HipDevice",
    "burn_flex", "burn_wgpu", "burn_cuda", "burn_rocm", "burn_cubecl", "cubecl",
];

const BANS: [Ban; 9] = [
    Ban {
        code: &BACKENDS,
        only_in: &["host/engine/src/device.rs"],
        tests: Tests::Bound,
        remedy: "only host/engine/src/device.rs names Burn's backends: ask it for what is needed here",
    },
    Ban {
        code: &["bindgen!"],
        only_in: &["host/runtime/src/bindings.rs"],
        tests: Tests::Bound,
        remedy: "only host/runtime/src/bindings.rs calls `bindgen!`: add the WIT file there",
    },
    Ban {
        // Some test guests show what others make without our SDK.
        code: &["wit_bindgen::generate", "generate!"],
        only_in: &[
            "sdk/src/bindings.rs",
            OWN_BINDINGS,
            STANDARD_BINDINGS[0],
            STANDARD_BINDINGS[1],
            STANDARD_BINDINGS[2],
            STANDARD_BINDINGS[3],
            STANDARD_BINDINGS[4],
            STANDARD_BINDINGS[5],
            "sdk/templates/",
        ],
        tests: Tests::Bound,
        remedy: "capabilities are bound in sdk/src/bindings.rs, and a component's own interfaces in its src/bindings.rs",
    },
    Ban {
        code: &["unsafe"],
        only_in: &UNSAFE,
        tests: Tests::Bound,
        remedy: "unsafe code lives in the files that tests/tidy/places.rs names: call a safe function of theirs",
    },
    Ban {
        code: &["unsafe_code"],
        only_in: &[
            UNSAFE[0],
            UNSAFE[1],
            UNSAFE[2],
            "sdk/src/bindings.rs",
            OWN_BINDINGS,
            STANDARD_BINDINGS[0],
            STANDARD_BINDINGS[1],
            STANDARD_BINDINGS[2],
            STANDARD_BINDINGS[3],
            STANDARD_BINDINGS[4],
            STANDARD_BINDINGS[5],
            "host/cli/src/main.rs",
            "host/policy/src/lib.rs",
        ],
        tests: Tests::Bound,
        remedy: "the lint `unsafe_code` stays on here",
    },
    Ban {
        code: &["missing_docs"],
        only_in: &[
            "sdk/src/bindings.rs",
            "host/runtime/src/bindings.rs",
            OWN_BINDINGS,
            STANDARD_BINDINGS[0],
            STANDARD_BINDINGS[1],
            STANDARD_BINDINGS[2],
            STANDARD_BINDINGS[3],
            STANDARD_BINDINGS[4],
            STANDARD_BINDINGS[5],
        ],
        tests: Tests::Bound,
        remedy: "the lint `missing_docs` stays on: write the line that is missing",
    },
    Ban {
        code: &["todo!", "unimplemented!", "dbg!"],
        only_in: &[],
        tests: Tests::Bound,
        remedy: "finish it, or return a typed error that says what is not supported",
    },
    Ban {
        code: &[".unwrap()"],
        only_in: &["tests/", "benches/"],
        tests: Tests::Free,
        remedy: "return the error, or `expect(\"…\")` with the invariant that rules it out",
    },
    Ban { code: &["#[ignore]"], only_in: &[], tests: Tests::Bound, remedy: "say why: `#[ignore = \"…\"]`" },
];

const MUSTS: [Must; 4] = [
    Must { file: "host/runtime/src/bindings.rs", code: "bindgen!", remedy: "the host's bindings are made here" },
    Must { file: "sdk/src/bindings.rs", code: "wit_bindgen::generate!", remedy: "the guest's bindings are made here" },
    Must { file: "host/cli/src/main.rs", code: "#![forbid(unsafe_code)]", remedy: "add `#![forbid(unsafe_code)]`" },
    Must { file: "host/policy/src/lib.rs", code: "#![forbid(unsafe_code)]", remedy: "add `#![forbid(unsafe_code)]`" },
];

#[test]
fn what_has_one_place_is_nowhere_else() {
    assert_tidy(&banned(Tree::ours()));
}

#[test]
fn what_has_one_place_is_there() {
    assert_tidy(&missing(Tree::ours()));
}

fn banned(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.below("", ".rs") {
        let of_tests = is_test_module(tree, &file.path);
        let outside_tests = rust::outside_tests(&file.tokens);
        for ban in BANS.iter().filter(|ban| !ban.only_in.iter().any(|place| is_in(&file.path, place))) {
            let tokens = match ban.tests {
                Tests::Bound => &file.tokens,
                Tests::Free if of_tests => continue,
                Tests::Free => &outside_tests,
            };
            for code in ban.code {
                let remedy = format!("`{code}`: {}", ban.remedy);
                offences.extend(rust::find(tokens, code).into_iter().map(|line| Offence::new(&file.path, line, &remedy)));
            }
        }
    }
    offences
}

fn missing(tree: &Tree) -> Vec<Offence> {
    let lacks = |must: &&Must| tree.file(must.file).is_none_or(|file| file.find(must.code).is_empty());
    let places = UNSAFE.iter().filter(|place| !tree.has(place.trim_end_matches('/')));
    let gone = places.map(|place| Offence::new(place, 1, "is gone: take it out of tests/tidy/places.rs"));
    MUSTS.iter().filter(lacks).map(|must| Offence::new(must.file, 1, must.remedy)).chain(gone).collect()
}

fn is_in(path: &str, place: &str) -> bool {
    let is_like = |(before, after)| path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let has_any = place.split_once('*').and_then(is_like).is_some_and(|name| !name.contains('/'));
    path == place || has_any || (place.ends_with('/') && path.starts_with(place))
}

/// Whether a file is a module that its parent declares under `#[cfg(test)]`, or is below one.
fn is_test_module(tree: &Tree, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let module = format!("mod {};", name.trim_end_matches(".rs"));
    let parents = [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
    let declares = |parent: &String| {
        tree.file(parent).is_some_and(|file| {
            !file.find(&module).is_empty() && rust::find(&rust::outside_tests(&file.tokens), &module).is_empty()
        })
    };
    parents.iter().any(declares) || !folder.is_empty() && is_test_module(tree, &parents[0])
}

#[test]
fn every_ban_catches_what_it_bans() {
    for ban in &BANS {
        for code in ban.code {
            let text = format!("// {code}\nfn f() {{\n    {code} }}\n#[cfg(test)]\nmod tests {{ {code} }}");
            let mut files = vec![("host/runtime/src/other.rs", text.as_str())];
            files.extend(ban.only_in.iter().filter(|place| place.ends_with(".rs")).map(|place| (*place, text.as_str())));
            let caught = banned(&Tree::made_of(&files));
            let here: Vec<_> = caught.iter().filter(|offence| offence.remedy.contains(ban.remedy)).collect();
            let lines = match ban.tests {
                Tests::Bound => vec![3, 5],
                Tests::Free => vec![3],
            };
            let ours: Vec<_> = here.iter().filter(|o| o.remedy.starts_with(&format!("`{code}`"))).map(|o| o.line).collect();
            assert_eq!(ours, lines, "{code}: {caught:#?}");
            assert!(here.iter().all(|offence| offence.file == "host/runtime/src/other.rs"), "{code}: {caught:#?}");
        }
    }
}

#[test]
fn code_that_only_tests_compile_may_unwrap() {
    let tree = Tree::made_of(&[
        ("host/cli/src/main.rs", "#[cfg(test)]\nmod fake;\nmod real;"),
        ("host/cli/src/fake.rs", "fn f() { x.unwrap() }"),
        ("host/cli/src/real.rs", "fn f() { x.unwrap() }"),
    ]);
    assert_caught(&banned(&tree), &[("host/cli/src/real.rs", 1, "return the error")]);
}

#[test]
fn a_star_is_one_folder() {
    for (path, expected) in [
        ("components/chat/src/bindings.rs", true),
        ("components/chat/src/deep/src/bindings.rs", false),
        ("components/src/bindings.rs", false),
        ("tests/guests/chat/src/bindings.rs", false),
    ] {
        assert_eq!(is_in(path, OWN_BINDINGS), expected, "{path}");
    }
}

#[test]
fn a_place_that_is_empty_or_gone_is_caught() {
    let tree = Tree::made_of(&[
        ("host/runtime/src/bindings.rs", "// bindgen!"),
        ("sdk/src/bindings.rs", "wit_bindgen::generate!({});"),
        ("host/policy/src/lib.rs", "#![deny(unsafe_code)]"),
        ("host/engine/src/kernel/dot.rs", ""),
        ("host/engine/src/weights/map.rs", ""),
    ]);
    let expected = [
        ("host/runtime/src/bindings.rs", 1, "made here"),
        ("host/cli/src/main.rs", 1, "forbid"),
        ("host/policy/src/lib.rs", 1, "forbid"),
        ("host/runtime/src/component/compiled.rs", 1, "is gone"),
    ];
    assert_caught(&missing(&tree), &expected);
}
