//! Compiled code: what runs is what was hashed, and what lies in the cache runs only if the server wrote it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::Digest;
use tempfile::TempDir;
use tests::{FakeInference, Setup, TestServer};

/// Bytes before the code in an entry of the cache.
const TAG_BYTES: usize = 32;

fn setup(data: &Path) -> Setup {
    let data = data.to_owned();
    Setup::new(Arc::new(FakeInference::default())).configure(|config| config.data = data)
}

/// A data folder in which `echo` and `naughty` are compiled, and the entries of the two.
fn compiled() -> (TempDir, PathBuf, PathBuf) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let setup = setup(data.path()).guest("echo").guest("naughty");
    let entry = |name: &str| {
        let code = std::fs::read(setup.component_folder(name).join("component.wasm")).expect("reads");
        Digest::of(&code).hex()
    };
    let (echo, naughty) = (entry("echo"), entry("naughty"));
    assert_eq!(setup.start().failures, []);
    let find = |hex: &str| {
        let mut entries = std::fs::read_dir(data.path().join("compiled")).expect("lists").flatten();
        entries.find(|entry| entry.file_name().to_string_lossy().starts_with(hex)).expect("an entry").path()
    };
    let (echo, naughty) = (find(&echo), find(&naughty));
    (data, echo, naughty)
}

fn refused(server: &TestServer) -> f64 {
    server.metric("tessera_compiled_cache_refused_total")
}

#[test]
fn an_entry_that_was_poisoned_is_told_and_compiled_again() {
    let (data, echo, naughty) = compiled();
    let good = std::fs::read(&echo).expect("reads");
    let of_another = std::fs::read(naughty).expect("reads");
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    let cut = good[..good.len() - 1].to_vec();
    for poison in [of_another, altered, cut, good[TAG_BYTES..].to_vec()] {
        std::fs::write(&echo, poison).expect("writes");
        let server = setup(data.path()).guest("echo").start();
        assert_eq!((server.get("/c/echo/hello").text(), refused(&server)), ("hello".into(), 1.0));
        assert_eq!(std::fs::read(&echo).expect("reads"), good, "the entry is whole again");
    }
    let server = setup(data.path()).guest("echo").start();
    assert_eq!((server.get("/c/echo/hello").text(), refused(&server)), ("hello".into(), 0.0));
}

#[test]
fn a_component_that_is_swapped_while_it_compiles_runs_as_it_was_hashed() {
    let (before, entry, _) = compiled();
    let data = tempfile::tempdir().expect("a temporary folder");
    let setup = setup(data.path()).guest("echo");
    let wasm = setup.component_folder("echo").join("component.wasm");
    let evil = tests::root().join("tests/guests/naughty/component.wasm");
    let old = std::fs::read(&wasm).expect("reads");
    // A compiler that gives the attacker the time that an attacker would like to have.
    let seen = before.path().join("seen");
    let [seen_at, evil_at, wasm_at, entry_at] = [&seen, &evil, &wasm, &entry].map(|path| path.display().to_string());
    let script = format!("cat > {seen_at}; cp {evil_at} {wasm_at}; exec tail -c +{} {entry_at}", TAG_BYTES + 1);
    let compiler = ["/bin/sh", "-c", &script].map(std::ffi::OsString::from).into();
    let server = setup.configure(|config| config.compiler = Some(compiler)).start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    assert_eq!(std::fs::read(seen).expect("reads"), old, "what is compiled is what was read at first");
    let services = server.get("/v1/list_service").json();
    assert_eq!(services["services"][0]["digest"], Digest::of(&old).to_string());
    // In the cache it is under the digest of what it is.
    let entries = std::fs::read_dir(data.path().join("compiled")).expect("lists").flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(matches!(&names[..], [name] if name.starts_with(&Digest::of(&old).hex())), "{names:?}");
}
