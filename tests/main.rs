//! All integration tests.

// What tests share fails by panicking, as they do.
#![allow(clippy::panic)]

mod attack {
    mod arguments;
    mod cpu;
    mod files;
    mod handles;
    mod handmade;
    mod headers;
    mod memory;
    mod quota;
    mod ssrf;
    mod streams;
    mod traps;
    pub(crate) mod upstream;
}
mod audit;
mod capability {
    mod background;
    mod blob;
    mod call;
    mod classify;
    mod config;
    mod embed;
    mod env;
    mod fs;
    mod generate;
    mod handler;
    mod http;
    mod imports;
    mod kv;
    mod log;
    mod nn;
    mod outside;
    mod rerank;
    mod secret;
    mod tokenize;
    mod vector;
}
mod callers;
mod cases;
mod chat;
mod chatqna;
mod command;
mod component;
mod engine;
mod generate;
mod guard;
mod hostile;
mod http;
mod instance;
mod integrity {
    mod cache;
    mod models;
    mod signatures;
}
mod lifecycle;
mod mcp;
mod model {
    mod bert;
    mod classifier;
    mod expected;
    mod language;
    mod llama_cpp;
    mod minilm;
    mod rampart;
    mod roberta;
}
mod plugins;
mod policy;
mod rows;
mod shutdown;
mod tidy;
mod typed;
mod wasi_http;
