//! Rust types and traits of the WIT in `wit/`. The one place that calls `bindgen!`.

#![allow(missing_docs, unreachable_pub, clippy::all)] // generated

wasmtime::component::bindgen!({
    path: [
        "../../wit/inference.wit",
        "../../wit/handler.wit",
        "../../wit/config.wit",
        "../../wit/embed.wit",
        "../../wit/log.wit",
        "../../wit/rerank.wit",
        "../../wit/service.wit",
    ],
    world: "tessera:service/service@0.1.0",
    imports: { default: store },
    exports: { default: async },
});
