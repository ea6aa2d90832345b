//! Serves HTTP by the SDK and exports functions at once.

mod bindings;

use tessera_sdk::{Request, Router, service};

service!(router);

fn router() -> Router {
    Router::new()
        .get("/hello", from_handler)
        .post("/hello", from_handler)
        .post("/mixed/hello", from_handler)
        .post("/ops/thrice", from_handler)
        .get("/openapi.json", from_handler)
}

async fn from_handler(_request: Request) -> &'static str {
    "from the handler"
}

/// The component.
struct Component;

impl bindings::Guest for Component {
    fn hello() -> String {
        "from the function".into()
    }
}

impl bindings::exports::ops::Guest for Component {
    fn twice(value: u32) -> u32 {
        value.wrapping_mul(2)
    }
}
