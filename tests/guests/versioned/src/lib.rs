//! Says which version it is. The number stands in its code once, and tests write another one there.

use tessera_sdk::{Router, service};

service!(router);

fn router() -> Router {
    Router::new().get("/", version).get("/slow", slow)
}

async fn version() -> &'static str {
    "version 0000"
}

/// The same, a while later.
async fn slow() -> &'static str {
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(300) {
        std::hint::black_box(());
    }
    version().await
}
