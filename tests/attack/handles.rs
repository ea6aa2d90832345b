//! Handles that a guest never drops.

use super::upstream::Upstream;
use crate::hostile::{
    Attack, Seen, Stopped, achieved, assert_answered, assert_done, assert_serves, get, start, with_neighbour,
};

const LIMIT: &str = "limits.handles_max = 1000";
const LIFTED: &str = "limits.handles_max = 1000000";

#[test]
fn pollables_are_counted() {
    let stopped = Stopped::Answered(500, "component_failed");
    Attack { path: "pollables?size=20000", limit: LIMIT, lifted: LIFTED, stopped, seen: Seen::Traps }.run();
}

#[test]
fn streams_are_counted() {
    let stopped = Stopped::Answered(500, "component_failed");
    Attack { path: "streams?size=10000", limit: LIMIT, lifted: LIFTED, stopped, seen: Seen::Traps }.run();
}

#[test]
fn generations_are_counted() {
    let server = start(LIMIT);
    for reply in with_neighbour(&server, 3, || get(&server, "generations?size=2000")) {
        // The guest is told, or fails, whichever handle is the first that is too many.
        match reply.status {
            200 => assert!(reply.json()["outcome"] == "Overloaded" && achieved(&reply) < 1000, "{}", reply.text()),
            _ => assert_answered(&reply, 500, "component_failed"),
        }
    }
    assert_serves(&server);
    assert_done(&get(&start(LIFTED), "generations?size=2000"));
}

#[test]
fn answers_of_other_hosts_that_nobody_reads_are_counted() {
    let upstream = Upstream::start();
    let path = format!("responses-held?size=8&url={}", upstream.url("/endless"));
    let granted = upstream.granted();

    let server = start(&format!("{granted}\nhttp.concurrency_max = 3"));
    for reply in with_neighbour(&server, 1, || get(&server, &path)) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"Quota".into()), "{}", reply.text());
        assert_eq!(achieved(&reply), 3);
    }
    // What was held is given back with the instance.
    let reply = tests::eventually(|| Some(get(&server, &path)).filter(|reply| achieved(reply) == 3));
    assert_eq!(reply.json()["outcome"], "Quota");

    assert_done(&get(&start(&format!("{granted}\nhttp.concurrency_max = 100")), &path));
}
