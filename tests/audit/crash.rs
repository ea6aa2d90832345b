//! A server that is killed in the middle of its work: what it has answered is in the log, and the log goes on.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use policy::audit::Kind;
use runtime::{AUDIT_FOLDER, AuditConfig, Server, ServerConfig};
use tests::FakeInference;

use super::{CLOSED, assert_clean, entries, probe, report};

/// The settings of the server in the child, in JSON.
const SETTINGS: &str = "TESSERA_TEST_SETTINGS";

const ROUNDS: usize = 50;
const CLIENTS: usize = 4;

#[test]
#[ignore = "the server that another test starts and kills"]
fn serves_until_it_is_killed() {
    let settings = std::env::var(SETTINGS).expect("settings from the other test");
    let config: ServerConfig = serde_json::from_str(&settings).expect("settings");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let server = Server::start(config, Arc::new(FakeInference::default())).await.expect("starts");
        println!("\nready {}", server.address());
        server.serve(std::future::pending()).await;
    });
}

/// Starts the server in a process of its own; gives where it listens.
fn serve(config: &ServerConfig) -> (Child, String) {
    let settings = serde_json::to_string(config).expect("settings make JSON");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["audit::crash::serves_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(SETTINGS, settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut ready = lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("ready ")?.to_owned()));
    let address = ready.next().expect("the server starts");
    (child, address)
}

/// Asks again and again until the server is gone; writes down what was answered.
fn ask(address: &str, name: &str, acknowledged: &Mutex<Vec<String>>, count: &AtomicUsize) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for number in 0.. {
        let id = format!("{name}-{number}");
        let model = if number % 3 == 0 { "other" } else { "fake" };
        let body = format!("{{\"text\": \"abc\", \"model\": \"{model}\"}}");
        let asked = agent.post(format!("http://{address}/c/probe/embed")).header("x-request-id", &id).send(body);
        let Ok(answer) = asked else { return };
        assert!([200, 404].contains(&answer.status().as_u16()), "{answer:?}");
        acknowledged.lock().expect("no client panics").push(id);
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn after_a_kill_at_any_moment_every_answer_has_its_record_and_the_log_goes_on() {
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut below = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % limit
    };
    let setup = probe().configure(|config| config.audit = AuditConfig { bytes_max: 200_000, ..CLOSED });
    let folder = setup.config.data.join(AUDIT_FOLDER);
    let acknowledged = Mutex::new(Vec::new());
    let mut torn = 0;
    for round in 0..ROUNDS {
        let (mut child, address) = serve(&setup.config);
        let (enough, count) = (1 + below(80), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (address, acknowledged, count) = (&address, &acknowledged, &count);
                scope.spawn(move || ask(address, &format!("r-{round}-{client}"), acknowledged, count));
            }
            while count.load(Ordering::SeqCst) < enough {
                std::hint::spin_loop();
            }
            child.kill().expect("is killed"); // SIGKILL
            child.wait().expect("is gone");
        });
        let found = report(&folder);
        assert_eq!(found.findings, [], "round {round}");
        torn += usize::from(found.torn.is_some());
        let recorded: BTreeSet<Arc<str>> = entries(&folder)
            .into_iter()
            .filter(|entry| entry.record.kind == Kind::Request)
            .filter_map(|entry| entry.record.request)
            .collect();
        let acknowledged = acknowledged.lock().expect("no client panics");
        let missing: Vec<&String> = acknowledged.iter().filter(|id| !recorded.contains(id.as_str())).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?}");
    }
    let (server, _) = super::start(setup);
    server.stop_and(|| {
        assert_clean(&folder);
        assert_eq!(report(&folder).recovered.len(), torn);
    });
    println!("{} answers, {torn} torn ends", acknowledged.lock().expect("no client panics").len());
}
