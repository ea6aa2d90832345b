//! Running without end: in a request, around it, and in calls of the host that are quick and many.

use std::time::Duration;

use super::handmade::{self, Handmade, WORK};
use crate::hostile::{
    Attack, Seen, Stopped, assert_answered, assert_done, assert_serves, exchange, get, start, start_reused, traps, usage,
    wait_for_traps, with_neighbour,
};

/// Far below what these attacks take: half a second and more.
const LIMIT: &str = "limits.cpu_ms_max = 100";
const LIFTED: &str = "limits.cpu_ms_max = 600000";

/// Ends at the CPU time.
#[track_caller]
fn assert_ends_at_its_cpu_time(path: &'static str) {
    let stopped = Stopped::Answered(504, "cpu_time");
    Attack { path, limit: LIMIT, lifted: LIFTED, stopped, seen: Seen::CpuMs(100) }.run();
}

#[test]
fn a_loop_ends_at_its_cpu_time() {
    assert_ends_at_its_cpu_time("loop?size=1000");
}

#[test]
fn a_recursion_without_end_ends_at_its_cpu_time() {
    assert_ends_at_its_cpu_time("recursion-without-end?size=300");
}

#[test]
fn many_tiny_awaits_end_at_their_cpu_time() {
    assert_ends_at_its_cpu_time("tiny-awaits?size=2000");
}

#[test]
fn a_flood_of_quick_host_calls_ends_at_its_cpu_time() {
    assert_ends_at_its_cpu_time("clock-flood?size=10000");
    assert_ends_at_its_cpu_time("config-flood?size=2000");
    assert_ends_at_its_cpu_time("random-flood?size=2000");
}

#[test]
fn a_loop_ends_at_its_deadline() {
    Attack {
        path: "loop?size=2000",
        limit: "limits.wall_ms_max = 300",
        lifted: "limits.wall_ms_max = 600000",
        stopped: Stopped::Answered(504, "deadline"),
        seen: Seen::Status(504),
    }
    .run();
}

#[test]
fn waiting_costs_no_cpu_time() {
    let server = start(LIMIT);
    let answer = exchange(&server, "response-unfinished?size=1000");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    assert!(usage(&server, "cpu_ns") < 100_000_000, "{} ns", usage(&server, "cpu_ns"));
}

#[test]
fn what_runs_on_after_its_answer_ends_at_its_cpu_time() {
    // One alone: another in its instance would end with it.
    let server = start_reused(LIMIT);
    for reply in with_neighbour(&server, 1, || get(&server, "loop-after-answer?size=1000")) {
        // The answer is on its way as soon as it is given, or the request ends with its instance.
        match reply.status {
            200 => assert_done(&reply),
            _ => assert_answered(&reply, 504, "cpu_time"),
        }
    }
    wait_for_traps(&server, 1);
    assert_serves(&server);

    let server = start_reused(LIFTED);
    assert_done(&get(&server, "loop-after-answer?size=1000"));
    tests::eventually(|| (usage(&server, "cpu_ns") > 150_000_000).then_some(()));
    assert_serves(&server);
    assert_eq!(traps(&server), 0.0);
}

#[test]
fn a_loop_in_a_destructor_ends_at_its_cpu_time() {
    let server = start_reused(LIMIT);
    for answer in with_neighbour(&server, 1, || exchange(&server, "loop-in-destructor?size=1000")) {
        // The body was all there before it; whether its end got out before the instance was stopped is a race.
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.is_empty() || answer.contains("cpu_time"), "{answer}");
    }
    wait_for_traps(&server, 1);
    assert_serves(&server);

    let server = start_reused(LIFTED);
    let answer = exchange(&server, "loop-in-destructor?size=1000");
    assert!(answer.contains("all of it") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    assert_serves(&server);
    assert_eq!(traps(&server), 0.0);
}

/// Code that the host runs outside of a guest's own function ends as what is inside.
mod around_a_request {
    use super::*;

    /// A resource of the component's own whose destructor works.
    fn with_a_working_destructor() -> Handmade {
        let module = format!("(core module $cleaner {WORK} (func (export \"drop\") (param i32) (call $work)))");
        let definitions = format!(
            "{module}
            (core instance $cleaner (instantiate $cleaner))
            (type $thing (resource (rep i32) (dtor (func $cleaner \"drop\"))))
            (core func $new (canon resource.new $thing))
            (core func $drop (canon resource.drop $thing))"
        );
        Handmade {
            definitions,
            imports: "(export \"new\" (func $new)) (export \"drop\" (func $drop))".into(),
            fields: "(import \"host\" \"new\" (func $new (param i32) (result i32)))
                (import \"host\" \"drop\" (func $drop (param i32)))"
                .into(),
            before_answer: "(call $drop (call $new (i32.const 7)))".into(),
            ..Handmade::default()
        }
    }

    fn working() -> Handmade {
        Handmade { fields: WORK.into(), ..Handmade::default() }
    }

    #[track_caller]
    fn assert_ends_at_its_limit(component: &Handmade, limit: &str, code: &str) {
        let server = handmade::start(&component.code(), limit);
        assert_eq!(server.failures, []);
        for reply in with_neighbour(&server, 3, || server.get("/c/hostile/any")) {
            assert_answered(&reply, 504, code);
        }
        let server = handmade::start(&component.code(), "limits.cpu_ms_max = 600000\nlimits.wall_ms_max = 600000");
        let reply = server.get("/c/hostile/any");
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
        assert_eq!(traps(&server), 0.0);
    }

    #[test]
    fn a_start_function_ends_at_its_cpu_time_and_its_deadline() {
        let component = Handmade { fields: format!("{WORK} (start $work)"), ..Handmade::default() };
        for (limit, told) in [(LIMIT, "used up its CPU time"), ("limits.wall_ms_max = 20", "`wall_ms_max`")] {
            let server = handmade::start(&component.code(), limit);
            assert!(server.failure("hostile").contains(told), "{}", server.failure("hostile"));
        }
        let server = handmade::start(&component.code(), "limits.cpu_ms_max = 600000\nlimits.wall_ms_max = 600000");
        assert_eq!(server.get("/c/hostile/any").status, 200);
    }

    #[test]
    fn an_allocation_for_the_host_ends_at_its_cpu_time_and_its_deadline() {
        let component = Handmade { in_realloc: "(call $work)".into(), ..working() };
        assert_ends_at_its_limit(&component, LIMIT, "cpu_time");
        assert_ends_at_its_limit(&component, "limits.wall_ms_max = 20", "deadline");
    }

    #[test]
    fn the_destructor_of_a_resource_ends_at_its_cpu_time() {
        assert_ends_at_its_limit(&with_a_working_destructor(), LIMIT, "cpu_time");
    }

    #[test]
    fn what_a_component_cleans_up_after_its_answer_ends_at_its_cpu_time() {
        assert_ends_at_its_limit(&Handmade { after_answer: "(call $work)".into(), ..working() }, LIMIT, "cpu_time");
    }
}

#[test]
fn the_cpu_time_of_a_component_is_on_its_book() {
    let server = start(LIFTED);
    let before = usage(&server, "cpu_ns");
    assert_done(&get(&server, "loop?size=300"));
    let used = Duration::from_nanos(usage(&server, "cpu_ns") - before);
    assert!(used > Duration::from_millis(50), "{used:?}");
}
