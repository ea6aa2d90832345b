//! What `wit-bindgen` makes of the interfaces of other components that this one calls.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    path: ["../retriever/wit", "../prompt-template/wit", "wit"],
    world: "rag:chatqna/chatqna",
    generate_all,
});
