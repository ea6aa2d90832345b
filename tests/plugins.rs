//! The templates of plugins, as `tessera new` writes them: those in Rust are built and pass their cases. `make test-plugins` does
//! the same in the other languages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::root;

/// The folder that cargo builds into.
fn target() -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    let folders = here.ancestors().find(|folder| folder.ends_with("release"));
    folders.and_then(Path::parent).expect("tests are built in release/").to_owned()
}

/// Runs the command that was built beside the tests.
fn tessera(folder: &Path, arguments: &[&str]) -> Output {
    let program = target().join("release/tessera");
    let mut command = Command::new(&program);
    // Guests share a target folder, so that what they have in common is built once.
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", target().join("guests"));
    command.output().unwrap_or_else(|error| panic!("{}: {error}: run `make build` first", program.display()))
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let done = tessera(folder, arguments);
    let text = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success(), "tessera {}\n{text}", arguments.join(" "));
    text
}

#[test]
fn every_template_in_rust_is_built_and_passes_its_cases() {
    let parent = tempfile::tempdir().expect("a folder");
    for template in ["service", "guard", "tool", "pipeline"] {
        let name = format!("rust-{template}");
        succeeds(parent.path(), &["new", &name, "--lang", "rust", "--template", template]);
        let folder = parent.path().join(&name);
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("copies");
        succeeds(&folder, &["build"]);
        let checked = succeeds(&folder, &["check"]);
        assert!(checked.contains("ok          it loads"), "{checked}");
        assert!(!checked.contains("!  "), "the template wants what it does not use:\n{checked}");
        assert!(succeeds(&folder, &["test"]).contains("cases passed"));
        succeeds(&folder, &["package"]);
    }
}

#[test]
fn a_case_that_does_not_hold_fails_and_a_grant_that_is_missing_is_told() {
    let parent = tempfile::tempdir().expect("a folder");
    succeeds(parent.path(), &["new", "mine", "--lang", "rust"]);
    let folder = parent.path().join("mine");
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("copies");
    succeeds(&folder, &["build"]);
    std::fs::write(folder.join("cases/similarity/response.json"), "{\"status\": 201}").expect("writes");
    let failed = tessera(&folder, &["test", "--only", "similarity"]);
    let text = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(!failed.status.success() && text.contains("the status is 200 and should be 201"), "{text}");
    std::fs::write(folder.join("policy.toml"), "schema = 1\n").expect("writes");
    let checked = tessera(&folder, &["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && text.contains("policy.toml does not grant `generate`: add"), "{text}");
}
