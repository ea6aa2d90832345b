//! Write an AI service for Tessera in Rust.
//!
//! A service is a WebAssembly component: it gets HTTP requests, may call the models and stores of the host as far as
//! the operator's policy lets it, and answers. This is a whole one:
//!
//! ```
//! use tessera_sdk::{Error, Json, Router, service};
//!
//! service!(router);
//!
//! fn router() -> Router {
//!     Router::new().post("/echo", echo)
//! }
//!
//! async fn echo(Json(body): Json<serde_json::Value>) -> Result<Json<serde_json::Value>, Error> {
//!     Ok(Json(body))
//! }
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` with `cargo build --target wasm32-wasip2`, put the `.wasm` as `component.wasm` beside a
//! `component.toml` in a folder of its own, and drop that folder where the server looks for components.
//!
//! - [`Router`] sends a request to an async function by method and path; what the function takes implements
//!   [`FromRequest`], what it returns [`IntoResponse`].
//! - [`Json`] reads and writes JSON; what does not fit is answered 400 with the name of the field.
//! - [`Error`] is an HTTP status with OpenAI's error body. The errors of the capabilities turn into it with `?`.
//! - [`embed`], [`rerank`], [`classify`], [`generate`], [`tokenize`], [`vector`], [`kv`], [`blob`], [`http`], [`secret`],
//!   [`config`] and [`log`] are the host's capabilities, each named as in its WIT package and as its section in the policy. A component imports only those it calls.
//! - [`mod@guard`] is for components that look at what goes into others and comes out of them.
//! - [`sse`] sends events while they happen, as a generated text; [`kv::Rows`] keeps JSON with ids that [`id`] makes; [`messages`]
//!   finds the question in a chat, and [`opea`] has what OPEA's services share.
//! - [`background`] goes on after the answer is sent.
//!
//! Handlers are plain functions and run natively in tests: build a [`Request`], give it to [`Router::handle`]. Only
//! calls of capabilities need the host.

mod background;
pub mod blob;
pub mod classify;
pub mod config;
pub mod embed;
pub mod error;
pub mod generate;
pub mod guard;
pub mod handler;
pub mod http;
pub mod id;
pub mod inference;
pub mod json;
pub mod kv;
pub mod log;
pub mod messages;
pub mod opea;
pub mod rerank;
pub mod router;
pub mod secret;
pub mod sse;
pub mod store;
pub mod tokenize;
pub mod vector;

#[doc(hidden)]
pub mod bindings;

pub use background::background;
pub use error::Error;
pub use handler::{Body, BodyWriter, FromRequest, IntoResponse, Path, Request, Response};
pub use json::Json;
pub use router::Router;

/// Makes the crate a service component: `service!(router)` with `fn router() -> Router`.
///
/// Goes into `lib.rs` once. The function is called once per instance, before its first request. Outside of
/// WebAssembly the macro only checks its argument, so that the crate's tests run natively.
#[macro_export]
macro_rules! service {
    ($router:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Service;

            impl $crate::bindings::exports::tessera::handler::handler::Guest for Service {
                async fn handle(
                    request: $crate::bindings::exports::tessera::handler::handler::Request,
                ) -> $crate::bindings::exports::tessera::handler::handler::Response {
                    $crate::handler::serve($router, request).await
                }
            }

    $crate::bindings::export_service!(Service with_types_in $crate::bindings);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::Router = $router;
    };
}
