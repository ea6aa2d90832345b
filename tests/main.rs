//! All integration tests.

mod cases;
mod engine;
mod http;
mod model {
    mod bert;
    mod expected;
    mod minilm;
    mod roberta;
}
