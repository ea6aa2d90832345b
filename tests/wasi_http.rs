//! Components made with other people's tooling on standard `wasi:http`, 0.2 and 0.3.

use tests::{TestServer, Wire};

const GUESTS: [&str; 2] = ["wasi-http-02", "wasi-http-03"];

#[test]
fn a_standard_component_serves_under_its_route() {
    for guest in GUESTS {
        let server = TestServer::with_guest(guest);
        assert_eq!(server.failures, []);
        let reply = server.get(&format!("/c/{guest}/any/path?x=1"));
        let version = guest.replace("wasi-http-0", "0.");
        assert_eq!((reply.status, reply.text(), reply.is_broken), (200, format!("hello from wasi:http {version}"), false));
    }
}

#[test]
fn a_standard_component_gives_back_a_body_of_any_length() {
    for guest in GUESTS {
        let server = TestServer::with_guest(guest);
        for length in [0, 1, 100_000, (256 << 10) + 1, 1 << 20] {
            let body: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).expect("is below 251")).collect();
            let reply = server.send("POST", &format!("/c/{guest}/"), &[], &body);
            assert_eq!((reply.status, reply.is_broken), (200, false), "{guest}, {length} bytes");
            assert!(reply.body == body, "{guest}: {length} bytes came back as {}", reply.body.len());
        }
    }
}

#[test]
fn a_standard_component_streams_both_ways_while_the_client_still_sends() {
    for guest in GUESTS {
        let server = TestServer::with_guest(guest);
        let mut wire =
            Wire::request(server.address, &format!("POST /c/{guest}/"), &["transfer-encoding: chunked", "connection: close"]);
        for piece in ["first", "second", "third"] {
            wire.send_chunk(piece.as_bytes());
            wire.read_until(piece);
        }
        wire.send_chunk(b"");
        assert!(wire.read_to_end().ends_with("\r\n0\r\n\r\n"), "{guest}");
    }
}

#[test]
fn a_request_body_that_breaks_off_never_gives_a_clean_end() {
    for guest in GUESTS {
        let server = TestServer::with_guest(guest);
        let mut wire = Wire::request(server.address, &format!("POST /c/{guest}/"), &["transfer-encoding: chunked"]);
        wire.send_chunk(b"first");
        wire.read_until("first");
        wire.send(b"no chunk\r\n");
        let answer = wire.read_to_end();
        assert!(!answer.ends_with("\r\n0\r\n\r\n"), "{guest}: {answer}");
        assert_eq!(server.get(&format!("/c/{guest}/")).status, 200, "{guest}");
    }
}

#[test]
fn a_request_without_a_host_is_served_and_leaves_the_instance_to_others() {
    for guest in GUESTS {
        let server = TestServer::with_guest(guest);
        for _ in 0..2 {
            let mut wire = Wire::open(server.address);
            wire.send(format!("GET /c/{guest}/ HTTP/1.0\r\n\r\n").as_bytes());
            let answer = wire.read_to_end();
            assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("hello from wasi:http"), "{guest}: {answer}");
        }
        assert!(!server.get("/metrics").text().contains("tessera_component_traps_total{"), "{guest} failed");
    }
}
