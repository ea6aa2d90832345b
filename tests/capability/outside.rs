//! What tests of more than one capability need: another host that a test plays itself, another policy, and the book.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tests::{TestServer, Wire, eventually};

/// How long a test waits for a connection: only a failing test takes as long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Another host, whose part a test plays: it takes each connection and writes what it answers.
pub(crate) struct Host {
    address: SocketAddr,
    incoming: mpsc::Receiver<TcpStream>,
}

impl Host {
    pub(crate) fn start() -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (accepted, incoming) = mpsc::channel();
        // Until the test is over, and one connection more.
        std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| accepted.send(stream)));
        Host { address, incoming }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lines of a policy that grant every request to this host alone.
    pub(crate) fn granted(&self) -> String {
        granted(self.address.port())
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        Wire::accepted(self.incoming.recv_timeout(WAIT_MAX).expect("somebody connects"))
    }

    /// Nobody has connected who was not accepted.
    #[track_caller]
    pub(crate) fn assert_alone(&self) {
        // Connections come in order: all that were made before this one are before it.
        let own = TcpStream::connect(self.address).expect("it listens");
        let first = self.incoming.recv_timeout(WAIT_MAX).expect("the own connection comes");
        let ends = (first.peer_addr().expect("is connected"), own.local_addr().expect("is connected"));
        assert_eq!(ends.0, ends.1, "somebody else has connected");
    }
}

/// Lines of a policy that grant every request to a port of this machine.
pub(crate) fn granted(port: u16) -> String {
    let rule = format!("{{ host = \"127.0.0.1\", schemes = [\"http\"], ports = [{port}], methods = [\"*\"] }}");
    format!("http.allow = [{rule}]\nhttp.private_networks = [\"127.0.0.1/32\"]\n")
}

/// A number of a component's book.
#[track_caller]
pub(crate) fn used(server: &TestServer, component: &str, key: &str) -> u64 {
    let told: Value = server.get("/admin/usage").json();
    told["components"][component][key].as_u64().unwrap_or_else(|| panic!("`{key}` of `{component}` is not in {told}"))
}

/// Denials of a component that took effect, by capability and reason.
pub(crate) fn denials(server: &TestServer, component: &str, capability: &str, reason: &str) -> u64 {
    let labels = format!("component=\"{component}\",capability=\"{capability}\",reason=\"{reason}\",mode=\"enforce\"");
    server.metric(&format!("tessera_denials_total{{{labels}}}")) as u64
}

/// What happens is denied once, for this reason and no other.
#[track_caller]
pub(crate) fn denied_once<T>(
    server: &TestServer,
    (component, capability, reason): (&str, &str, &str),
    happens: impl FnOnce() -> T,
) -> T {
    let count = || (used(server, component, "denied"), denials(server, component, capability, reason));
    let before = count();
    let happened = happens();
    assert_eq!(count(), (before.0 + 1, before.1 + 1), "denials of `{component}`: all, and `{capability}` for `{reason}`");
    happened
}

/// Gives a component another policy, by its file, and waits until it counts. The text has no `[quota]`.
pub(crate) fn govern(server: &TestServer, file: &Path, text: &str) {
    let component = file.file_stem().expect("a name").to_string_lossy();
    let quota = || server.get("/admin/usage").json()["components"][&*component]["quota"]["requests_per_min_max"].as_u64();
    // A mark by which the new policy is known.
    let mark = quota().map_or(60_000, |max| max + 1);
    let draft = file.with_extension("draft");
    std::fs::write(&draft, format!("{text}\n[quota]\nrequests_per_min_max = {mark}\n")).expect("writes");
    std::fs::rename(&draft, file).expect("renames");
    eventually(|| (quota() == Some(mark)).then_some(()));
}
