//! What `wit-bindgen` makes of the packages in `wit/`. The rest of the crate is written by hand on top of it.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated: the lifting and lowering of the canonical ABI"
)]

wit_bindgen::generate!({
    // A package may only use packages that stand before it.
    path: [
        "../wit/inference.wit",
        "../wit/handler.wit",
        "../wit/embed.wit",
        "../wit/classify.wit",
        "../wit/store.wit",
        "../wit/blob.wit",
        "../wit/kv.wit",
        "../wit/vector.wit",
        "../wit/rerank.wit",
        "../wit/config.wit",
        "../wit/deps/io.wit",
        "../wit/generate.wit",
        "../wit/tokenize.wit",
        "../wit/http.wit",
        "../wit/log.wit",
        "../wit/secret.wit",
        "../wit/guard.wit",
        "../wit/service.wit",
    ],
    world: "tessera:service/service@0.1.0",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_service",
    default_bindings_module: "tessera_sdk::bindings",
});

/// The export of guards, which a component may have beside or instead of the handler.
pub mod guard {
    wit_bindgen::generate!({
        path: "../wit/guard.wit",
        inline: "package tessera:sdk; world guard { export tessera:guard/guard@0.1.0; }",
        world: "tessera:sdk/guard",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_guard",
        default_bindings_module: "tessera_sdk::bindings::guard",
    });
}
