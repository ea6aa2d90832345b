//! A whole server in this process, with components and policies of the test's choice.

use std::fs::Permissions;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use engine::{Engine, EngineConfig};
use policy::audit::Storage;
use runtime::{Backends, Inference, Server, ServerConfig, Stores};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{FakeInference, models, root};

/// What a server is started with.
pub struct Setup {
    folder: TempDir,
    inference: Arc<dyn Inference>,
    /// The rest of the configuration.
    pub config: ServerConfig,
    audit: Option<Box<dyn Storage>>,
    stores: Option<Stores>,
}

/// The policy of the guest `nn` on the one real server.
const NN: &str = "schema = 1\n[nn]\nmodels = [\"all-minilm-l6-v2\"]\n";

/// A running server. Dropping it shuts it down.
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it serves what is only for operators, if that is another address.
    pub admin_address: Option<SocketAddr>,
    /// Names of the components that did not load, and the text that says why.
    pub failures: Vec<(String, String)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

/// A server's answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the body broke off.
    pub is_broken: bool,
}

/// A data folder for one server. What one test compiled the others load.
fn data(folder: &Path) -> PathBuf {
    let (data, compiled) = (folder.join("data"), std::env::temp_dir().join("tessera-tests/compiled"));
    for folder in [&data, &compiled] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(data.join("compiled.key"), COMPILED_KEY).expect("writes");
    std::fs::set_permissions(data.join("compiled.key"), Permissions::from_mode(0o600)).expect("is the owner's");
    std::os::unix::fs::symlink(compiled, data.join("compiled")).expect("a link");
    data
}

/// What authenticates compiled code: the same for all, or none would take another's.
const COMPILED_KEY: [u8; 32] = *b"the key of all servers in tests.";

impl Setup {
    /// Nothing yet but an engine and the bundled `default.toml`.
    pub fn new(inference: Arc<dyn Inference>) -> Setup {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).expect("a folder");
            path
        };
        let policies = path("policies");
        std::fs::copy(root().join("policies/default.toml"), policies.join("default.toml")).expect("copies");
        let config = ServerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            components: path("components"),
            policies,
            data: data(folder.path()),
            drain_ms_max: 2000,
            ..ServerConfig::default()
        };
        Setup { folder, inference, config, audit: None, stores: None }
    }

    /// Adds a test guest under its own name, from `tests/guests/NAME`.
    pub fn guest(self, name: &str) -> Setup {
        let folder = root().join("tests/guests").join(name);
        self.component(name, &folder, |manifest| manifest)
    }

    /// Adds a test guest under another name, with its `component.toml` changed.
    pub fn guest_as(self, name: &str, guest: &str, change: impl FnOnce(String) -> String) -> Setup {
        let folder = root().join("tests/guests").join(guest);
        let rename = |manifest: String| manifest.replacen(&format!("name = \"{guest}\""), &format!("name = \"{name}\""), 1);
        self.component(name, &folder, |manifest| change(rename(manifest)))
    }

    /// Adds the component that attacks the host, from `tests/hostile`.
    pub fn hostile(self) -> Setup {
        self.component("hostile", &root().join("tests/hostile"), |manifest| manifest)
    }

    /// Adds a component that a test has made, which wants nothing.
    pub fn made(self, name: &str, code: &[u8]) -> Setup {
        let folder = self.component_folder(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let manifest = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n");
        std::fs::write(folder.join("component.toml"), manifest).expect("writes");
        std::fs::write(folder.join("component.wasm"), code).expect("writes");
        self
    }

    /// Adds a bundled component with its bundled policy.
    pub fn bundled(self, name: &str) -> Setup {
        self.bundled_with(name, |manifest| manifest)
    }

    /// The same, with its `component.toml` changed.
    pub fn bundled_with(self, name: &str, change: impl FnOnce(String) -> String) -> Setup {
        let policy = std::fs::read_to_string(root().join(format!("policies/{name}.toml"))).expect("a bundled policy");
        self.policy(name, &policy).component(name, &root().join("components").join(name), change)
    }

    fn component(self, name: &str, from: &Path, change: impl FnOnce(String) -> String) -> Setup {
        let folder = self.config.components.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let manifest = std::fs::read_to_string(from.join("component.toml")).expect("a component.toml");
        std::fs::write(folder.join("component.toml"), change(manifest)).expect("writes");
        let wasm = from.join("component.wasm");
        std::fs::copy(&wasm, folder.join("component.wasm"))
            .unwrap_or_else(|error| panic!("{}: {error}: run `make components guests` first", wasm.display()));
        self
    }

    /// Writes a policy file.
    pub fn policy(self, name: &str, text: &str) -> Setup {
        std::fs::write(self.config.policies.join(format!("{name}.toml")), text).expect("writes");
        self
    }

    /// Changes the configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Setup {
        change(&mut self.config);
        self
    }

    /// Keeps the audit log elsewhere.
    pub fn audit(self, storage: Box<dyn Storage>) -> Setup {
        Setup { audit: Some(storage), ..self }
    }

    /// Keeps what components keep elsewhere.
    pub fn stores(self, stores: Stores) -> Setup {
        Setup { stores: Some(stores), ..self }
    }

    /// Where a component's folder is.
    pub fn component_folder(&self, name: &str) -> PathBuf {
        self.config.components.join(name)
    }

    /// Starts the server on a thread of its own.
    pub fn start(self) -> TestServer {
        log_if_asked();
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let (config, backends) = (self.config, Backends { inference: self.inference, stores: self.stores, audit: self.audit });
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let server = Server::start_with(config, backends).await.expect("the server starts");
                let failures = server.failures();
                ready.send((server.address(), server.admin_address(), failures)).expect("the test waits");
                server.serve(async { drop(stopped.await) }).await;
            });
        });
        let (address, admin_address, failures) = started.recv().expect("the server starts");
        TestServer { address, admin_address, failures, stop: Some(stop), thread: Some(thread), _folder: self.folder }
    }
}

/// What servers log goes to standard error where RUST_LOG is set: to see why a test fails.
fn log_if_asked() {
    static LOGS: std::sync::Once = std::sync::Once::new();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        LOGS.call_once(|| tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init());
    }
}

impl TestServer {
    /// The one server with the real model and the bundled components, shared by all tests.
    pub fn real() -> &'static TestServer {
        static SERVER: OnceLock<TestServer> = OnceLock::new();
        SERVER.get_or_init(|| {
            let config = EngineConfig { models: models(), ..EngineConfig::default() };
            let engine = Engine::start(&config).expect("the engine starts");
            let names: Vec<&str> = engine.models().map(|card| card.name.as_str()).collect();
            assert!(names.contains(&"all-minilm-l6-v2"), "run `make models` first: {names:?}");
            Setup::new(Arc::new(engine))
                .bundled("embeddings")
                .bundled("guardrails")
                .bundled("reranking")
                .bundled("chat")
                .bundled("chathistory")
                .bundled("chatqna")
                .bundled("dataprep")
                .bundled("feedback")
                .bundled("prompt-template")
                .bundled("prompts")
                .bundled("retriever")
                .guest("nn")
                .policy("nn", NN)
                .start()
        })
    }

    /// A server with a fake engine and one test guest under its default policy.
    pub fn with_guest(name: &str) -> TestServer {
        Setup::new(Arc::new(FakeInference::default())).guest(name).start()
    }

    /// Why a component did not load.
    ///
    /// # Panics
    /// When it did.
    pub fn failure(&self, component: &str) -> &str {
        let found = self.failures.iter().find(|(name, _)| name == component);
        found.map_or_else(|| panic!("`{component}` has loaded; only {:?} have not", self.failures), |(_, text)| text)
    }

    /// The value of a metric, 0 if it isn't there. `name` holds the labels as they are written: `x_total{component="echo"}`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a metric is a number"))
    }

    /// Starts the end and gives the thread that ends: running requests have until `drain_ms_max`.
    pub fn stop(mut self) -> JoinHandle<()> {
        drop(self.stop.take());
        self.thread.take().expect("a server is stopped once")
    }

    /// Waits for the end, and then looks at the folder that it leaves.
    pub fn stop_and<T>(mut self, look: impl FnOnce() -> T) -> T {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("ends well");
        }
        look()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    /// Sends a POST with a JSON body.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends any request. A status is never an error; a connection that fails before the status is.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_vec()).expect("a good request");
        Reply::read(agent.run(request).expect("an answer"))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // a panic there is the test's failure already
        }
    }
}

impl Reply {
    fn read(response: ureq::http::Response<ureq::Body>) -> Reply {
        let (head, body) = response.into_parts();
        let own = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = head.headers.iter().map(own).collect();
        let mut bytes = Vec::new();
        let is_broken = body.into_reader().read_to_end(&mut bytes).is_err();
        Reply { status: head.status.as_u16(), headers, body: bytes, is_broken }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}
