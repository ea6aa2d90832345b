//! Failing at the worst time.

use crate::hostile::{
    assert_answered, assert_done, assert_serves, exchange, get, start, start_reused, traps, wait_for_traps, with_neighbour,
};

#[test]
fn a_failure_is_answered_and_its_neighbours_are_served() {
    let server = start("");
    for reply in with_neighbour(&server, 3, || get(&server, "trap?size=1")) {
        assert_answered(&reply, 500, "component_failed");
    }
    wait_for_traps(&server, 3);
    assert_serves(&server);
    assert_done(&get(&server, "trap?size=0"));
}

#[test]
fn a_failure_in_the_middle_of_an_answer_never_gives_it_a_clean_end() {
    for chunks in [1, 10, 1000] {
        let server = start("");
        for answer in with_neighbour(&server, 3, || exchange(&server, &format!("trap-in-body?size={chunks}"))) {
            // What came before may still have been on its way out: then there is no answer at all.
            let is_begun = ["HTTP/1.1 200 ", "HTTP/1.1 500 "].iter().any(|head| answer.starts_with(head));
            assert!(is_begun || answer.is_empty(), "{answer:.300}");
            let is_clean = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n0\r\n\r\n");
            assert!(!is_clean && !answer.contains("a guest that panics"), "{answer:.300}");
        }
        wait_for_traps(&server, 3);
        assert_serves(&server);
    }
    let answer = exchange(&start(""), "trap-in-body?size=0");
    assert!(answer.contains("the first chunk") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn a_failure_after_the_answer_takes_nothing_from_it() {
    // One alone: another in its instance would fail with it.
    let server = start_reused("");
    for reply in with_neighbour(&server, 1, || get(&server, "trap-after-answer?size=1")) {
        // A whole answer is on its way at once, or the instance fails before; half an answer is none.
        match reply.status {
            200 => assert_done(&reply),
            _ => assert_answered(&reply, 500, "component_failed"),
        }
    }
    wait_for_traps(&server, 1);
    assert_serves(&server);

    let server = start_reused("");
    assert_done(&get(&server, "trap-after-answer?size=0"));
    assert_serves(&server);
    assert_eq!(traps(&server), 0.0);
}

#[test]
fn what_a_fresh_instance_would_do_after_its_answer_is_not_done() {
    let server = start("");
    for reply in with_neighbour(&server, 3, || get(&server, "trap-after-answer?size=1")) {
        assert_done(&reply);
    }
    assert_serves(&server);
    assert_eq!(traps(&server), 0.0);
}

#[test]
fn a_component_that_fails_again_and_again_is_answered_each_time_and_counted() {
    let server = start("");
    for _ in 0..50 {
        assert_answered(&get(&server, "trap?size=1"), 500, "component_failed");
    }
    wait_for_traps(&server, 50);
    assert_serves(&server);
}
