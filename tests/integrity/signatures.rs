//! Signed and pinned components: what runs is what was signed, and nothing older.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::{Digest, SigningKey, Statement};
use serde_json::Value;
use tempfile::TempDir;
use tests::{FakeInference, Setup, TestServer, eventually};

/// A key that tests sign with.
struct Key {
    name: &'static str,
    key: SigningKey,
}

impl Key {
    fn new(name: &'static str) -> Key {
        let file = SigningKey::generate().expect("a key");
        Key { name, key: SigningKey::parse(file.as_bytes()).expect("a key") }
    }

    /// `signers.toml` with this key alone.
    fn signers(&self, required: bool) -> String {
        format!("schema = 1\nrequired = {required}\n[signers]\n{} = \"{}\"\n", self.name, self.key.public())
    }

    /// Signs a component as it lies in its folder.
    fn sign(&self, folder: &Path) {
        let manifest = std::fs::read(folder.join("component.toml")).expect("reads");
        let table: toml::Table = String::from_utf8_lossy(&manifest).parse().expect("a manifest");
        let field = |key: &str| table[key].as_str().expect("a text").to_owned();
        let (name, version) = (field("name").parse().expect("a name"), field("version").parse().expect("a version"));
        let code = Digest::of(&std::fs::read(folder.join("component.wasm")).expect("reads"));
        let statement = Statement { name: &name, version: &version, manifest: Digest::of(&manifest), code };
        let signature = self.key.sign(self.name, &statement);
        std::fs::write(folder.join("component.sig"), signature.to_text()).expect("writes");
    }
}

/// A server with a data folder of its own, where components have to be signed by `ops`.
fn setup(ops: &Key, data: &Path) -> Setup {
    let data = data.to_owned();
    let setup = Setup::new(Arc::new(FakeInference::default())).configure(|config| config.data = data);
    setup.policy("signers", &ops.signers(true))
}

/// The guest `echo` under another name and in a version.
fn echo(setup: Setup, name: &str, version: &str) -> (Setup, PathBuf) {
    let version = version.to_owned();
    let setup = setup.guest_as(name, "echo", move |manifest| manifest.replacen("0.1.0", &version, 1));
    let folder = setup.component_folder(name);
    (setup, folder)
}

fn data() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn service(server: &TestServer, name: &str) -> Value {
    let services = server.get("/v1/list_service").json()["services"].clone();
    let services = services.as_array().expect("a list").clone();
    services.into_iter().find(|service| service["name"] == name).expect("is listed")
}

#[test]
fn a_component_that_is_signed_by_a_trusted_key_runs_and_is_told_with_digest_and_signer() {
    let (ops, data) = (Key::new("ops"), data());
    let (setup, folder) = echo(setup(&ops, data.path()), "echo", "1.0.0");
    ops.sign(&folder);
    let digest = Digest::of(&std::fs::read(folder.join("component.wasm")).expect("reads")).to_string();
    let server = setup.start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    let service = service(&server, "echo");
    assert_eq!((service["digest"].as_str(), service["signer"].as_str()), (Some(digest.as_str()), Some("ops")));
    let record = std::fs::read_to_string(data.path().join("components.json")).expect("is recorded");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    let run = &record["components"]["echo"]["runs"][0];
    assert_eq!((run["digest"].as_str(), run["signer"].as_str()), (Some(digest.as_str()), Some("ops")));
    assert_eq!(record["components"]["echo"]["version_max"], "1.0.0");
}

#[test]
fn what_is_not_signed_or_not_as_it_was_signed_is_refused_with_the_reason() {
    let (ops, stranger, data) = (Key::new("ops"), Key::new("stranger"), data());
    let impostor = Key { name: "ops", key: Key::new("x").key };
    let mut setup = setup(&ops, data.path());
    for name in ["unsigned", "untrusted", "forged", "code", "manifest", "wants-more", "copied", "older", "garbage", "good"] {
        let (next, folder) = echo(setup, name, "1.0.0");
        setup = next;
        match name {
            "unsigned" => {}
            "untrusted" => stranger.sign(&folder),
            "forged" => impostor.sign(&folder),
            _ => ops.sign(&folder),
        }
    }
    let file = |name: &str, file: &str| setup.component_folder(name).join(file);
    let change = |path: PathBuf, from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).expect("reads");
        std::fs::write(path, text.replacen(from, to, 1)).expect("writes");
    };
    let mut code = std::fs::read(file("code", "component.wasm")).expect("reads");
    *code.last_mut().expect("bytes") ^= 1;
    std::fs::write(file("code", "component.wasm"), code).expect("writes");
    change(file("manifest", "component.toml"), "concurrency_max = 16", "concurrency_max = 17");
    change(file("wants-more", "component.toml"), "capabilities = []", "capabilities = [\"log\"]");
    std::fs::copy(file("good", "component.sig"), file("copied", "component.sig")).expect("copies");
    change(file("older", "component.toml"), "1.0.0", "1.0.1");
    std::fs::write(file("garbage", "component.sig"), b"\xff\x00 no signature").expect("writes");
    let server = setup.start();
    for (name, reason) in [
        ("unsigned", "it is not signed"),
        ("untrusted", "component.sig is of the key `stranger`"),
        ("forged", "is not what the key `ops` has signed"),
        ("code", "is not what the key `ops` has signed"),
        ("manifest", "is not what the key `ops` has signed"),
        ("wants-more", "is not what the key `ops` has signed"),
        ("copied", "is not what the key `ops` has signed"),
        ("older", "is not what the key `ops` has signed"),
        ("garbage", "component.sig is no signature"),
    ] {
        assert!(server.failure(name).contains(reason), "{name}: {}", server.failure(name));
        assert_eq!(server.get(&format!("/c/{name}/hello")).status, 404, "{name}");
        assert_eq!(service(&server, name)["status"], "not loaded");
    }
    assert_eq!(server.get("/c/good/hello").text(), "hello");
}

#[test]
fn an_older_signed_version_runs_only_when_the_policy_says_so() {
    let (ops, data) = (Key::new("ops"), data());
    let start = |version: &str, policy: &str| {
        let (setup, folder) = echo(setup(&ops, data.path()), "echo", version);
        ops.sign(&folder);
        setup.policy("echo", &format!("schema = 1\n{policy}")).start()
    };
    assert_eq!(start("1.2.0", "").failures, []);
    assert_eq!(start("1.3.0", "").failures, []);
    let refused = start("1.2.0", "");
    for words in ["1.3.0 has run here already", "components.json", "version_min = \"1.2.0\""] {
        assert!(refused.failure("echo").contains(words), "{}", refused.failure("echo"));
    }
    drop(refused); // one server at a time has the folder
    assert_eq!(start("1.2.0", "[component]\nversion_min = \"1.2.0\"\n").failures, []);
    assert!(start("1.1.0", "[component]\nversion_min = \"1.2.0\"\n").failure("echo").contains("`[component] version_min`"));
    assert!(start("1.2.9", "").failure("echo").contains("1.3.0 has run"), "what ran is not forgotten");
}

#[test]
fn a_record_of_what_ran_that_can_not_be_read_stops_the_start() {
    let data = data();
    std::fs::write(data.path().join("components.json"), "{\"schema\": 1").expect("writes");
    let config = runtime::ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        components: data.path().join("none"),
        policies: data.path().join("none"),
        data: data.path().into(),
        ..runtime::ServerConfig::default()
    };
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let error = tokio.block_on(runtime::Server::start(config, Arc::new(FakeInference::default()))).err().expect("is refused");
    assert!(error.to_string().contains("components.json, is damaged"), "{error}");
}

#[test]
fn a_pin_that_changes_stops_a_running_component_and_one_that_fits_lets_it_run_again() {
    let data = data();
    let path = data.path().to_owned();
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").configure(|config| config.data = path);
    let code = std::fs::read(setup.component_folder("echo").join("component.wasm")).expect("reads");
    let pin = |digest: Digest| format!("schema = 1\n[component]\ndigests = [\"{digest}\"]\n");
    let policies = setup.config.policies.clone();
    let write = |name: &str, text: &str| {
        let draft = policies.join(".draft");
        std::fs::write(&draft, text).and_then(|()| std::fs::rename(draft, policies.join(name))).expect("writes");
    };
    let server = setup.policy("echo", &pin(Digest::of(&code))).start();
    let until = |status| eventually(|| (server.get("/c/echo/hello").status == status).then_some(()));
    until(200);
    write("echo.toml", &pin(Digest::of(b"other")));
    until(404);
    let stopped = service(&server, "echo");
    assert!(stopped["reason"].as_str().is_some_and(|reason| reason.contains(&Digest::of(&code).to_string())), "{stopped}");
    write("echo.toml", &pin(Digest::of(&code)));
    until(200);
    // From now on everything has to be signed, and this is not; that its own policy is malformed does not save it.
    write("echo.toml", "schema = 1\n[component");
    write("signers.toml", &Key::new("ops").signers(true));
    until(404);
    std::fs::remove_file(policies.join("signers.toml")).expect("removes");
    write("echo.toml", "schema = 1\n");
    until(200);
}

#[test]
fn a_key_that_is_trusted_no_more_stops_what_it_signed() {
    let (ops, next, data) = (Key::new("ops"), Key::new("next"), data());
    let (setup, folder) = echo(setup(&ops, data.path()), "echo", "1.0.0");
    ops.sign(&folder);
    let policies = setup.config.policies.clone();
    let server = setup.start();
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    let draft = policies.join(".draft");
    std::fs::write(&draft, next.signers(true)).expect("writes");
    std::fs::rename(draft, policies.join("signers.toml")).expect("renames");
    eventually(|| (server.get("/c/echo/hello").status == 404).then_some(()));
    let is_told = || service(&server, "echo")["reason"].as_str().is_some_and(|reason| reason.contains("of the key `ops`"));
    eventually(|| is_told().then_some(()));
}

#[test]
fn no_policy_shows_a_component_the_servers_own_folders() {
    let (data, models) = (data(), tempfile::tempdir().expect("a temporary folder"));
    let (path, models_path) = (data.path().to_owned(), models.path().to_owned());
    let setup = Setup::new(Arc::new(FakeInference::default())).configure(|config| {
        config.data = path;
        config.models = models_path;
    });
    let (components, policies) = (setup.config.components.clone(), setup.config.policies.clone());
    let cases = [
        ("compiled", data.path().join("compiled"), "read-write", Some("`data`")),
        ("data", data.path().into(), "read", Some("`data`")),
        ("above", data.path().parent().expect("a folder").into(), "read-write", Some("`data`")),
        ("components", components, "read-write", Some("`components`")),
        ("policies", policies, "read", Some("`policies`")),
        ("models", models.path().into(), "read-write", Some("`models`")),
        ("reads-models", models.path().into(), "read", None),
    ];
    let mut setup = setup;
    for (name, host, access, _) in &cases {
        let grant =
            format!("[env]\n[http]\n[secret]\n[fs]\nallow = [{{ host = {host:?}, guest = \"/a\", access = \"{access}\" }}]\n");
        setup = setup.guest_as(name, "outbound", |manifest| manifest).policy(name, &format!("schema = 1\n{grant}"));
    }
    let server = setup.start();
    for (name, _, _, what) in cases {
        match what {
            Some(what) => {
                let failure = server.failure(name);
                assert!(failure.contains(what) && failure.contains("name another folder"), "{name}: {failure}");
            }
            None => assert!(!server.failures.iter().any(|(failed, _)| failed == name), "{:?}", server.failures),
        }
    }
}
