//! The end of a server: what runs may finish, for a time.

use std::net::TcpStream;
use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer, Wire};

fn start(fake: &Arc<FakeInference>, drain_ms_max: u64) -> TestServer {
    let policy = "schema = 1\n[embed]\nmodels = [\"fake\"]\n[rerank]\nmodels = []\n[config]\n[log]\n";
    let setup = Setup::new(fake.clone()).guest("probe").policy("probe", policy);
    setup.configure(|config| config.drain_ms_max = drain_ms_max).start()
}

fn embed_on_a_wire(server: &TestServer) -> Wire {
    let body = json!({"text": "abc"}).to_string();
    let mut wire = Wire::request(server.address, "POST /c/probe/embed", &[&format!("content-length: {}", body.len())]);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn a_server_that_stops_takes_no_connections_and_finishes_what_runs() {
    let fake = FakeInference::gated();
    let server = start(&fake, 30_000);
    let (address, wire) = (server.address, embed_on_a_wire(&server));
    fake.wait_for(|counts| counts.inside == 1);
    let stopping = server.stop();
    tests::eventually(|| TcpStream::connect(address).err());
    assert!(!stopping.is_finished(), "a request is still running");
    fake.release(1);
    let answer = wire.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"fake\""), "{answer}");
    stopping.join().expect("ends well");
}

#[test]
fn what_runs_longer_than_the_drain_is_cut_off() {
    let fake = FakeInference::gated();
    let server = start(&fake, 50);
    let wire = embed_on_a_wire(&server);
    fake.wait_for(|counts| counts.inside == 1);
    server.stop().join().expect("ends without the answer");
    assert_eq!(wire.read_to_end(), "");
    assert_eq!((fake.counts().inside, fake.counts().dropped), (0, 1));
}

#[test]
fn a_server_does_not_start_beyond_loopback() {
    let config = runtime::ServerConfig { listen: ([0, 0, 0, 0], 0).into(), ..runtime::ServerConfig::default() };
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let error = tokio.block_on(runtime::Server::start(config, Arc::new(FakeInference::default()))).err().expect("is refused");
    assert!(error.to_string().contains("0.0.0.0:0") && error.to_string().contains("127.0.0.1"), "{error}");
}
