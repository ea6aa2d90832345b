//! Arguments and results of host calls that are too large, or that are no values at all.

use super::handmade::{self, Handmade};
use crate::hostile::{Attack, Seen, Stopped, assert_answered, assert_done, get, start, wait_for_traps, with_neighbour};

const FAILED: Stopped = Stopped::Answered(500, "component_failed");

#[test]
fn a_log_line_of_64_mebibytes_does_not_reach_the_host() {
    Attack {
        path: "log-line?size=67108864",
        limit: "limits.memory_bytes_max = 536870912\nlimits.hostcall_bytes_max = 1048576",
        lifted: "limits.memory_bytes_max = 536870912\nlimits.hostcall_bytes_max = 268435456",
        stopped: FAILED,
        seen: Seen::Traps,
    }
    .run();
}

#[test]
fn a_text_of_100_megabytes_does_not_reach_the_engine() {
    Attack {
        path: "embed-text?size=100000000",
        limit: "limits.memory_bytes_max = 536870912\n\
            quota.input_tokens_per_min_max = 1000000000",
        lifted: "limits.memory_bytes_max = 536870912\n\
            quota.input_tokens_per_min_max = 1000000000\n\
            limits.hostcall_bytes_max = 268435456",
        stopped: FAILED,
        seen: Seen::Traps,
    }
    .run();
}

#[test]
fn a_list_of_a_million_texts_does_not_reach_the_engine() {
    Attack {
        path: "embed-many?size=1000000",
        limit: "limits.memory_bytes_max = 536870912\n\
            quota.input_tokens_per_min_max = 1000000000\n\
            limits.hostcall_bytes_max = 1048576",
        lifted: "limits.memory_bytes_max = 536870912\n\
            quota.input_tokens_per_min_max = 1000000000\n\
            limits.hostcall_bytes_max = 268435456",
        stopped: FAILED,
        seen: Seen::Traps,
    }
    .run();
}

#[test]
fn a_gibibyte_of_random_bytes_is_not_made() {
    let server = start("limits.memory_bytes_max = 3221225472\nlimits.hostcall_bytes_max = 2147483648");
    for reply in with_neighbour(&server, 3, || get(&server, "random?size=1073741824")) {
        assert_answered(&reply, 500, "component_failed");
    }
    wait_for_traps(&server, 3);
    assert_done(&get(&server, "random?size=65536"));
}

/// A component whose answer is not what its type says.
#[track_caller]
fn assert_answer_fails(before_answer: &str, status: u16, code: &str) {
    let component = Handmade { before_answer: before_answer.into(), ..Handmade::default() };
    let server = handmade::start(&component.code(), "");
    assert_eq!(server.failures, []);
    for reply in with_neighbour(&server, 3, || server.get("/c/hostile/any")) {
        assert_answered(&reply, status, code);
    }
}

/// Instructions that write a number into the answer, at an address of it.
fn put(address: u32, number: i32) -> String {
    format!("(i32.store (i32.const {address}) (i32.const {number}))")
}

#[test]
fn an_answer_beyond_the_guests_memory_is_a_failure() {
    assert_answer_fails(&put(16, -16), 500, "component_failed");
    assert_answer_fails(&put(20, -1), 500, "component_failed");
    assert_answer_fails(&put(20, 10_000_000), 500, "component_failed");
    assert_answer_fails(&[put(4, 64), put(8, -1)].concat(), 500, "component_failed");
    assert_answer_fails(&[put(4, 64), put(8, 100_000_000)].concat(), 500, "component_failed");
}

#[test]
fn an_answer_at_no_place_for_its_type_is_a_failure() {
    // A list of headers has to begin at a multiple of four.
    assert_answer_fails(&[put(4, 65), put(8, 1)].concat(), 500, "component_failed");
    assert_answer_fails("(return (i32.const 1))", 500, "component_failed");
    assert_answer_fails("(return (i32.const -8))", 500, "component_failed");
}

#[test]
fn a_case_that_a_variant_has_not_is_a_failure() {
    assert_answer_fails(&put(12, 2), 500, "component_failed");
    assert_answer_fails(&put(12, 255), 500, "component_failed");
}

#[test]
fn a_stream_that_was_never_made_is_a_failure() {
    assert_answer_fails(&[put(12, 1), put(16, 7), put(20, 8)].concat(), 500, "component_failed");
}

#[test]
fn a_name_that_is_no_utf8_is_a_failure() {
    // One header, whose name is the byte 0xff.
    let header = [put(64, 96), put(68, 1), put(72, 96), put(76, 0), put(96, 0xff), put(4, 64), put(8, 1)].concat();
    assert_answer_fails(&header, 500, "component_failed");
}

#[test]
fn a_long_list_of_the_same_long_text_is_counted_as_often_as_it_is_copied() {
    // Two thousand headers in 32 kB, all of them with the same zeros as their name, almost 64 KiB: 125 MiB for the host.
    let headers = "
        (local $at i32)
        (loop $again
          (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const 64))
          (i32.store (i32.add (i32.const 65540) (local.get $at)) (i32.const 65472))
          (i64.store (i32.add (i32.const 65544) (local.get $at)) (i64.const 0))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br_if $again (i32.lt_u (local.get $at) (i32.const 32000))))
        (i32.store (i32.const 4) (i32.const 65536))
        (i32.store (i32.const 8) (i32.const 2000))";
    let component = Handmade { before_answer: headers.into(), ..Handmade::default() };
    let server = handmade::start(&component.code(), "limits.hostcall_bytes_max = 1048576");
    for reply in with_neighbour(&server, 3, || server.get("/c/hostile/any")) {
        assert_answered(&reply, 500, "component_failed");
    }
    // Without that limit the host copies it, and refuses it as a head.
    let server = handmade::start(&component.code(), "limits.hostcall_bytes_max = 1073741824");
    assert_answered(&server.get("/c/hostile/any"), 502, "bad_response");
}

#[test]
fn a_handle_that_a_guest_makes_up_is_a_failure() {
    let definitions = "
        (import \"wasi:io/poll@0.2.0\" (instance $poll (export \"pollable\" (type (sub resource)))))
        (alias export $poll \"pollable\" (type $pollable))
        (core func $drop (canon resource.drop $pollable))";
    for handle in [0, 1, 12345, -1] {
        let component = Handmade {
            definitions: definitions.into(),
            imports: "(export \"drop\" (func $drop))".into(),
            fields: "(import \"host\" \"drop\" (func $drop (param i32)))".into(),
            before_answer: format!("(call $drop (i32.const {handle}))"),
            ..Handmade::default()
        };
        let server = handmade::start(&component.code(), "");
        assert_eq!(server.failures, []);
        assert_answered(&server.get("/c/hostile/any"), 500, "component_failed");
    }
}
