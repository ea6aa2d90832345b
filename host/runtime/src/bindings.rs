//! Rust types and traits of the WIT in `wit/`. The one place that calls `bindgen!`.

#![allow(missing_docs, unreachable_pub, clippy::all)] // generated

wasmtime::component::bindgen!({
    path: [
        "../../wit/inference.wit",
        "../../wit/handler.wit",
        "../../wit/config.wit",
        "../../wit/embed.wit",
        "../../wit/classify.wit",
        "../../wit/store.wit",
        "../../wit/blob.wit",
        "../../wit/kv.wit",
        "../../wit/vector.wit",
        "../../wit/deps/io.wit",
        "../../wit/generate.wit",
        "../../wit/http.wit",
        "../../wit/log.wit",
        "../../wit/rerank.wit",
        "../../wit/secret.wit",
        "../../wit/tokenize.wit",
        "../../wit/guard.wit",
        "../../wit/service.wit",
    ],
    world: "tessera:service/service@0.1.0",
    imports: { "tessera:generate/generate-poll": store | trappable, default: store },
    exports: { default: async },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "tessera:generate/generate-poll.generation": crate::capability::generate::Polled,
        "tessera:vector/vector.draft": crate::capability::vector::Draft,
    },
});

/// The export of guards.
pub mod guard {
    wasmtime::component::bindgen!({
        path: "../../wit/guard.wit",
        inline: "package tessera:host; world guards { export tessera:guard/guard@0.1.0; }",
        world: "tessera:host/guards",
        exports: { default: async | store },
    });
}
