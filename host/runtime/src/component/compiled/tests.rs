use super::*;

/// The smallest component there is: magic, version 13, layer 1.
const EMPTY: [u8; 8] = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0];
/// Another one: the same with an empty custom section.
const OTHER: [u8; 12] = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0, 0, 2, 1, b'x'];

fn config(folder: &Path, compiler: Option<&str>) -> ServerConfig {
    let compiler = compiler.map(|script| ["/bin/sh", "-c", script].map(std::ffi::OsString::from).into());
    ServerConfig { data: folder.into(), compiler, compile_ms_max: 300, ..ServerConfig::default() }
}

/// A cache as a server has it, and the count of entries that it refused.
fn cache(config: &ServerConfig, engine: &Engine) -> (Cache, Counter) {
    let refused = Counter::default();
    (Cache::open(config, engine, refused.clone()), refused)
}

fn load(wasm: &[u8], config: &ServerConfig) -> Result<u64, LoadError> {
    let engine = Engine::default();
    let (cache, refused) = cache(config, &engine);
    cache.load(&engine, wasm, Digest::of(wasm), config).map(|_| refused.get())
}

/// The entries, in order of name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("compiled")).expect("lists").flatten();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn entry_of(folder: &Path, wasm: &[u8]) -> PathBuf {
    let hex = Digest::of(wasm).hex();
    entries(folder).into_iter().find(|entry| entry.to_string_lossy().contains(&hex)).expect("an entry")
}

#[test]
fn a_component_is_compiled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(load(&EMPTY, &config(folder.path(), None)).expect("compiles"), 0);
    assert_eq!(entries(folder.path()).len(), 1);
    // A compiler that fails is not asked.
    let failing = config(folder.path(), Some("exit 1"));
    assert_eq!(load(&EMPTY, &failing).expect("is cached"), 0);
    assert!(load(&OTHER, &failing).is_err(), "and is asked for another");
}

#[test]
fn an_entry_that_this_server_did_not_write_is_told_and_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), None);
    for wasm in [&EMPTY[..], &OTHER] {
        load(wasm, &config).expect("compiles");
    }
    let (empty, other) = (entry_of(folder.path(), &EMPTY), entry_of(folder.path(), &OTHER));
    let good = std::fs::read(&empty).expect("reads");
    let mut altered = good.clone();
    *altered.last_mut().expect("bytes") ^= 1;
    let mut other_tag = good.clone();
    other_tag[0] ^= 1;
    let unsealed = compile(&Engine::default(), &EMPTY).expect("compiles");
    let of_another = std::fs::read(other).expect("reads");
    for poison in [&altered, &other_tag, &unsealed, &of_another, &good[..good.len() - 1].to_vec(), &b"short".to_vec(), &vec![]]
    {
        std::fs::write(&empty, poison).expect("writes");
        assert_eq!(load(&EMPTY, &config).expect("compiles again"), 1);
        assert_eq!(std::fs::read(&empty).expect("reads"), good, "the entry is good again");
        assert_eq!(load(&EMPTY, &config).expect("is cached"), 0);
    }
}

#[test]
fn an_entry_of_another_key_is_compiled_again() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (here, there) = (config(folder.path(), None), config(other.path(), None));
    load(&EMPTY, &here).expect("compiles");
    load(&EMPTY, &there).expect("compiles");
    let (own, foreign) = (entry_of(folder.path(), &EMPTY), entry_of(other.path(), &EMPTY));
    assert_ne!(std::fs::read(&own).expect("reads"), std::fs::read(&foreign).expect("reads"));
    std::fs::copy(foreign, own).expect("copies");
    assert_eq!(load(&EMPTY, &here).expect("compiles again"), 1);
}

#[test]
fn an_entry_that_is_too_long_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = ServerConfig { component_bytes_max: 1 << 10, ..config(folder.path(), None) };
    load(&EMPTY, &config).expect("compiles");
    let entry = entry_of(folder.path(), &EMPTY);
    File::options().write(true).open(&entry).and_then(|file| file.set_len(1 << 30)).expect("grows");
    assert_eq!(load(&EMPTY, &config).expect("compiles again"), 1);
    assert!(std::fs::metadata(entry).expect("is there").len() < 1 << 30);
}

#[test]
fn what_is_compiled_are_the_bytes_that_were_hashed() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("chat");
    std::fs::create_dir(&component).expect("a folder");
    let manifest = "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n";
    std::fs::write(component.join("component.toml"), manifest).expect("writes");
    let (code, seen) = (component.join("component.wasm"), folder.path().join("seen"));
    std::fs::write(&code, EMPTY).expect("writes");
    let compiled = folder.path().join("compiled-before");
    std::fs::write(&compiled, compile(&Engine::default(), &EMPTY).expect("compiles")).expect("writes");
    // While it compiles, the file becomes another.
    let [to, swapped, from] = [&seen, &code, &compiled].map(|path| path.display().to_string());
    let script = format!("cat > {to}; echo swapped > {swapped}; exec cat {from}");
    let config = config(folder.path(), Some(&script));
    let files = crate::component::files::ComponentFiles::read(&component, 100).expect("reads");
    let engine = Engine::default();
    cache(&config, &engine).0.load(&engine, &files.contents.code, files.code_digest(), &config).expect("loads");
    assert_eq!(std::fs::read(code).expect("reads"), b"swapped\n");
    let compiled = std::fs::read(seen).expect("reads");
    assert_eq!((compiled.as_slice(), Digest::of(&compiled)), (&EMPTY[..], files.code_digest()));
}

#[test]
fn what_is_no_component_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for wasm in [&b""[..], b"(component)", b"\0asm\x01\0\0\0"] {
        assert!(load(wasm, &config(folder.path(), None)).is_err());
    }
}

#[test]
fn without_a_key_nothing_is_cached_and_components_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("writes");
    assert_eq!(load(&EMPTY, &config(&file, None)).expect("compiles"), 0);
}

#[test]
fn a_compiler_that_takes_too_long_is_killed_and_one_that_fails_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |script| load(&EMPTY, &config(folder.path(), Some(script))).map(drop).expect_err("fails");
    assert!(matches!(error("exec sleep 100"), LoadError::CompileTime { ms: 300 }));
    assert!(error("cat > /dev/null; echo it is wrong >&2; exit 1").to_string().contains("it is wrong"));
    assert!(error("cat > /dev/null; kill -9 $$").to_string().contains("too much memory"));
}

#[test]
fn a_compiler_in_its_own_process_gives_the_same_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let code = folder.path().join("code");
    std::fs::write(&code, compile(&Engine::default(), &EMPTY).expect("compiles")).expect("writes");
    let script = format!("cat > /dev/null; exec cat {}", code.display());
    load(&EMPTY, &config(folder.path(), Some(&script))).expect("loads");
}
