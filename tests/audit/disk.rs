//! A disk that is full or broken: what must be recorded is refused, everything else goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use policy::audit::{Disk, Files, Kind, Storage};
use runtime::{AUDIT_FOLDER, AuditConfig, Recording};
use serde_json::json;
use tests::{FakeInference, Setup, TestServer, eventually};

use super::{CLOSED, assert_clean, embed, entries, of_request, report};
use crate::attack::upstream::Upstream;

/// A folder on a disk that can be full.
struct Full {
    disk: Disk,
    is_full: Arc<AtomicBool>,
}

impl Full {
    fn check(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Files for Full {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name)
    }
}

impl Storage for Full {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.check() {
            Ok(()) => self.disk.append(bytes),
            // Some of it is there, as on a real disk.
            full => self.disk.append(&bytes[..bytes.len() / 2]).and(full),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        self.disk.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.truncate(length)
    }

    fn rotate(&mut self, name: &str) -> io::Result<()> {
        self.disk.rotate(name)
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.create(name, bytes)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.disk.replace(name, bytes)
    }
}

/// A server on such a disk.
struct World {
    server: TestServer,
    is_full: Arc<AtomicBool>,
    folder: std::path::PathBuf,
    fake: Arc<FakeInference>,
}

fn start(audit: AuditConfig, more: impl FnOnce(Setup) -> Setup) -> World {
    let fake = Arc::new(FakeInference::default());
    let setup = Setup::new(fake.clone()).guest("probe").policy("probe", super::PROBE).configure(|config| config.audit = audit);
    let folder = setup.config.data.join(AUDIT_FOLDER);
    let is_full = Arc::<AtomicBool>::default();
    let full = Full { disk: Disk::open(&folder).expect("free"), is_full: is_full.clone() };
    let server = more(setup).audit(Box::new(full)).start();
    assert_eq!(server.failures, []);
    World { server, is_full, folder, fake }
}

impl World {
    fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }
}

#[test]
fn what_must_be_recorded_and_can_not_be_is_answered_503_and_not_done() {
    let world = start(CLOSED, |setup| setup);
    assert_eq!(embed(&world.server, "before", "fake"), 200);
    world.fill(true);
    // The first one finds out.
    assert_eq!(embed(&world.server, "first", "fake"), 503);
    let jobs = world.fake.counts().jobs;
    for round in 0..5 {
        let reply =
            world.server.send("POST", "/c/probe/embed", &[("x-request-id", &format!("r-{round}"))], b"{\"text\": \"x\"}");
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("audit_unavailable")));
    }
    assert_eq!(world.fake.counts().jobs, jobs, "nothing was done");
    let erased = world.server.send("DELETE", "/admin/tenants/acme", &[], b"");
    assert_eq!(erased.status, 503);
    world.fill(false);
    eventually(|| (embed(&world.server, "after", "fake") == 200).then_some(()));
    assert_eq!(world.server.metric("tessera_audit_lost_total"), 0.0);
    let kinds: Vec<Kind> = of_request(&world.folder, "first").iter().map(|entry| entry.record.kind).collect();
    assert_eq!(kinds, [Kind::Decision, Kind::Request, Kind::End], "the withheld answer is told");
    world.server.stop_and(|| assert_clean(&world.folder));
}

#[test]
fn no_request_leaves_the_server_before_it_is_recorded() {
    let upstream = Upstream::start();
    let rule = format!("host = \"127.0.0.1\", schemes = [\"http\"], ports = [{}], methods = [\"POST\"]", upstream.port());
    let policy = format!("schema = 1\n[http]\nallow = [{{ {rule} }}]\nprivate_networks = [\"127.0.0.1/32\"]\n[secret]\n");
    let only_uses = AuditConfig { access: Recording::Off, deny: Recording::Off, ..CLOSED };
    let world = start(only_uses, |setup| setup.guest("outbound").policy("outbound", &policy));
    let ask = || world.server.post("/c/outbound/http", &json!({"method": "POST", "url": upstream.url("/ok")}));
    assert_eq!((ask().status, upstream.heads().len()), (200, 1));
    world.fill(true);
    assert_eq!((ask().status, upstream.heads().len()), (503, 1));
    assert_eq!((ask().status, upstream.heads().len()), (503, 1));
    world.fill(false);
    eventually(|| (ask().status == 200).then_some(()));
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn what_need_not_be_recorded_goes_on_and_what_is_lost_is_counted_and_recorded() {
    let open = Recording::Open;
    let world =
        start(AuditConfig { access: open, deny: open, uses: open, sync_ms: 20, waiting_max: 100, ..CLOSED }, |setup| setup);
    world.fill(true);
    // More than the buffer holds: two records each.
    for round in 0..300 {
        assert_eq!(embed(&world.server, &format!("r-{round}"), "fake"), 200, "an open class refuses nothing");
    }
    let lost = world.server.metric("tessera_audit_lost_total");
    assert!(lost > 0.0);
    world.fill(false);
    let told = eventually(|| {
        let told: u64 = entries(&world.folder)
            .iter()
            .filter(|entry| entry.record.kind == Kind::Lost)
            .filter_map(|entry| entry.record.number("count"))
            .sum();
        (told > 0).then_some(told)
    });
    assert_eq!(told as f64, lost);
    world.server.stop_and(|| {
        assert_clean(&world.folder);
        assert_eq!(report(&world.folder).lost, told);
    });
}
