//! Taking memory: of the guest's own, its stack, its tables, and the host's for code.

use super::handmade::{self, Handmade};
use crate::hostile::{
    Attack, Seen, Stopped, achieved, assert_answered, assert_done, assert_neighbour, assert_serves, get, start, wait_for_traps,
    with_neighbour,
};

const LIMIT: &str = "limits.memory_bytes_max = 33554432"; // 32 MiB
const LIFTED: &str = "limits.memory_bytes_max = 536870912"; // 512 MiB

#[test]
fn memory_beyond_the_limit_is_refused_and_a_guest_that_needs_it_fails() {
    let stopped = Stopped::Answered(500, "component_failed");
    Attack { path: "memory-until-trap?size=100", limit: LIMIT, lifted: LIFTED, stopped, seen: Seen::Traps }.run();
}

#[test]
fn a_guest_that_goes_on_without_it_keeps_what_it_has() {
    let path = "memory-until-refused?size=100";
    Attack { path, limit: LIMIT, lifted: LIFTED, stopped: Stopped::Refused("refused", 32), seen: Seen::Nothing }.run();
    assert!(achieved(&get(&start(LIMIT), path)) > 20, "most of the limit can be used");
}

#[test]
fn many_tasks_take_memory_of_their_guest_only() {
    let stopped = Stopped::Answered(500, "component_failed");
    let limit = "limits.memory_bytes_max = 8388608"; // 8 MiB
    Attack { path: "tasks?size=100000", limit, lifted: LIFTED, stopped, seen: Seen::Traps }.run();
}

#[test]
fn a_recursion_beyond_the_stack_fails_and_nothing_else_does() {
    let server = start(LIFTED);
    for reply in with_neighbour(&server, 3, || get(&server, "stack?size=10000000")) {
        assert_answered(&reply, 500, "component_failed");
    }
    wait_for_traps(&server, 3);
    assert_serves(&server);
    assert_done(&get(&server, "stack?size=1000"));
}

#[test]
fn a_recursion_that_keeps_its_stack_out_of_memory_fails_as_well() {
    let fields = "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))";
    let before_answer = "(drop (call $deeper (i64.const 1)))";
    let component = Handmade { fields: fields.into(), before_answer: before_answer.into(), ..Handmade::default() };
    let server = handmade::start(&component.code(), "");
    for reply in with_neighbour(&server, 3, || server.get("/c/hostile/any")) {
        assert_answered(&reply, 500, "component_failed");
    }
}

/// A component that is refused under the first lines of policy, when it loads or when it starts, and works under the others.
#[track_caller]
fn assert_limited(component: &Handmade, limit: &str, lifted: &str) {
    let server = handmade::start(&component.code(), limit);
    assert_refused(&server, with_neighbour(&server, 3, || server.get("/c/hostile/any")));
    let server = handmade::start(&component.code(), lifted);
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/c/hostile/any").text(), "ok");
}

#[track_caller]
fn assert_refused(server: &tests::TestServer, replies: Vec<tests::Reply>) {
    for reply in replies {
        match server.failures.is_empty() {
            true => assert_answered(&reply, 500, "component_failed"),
            false => assert_eq!(reply.status, 404, "{}", reply.text()),
        }
    }
}

/// A component with more modules, each of these fields.
fn with_modules(count: usize, fields: &str) -> Handmade {
    let instances = "(core instance (instantiate $more))".repeat(count);
    Handmade { definitions: format!("(core module $more {fields}) {instances}"), ..Handmade::default() }
}

#[test]
fn several_memories_count_together() {
    assert_limited(&with_modules(3, "(memory 160)"), "limits.memory_bytes_max = 20971520", LIFTED); // 10 MiB each, of 20
}

#[test]
fn a_memory_that_is_declared_too_large_is_refused() {
    assert_limited(&with_modules(1, "(memory 1024)"), LIMIT, LIFTED); // 64 MiB
    // 64 GiB by 64-bit addresses: under no policy.
    let server = handmade::start(&with_modules(1, "(memory i64 1048576)").code(), "limits.memory_bytes_max = 1099511627776");
    assert_refused(&server, vec![server.get("/c/hostile/any")]);
    assert_neighbour(&server);
}

#[test]
fn a_table_grows_to_its_limit() {
    let grow = |elements: u32| Handmade {
        fields: "(table $table 0 funcref)".into(),
        // -1 is a refusal; then it fails.
        before_answer: format!(
            "(if (i32.eq (table.grow $table (ref.null func) (i32.const {elements})) (i32.const -1)) (then unreachable))"
        ),
        ..Handmade::default()
    };
    assert_limited(&grow(20_000), "limits.table_elements_max = 10000", "limits.table_elements_max = 50000");
    let server = handmade::start(&grow(u32::MAX).code(), "limits.table_elements_max = 1000000000");
    assert_refused(&server, vec![server.get("/c/hostile/any")]);
    assert_neighbour(&server);
}

#[test]
fn several_tables_count_together() {
    let tables = with_modules(2, "(table 8000 funcref)");
    assert_limited(&tables, "limits.table_elements_max = 10000", "limits.table_elements_max = 50000");
}

#[test]
fn core_instances_are_counted() {
    assert_limited(&with_modules(16, ""), "limits.core_instances_max = 8", "limits.core_instances_max = 32");
    let server = handmade::start(&with_modules(10_000, "").code(), "limits.core_instances_max = 1000000");
    assert_refused(&server, vec![server.get("/c/hostile/any")]);
    assert_neighbour(&server);
}

/// Code that is too much to be read: it is refused while the server starts, and its neighbours are served.
mod code {
    use super::*;

    /// It does not load, and says why.
    #[track_caller]
    fn assert_is_left_out(code: &[u8]) -> String {
        let server = handmade::start(code, "");
        assert_eq!(server.get("/c/hostile/any").status, 404);
        assert_neighbour(&server);
        server.failure("hostile").to_owned()
    }

    /// What it is made of is already too much.
    #[track_caller]
    fn assert_is_refused(code: &[u8]) {
        let failure = assert_is_left_out(code);
        assert!(failure.contains("component.wasm is refused"), "{failure:.500}");
    }

    fn length(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).expect("seven bits"));
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], length(content.len()).as_slice(), content].concat()
    }

    /// A component with a core module of these sections.
    fn with_module(sections: &[Vec<u8>]) -> Vec<u8> {
        let module = [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat();
        [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module)].concat()
    }

    /// Many times the same, after their number.
    fn list(count: usize, item: &[u8]) -> Vec<u8> {
        [length(count), item.repeat(count)].concat()
    }

    #[test]
    fn a_module_of_a_few_functions_made_in_this_way_is_one() {
        let types = section(1, &list(1, &[0x60, 0, 0]));
        let code = with_module(&[types, section(3, &list(3, &[0])), section(10, &list(3, &[2, 0, 0x0b]))]);
        let failure = assert_is_left_out(&code);
        assert!(failure.contains("serves nothing"), "{failure}");
    }

    #[test]
    fn more_functions_than_a_module_may_have_are_refused() {
        let count = 1_000_001;
        let types = section(1, &list(1, &[0x60, 0, 0]));
        assert_is_refused(&with_module(&[types, section(3, &list(count, &[0])), section(10, &list(count, &[2, 0, 0x0b]))]));
    }

    #[test]
    fn a_section_of_ten_megabytes_of_types_is_refused() {
        assert_is_refused(&with_module(&[section(1, &list(3_500_000, &[0x60, 0, 0]))]));
    }

    #[test]
    fn a_list_that_says_it_is_longer_than_its_section_is_refused() {
        let huge = [length(usize::try_from(u32::MAX).expect("fits")), vec![0x60, 0, 0]].concat();
        assert_is_refused(&with_module(&[section(1, &huge)]));
    }

    #[test]
    fn components_nested_a_thousand_deep_do_not_load_and_harm_nobody() {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let nested = (0..1000).fold(empty.clone(), |inner, _| [empty.clone(), section(4, &inner)].concat());
        assert_is_left_out(&nested);
    }

    #[test]
    fn a_function_of_a_million_nested_blocks_does_not_load_and_harms_nobody() {
        let depth = 1_000_000;
        let body = [&[0][..], &[0x02, 0x40].repeat(depth), &[0x0b].repeat(depth), &[0x0b]].concat();
        let function = [length(body.len()), body].concat();
        let types = section(1, &list(1, &[0x60, 0, 0]));
        assert_is_left_out(&with_module(&[types, section(3, &list(1, &[0])), section(10, &list(1, &function))]));
    }
}
