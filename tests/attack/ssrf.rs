//! Reaching hosts that are not granted: by a URL, a redirect or a header; and what else a program may find around it.

use serde_json::Value;
use tests::Reply;

use super::upstream::Upstream;
use crate::hostile::{achieved, answered, assert_done, assert_serves, denials, get, start, usage, with_neighbour};

fn attempts(reply: &Reply) -> serde_json::Map<String, Value> {
    match reply.json()["attempts"].clone() {
        Value::Object(attempts) => attempts,
        other => panic!("{other} are no attempts: {}", reply.text()),
    }
}

/// Encodes a URL to stand in a query.
fn encoded(url: &str) -> String {
    url.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn no_spelling_of_a_url_reaches_what_is_not_granted() {
    let (granted, other) = (Upstream::start(), Upstream::start());
    // All networks of private addresses are named: that is not a grant for any host, nor for metadata services.
    let lines =
        granted.granted().replace("/32\"]", "/8\", \"0.0.0.0/0\", \"::/0\"]").replace("\"GET\", \"PUT\", \"POST\"", "\"GET\"");
    let server = start(&lines);
    let path = format!("ssrf?url={}&other={}", encoded(&granted.url("/ok")), other.port());
    for reply in with_neighbour(&server, 3, || get(&server, &path)) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"stopped".into()), "{}", reply.text());
        let reached: Vec<_> = attempts(&reply).into_iter().filter(|(_, outcome)| outcome == "done").collect();
        assert_eq!(reached, [], "of {} URLs", attempts(&reply).len());
        // Nobody learns from an error what there is on the host's network.
        let told = |(_, outcome): &(String, Value)| outcome != "Denied" && outcome != "Invalid";
        let told: Vec<_> = attempts(&reply).into_iter().filter(told).collect();
        assert_eq!(told, []);
    }
    assert_eq!(other.heads(), [""; 0], "a server that is not granted was reached");
    assert!(granted.heads().iter().all(|head| head.starts_with("GET /ok ")), "{:?}", granted.heads());
    assert!(denials(&server, "http", "metadata_address") >= 20.0);
    assert!(denials(&server, "http", "not_listed") > 0.0);
    assert!(usage(&server, "denied") > 40);
    assert_serves(&server);
}

#[test]
fn without_its_network_a_private_address_that_is_granted_by_name_is_not_reached() {
    let granted = Upstream::start();
    let lines: String = granted.granted().lines().take(1).collect();
    let path = format!("redirect?size=0&url={}", encoded(&granted.url("/ok")));
    let server = start(&lines);
    let reply = get(&server, &path);
    assert_eq!((achieved(&reply), &reply.json()["outcome"]), (0, &"Denied".into()));
    assert_eq!(granted.heads(), [""; 0]);
    assert_eq!(denials(&server, "http", "private_address"), 1.0);
    assert_eq!(achieved(&get(&start(&granted.granted()), &path)), 1);
}

#[test]
fn a_redirect_is_checked_as_a_request_of_its_own() {
    let (granted, other) = (Upstream::start(), Upstream::start());
    let server = start(&granted.granted());
    for to in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "//169.254.169.254/".to_owned(),
        "http://metadata.google.internal/".to_owned(),
        other.url("/ok"),
        "/not-granted".to_owned(),
        "/ok/../not-granted".to_owned(),
        "file:///etc/passwd".to_owned(),
        granted.url("/redirect?to=http://169.254.169.254/"),
    ] {
        let url = encoded(&granted.url(&format!("/redirect?to={to}")));
        for reply in with_neighbour(&server, 1, || get(&server, &format!("redirect?size=5&url={url}"))) {
            let outcome = reply.json()["outcome"].clone();
            // It is denied, or given to the guest as the answer that it is.
            let is_answer = outcome.as_str().is_some_and(|outcome| outcome.starts_with("302 "));
            assert!(is_answer || outcome == "Denied" || outcome == "Invalid", "{to}: {}", reply.text());
        }
    }
    assert_eq!(other.heads(), [""; 0]);
    assert!(granted.heads().iter().all(|head| head.starts_with("GET /redirect?")), "{:?}", granted.heads());
    let url = encoded(&granted.url("/redirect?to=/ok"));
    let reply = get(&server, &format!("redirect?size=5&url={url}"));
    assert_eq!(reply.json()["outcome"], format!("200 {}", granted.url("/ok")));
}

#[test]
fn redirects_are_followed_up_to_the_policys_limit_and_are_answers_beyond_it() {
    let granted = Upstream::start();
    let twice = granted.url(&format!("/redirect?to={}", granted.url("/redirect?to=/ok")));
    let path = format!("redirect?size=5&url={}", encoded(&twice));
    let outcome = |more: &str| get(&start(&format!("{}\n{more}", granted.granted())), &path).json()["outcome"].clone();
    assert!(outcome("http.redirects_max = 1").as_str().is_some_and(|outcome| outcome.starts_with("302 ")));
    assert_eq!(outcome("http.redirects_max = 5"), format!("200 {}", granted.url("/ok")));
}

#[test]
fn no_header_makes_two_requests_of_one_or_goes_to_another_host() {
    let granted = Upstream::start();
    let server = start(&granted.granted());
    let path = format!("smuggle?url={}", encoded(&granted.url("/ok")));
    for reply in with_neighbour(&server, 1, || get(&server, &path)) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"stopped".into()), "{}", reply.text());
        for (attempt, outcome) in attempts(&reply) {
            let is_broken =
                attempt.contains(['\r', '\n', '\0']) || ["header : 1", "header x blank: 1"].contains(&attempt.as_str());
            // A line break in a URL is taken out of it, or the URL is refused.
            assert!(!is_broken || outcome == "Invalid" || attempt.starts_with("path "), "{attempt}: {outcome}");
        }
    }
    for head in granted.heads() {
        let head = head.to_ascii_lowercase();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
        assert_eq!(host, granted.url("").trim_start_matches("http://"), "{head}");
        for bad in ["x-smuggled", "transfer-encoding", "content-length: 100", "proxy-", "upgrade", "expect", "x-kept"] {
            assert!(!head.contains(bad) || head.contains(&format!("%0a{bad}")), "{bad}: {head}");
        }
    }
    assert!(!granted.heads().is_empty());
    assert_serves(&server);
}

#[test]
fn a_guest_has_no_sockets_and_looks_no_name_up() {
    let listening = Upstream::start();
    let server = start(&listening.granted());
    let address = listening.url("").trim_start_matches("http://").to_owned();
    for reply in with_neighbour(&server, 3, || get(&server, &format!("sockets?url={address}"))) {
        assert_eq!((reply.status, achieved(&reply)), (200, 0), "{}", reply.text());
        assert_eq!(attempts(&reply).len(), 4);
    }
    assert_eq!(listening.heads(), [""; 0]);
    assert_eq!(answered(&server, 200), 3.0);
}

#[test]
fn a_guest_sees_no_variable_and_no_argument_of_the_server() {
    assert!(std::env::vars().count() > 0, "the server has some");
    let reply = get(&start(""), "environment?size=0");
    assert_eq!((reply.status, achieved(&reply)), (200, 0), "{}", reply.text());
    let reply = get(&start("env.values = { GREETING = \"hello\" }"), "environment?size=0");
    assert_eq!(reply.json()["attempts"], serde_json::json!(["GREETING"]));
    assert_done(&reply);
}
