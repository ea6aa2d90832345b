//! What `wit-bindgen` makes of the interface that this guest is about.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    inline: "
        package guest:generate-poll;
        world guest {
            import tessera:generate/generate-poll@0.1.0;
        }
    ",
    path: ["../../../wit/inference.wit", "../../../wit/deps/io.wit", "../../../wit/generate.wit"],
    world: "guest:generate-poll/guest",
    generate_all,
});
