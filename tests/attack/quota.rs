//! Using what is counted by the minute.

use std::sync::Arc;

use tests::{FakeInference, GENERATION_BYTES};

use super::upstream::Upstream;
use crate::hostile::{
    Attack, Seen, Stopped, achieved, answered, assert_answered, assert_done, assert_neighbour, denials, get, start, start_with,
    usage, with_neighbour,
};

#[test]
fn a_flood_of_embeddings_ends_at_the_quota_of_tokens() {
    Attack {
        path: "embed-flood?size=3000",
        limit: "quota.input_tokens_per_min_max = 1000",
        lifted: "quota.input_tokens_per_min_max = 1000000000",
        stopped: Stopped::Refused("Quota", 1000),
        seen: Seen::OverQuota,
    }
    .run();
}

#[test]
fn a_text_without_end_ends_at_the_quota_of_tokens() {
    Attack {
        path: "generate?size=1000",
        limit: "quota.output_tokens_per_min_max = 100",
        lifted: "quota.output_tokens_per_min_max = 1000000",
        stopped: Stopped::Refused("Quota", 150),
        seen: Seen::OverQuota,
    }
    .run();
}

#[test]
fn a_flood_of_embeddings_ends_at_the_quota_of_the_devices_time() {
    Attack {
        path: "embed-flood?size=1000",
        limit: "quota.device_ms_per_min_max = 100", // every embedding takes one
        lifted: "quota.device_ms_per_min_max = 1000000",
        stopped: Stopped::Refused("Quota", 200),
        seen: Seen::OverQuota,
    }
    .run();
}

#[test]
fn generations_hold_as_much_of_the_device_as_they_may_and_give_it_back() {
    let server = start(&format!("quota.device_bytes_max = {}", 3 * GENERATION_BYTES));
    for reply in with_neighbour(&server, 3, || get(&server, "generations?size=10")) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"Quota".into()), "{}", reply.text());
        assert!(achieved(&reply) <= 3, "{}", reply.text());
    }
    tests::eventually(|| (usage(&server, "device_bytes") == 0).then_some(()));
    assert_done(&get(&server, "generations?size=3"));
    assert_done(&get(&start("quota.device_bytes_max = 1073741824"), "generations?size=10"));
}

#[test]
fn a_quota_of_nothing_lets_nothing_reach_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start_with(fake.clone(), "quota.input_tokens_per_min_max = 0");
    let reply = get(&server, "embed-flood?size=1");
    assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"Quota".into()), "{}", reply.text());
    assert_eq!((achieved(&reply), fake.counts().jobs), (0, 0));
    assert_eq!(denials(&server, "embed", "quota"), 1.0);
}

#[test]
fn requests_beyond_a_minutes_worth_are_told_when_to_come_back() {
    let server = start("quota.requests_per_min_max = 10");
    let replies = with_neighbour(&server, 40, || get(&server, "nothing"));
    let (served, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    // While they run a sixth of a request is earned back in every second.
    assert!((10..16).contains(&served.len()), "{} of 40 were served", served.len());
    for reply in refused {
        assert_answered(reply, 429, "quota_exceeded");
    }
    assert_eq!(usage(&server, "requests"), served.len() as u64);
    assert!(usage(&server, "over_quota") >= 24);
    assert_neighbour(&server);

    let server = start("quota.requests_per_min_max = 1000000");
    let replies = with_neighbour(&server, 40, || get(&server, "nothing"));
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(answered(&server, 429), 0.0);
}

#[test]
fn a_flood_of_log_lines_is_cut_off_at_its_bytes() {
    let server = start("log.bytes_per_min_max = 10000");
    for reply in with_neighbour(&server, 3, || get(&server, "log-flood?size=10")) {
        assert_done(&reply); // a guest is not told which lines are dropped
    }
    // 30 000 lines of 100 bytes, of which 100 fit, and a few more for every second that it took.
    assert!((5_000..30_000).contains(&usage(&server, "log_bytes")), "{} bytes", usage(&server, "log_bytes"));
    assert!(server.metric("tessera_component_log_lines_dropped_total{component=\"hostile\"}") > 20_000.0);

    let server = start("log.bytes_per_min_max = 1000000000");
    assert_done(&get(&server, "log-flood?size=1"));
    assert_eq!(usage(&server, "log_bytes"), 100_000);
}

#[test]
fn bytes_to_other_hosts_are_counted() {
    let upstream = Upstream::start();
    let path = format!("egress-flood?size=50&url={}", upstream.url("/ok"));
    let server = start(&format!("{}\nquota.egress_bytes_per_min_max = 10000", upstream.granted()));
    for reply in with_neighbour(&server, 1, || get(&server, &path)) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"Quota".into()), "{}", reply.text());
        assert!((1..15).contains(&achieved(&reply)), "10 kB are nine bodies and their heads: {}", reply.text());
    }
    assert!(usage(&server, "over_quota") > 0);
    assert!((1_000..20_000).contains(&usage(&server, "egress_bytes")), "{} bytes", usage(&server, "egress_bytes"));

    let server = start(&format!("{}\nquota.egress_bytes_per_min_max = 1000000000", upstream.granted()));
    assert_done(&get(&server, &path));
}

#[test]
fn a_request_to_another_host_that_does_not_end_is_cut_off_at_its_bytes() {
    let upstream = Upstream::start();
    let path = format!("egress-endless?size=1000&url={}", upstream.url("/ok"));
    let server = start(&format!("{}\nquota.egress_bytes_per_min_max = 100000", upstream.granted()));
    for reply in with_neighbour(&server, 1, || get(&server, &path)) {
        assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"Quota".into()), "{}", reply.text());
    }
    assert!(usage(&server, "egress_bytes") < 1_000_000, "{} bytes", usage(&server, "egress_bytes"));

    let server = start(&format!("{}\nquota.egress_bytes_per_min_max = 1000000000", upstream.granted()));
    assert_done(&get(&server, &path));
    assert!(usage(&server, "egress_bytes") > 1_000_000, "{} bytes", usage(&server, "egress_bytes"));
}
