//! A guard that does what a guard must not, as the text asks for: the host has to survive it. It serves HTTP as well.

use tessera_sdk::guard::{Context, Failure, Span, Verdict};
use tessera_sdk::{Router, service};

service!(router);
tessera_sdk::guard!(check);

fn router() -> Router {
    Router::new().get("/hello", async || "hello")
}

#[expect(clippy::panic, reason = "a guard that panics is what the tests want")]
async fn check(text: String, _at: Context) -> Result<Verdict, Failure> {
    let length = text.len();
    let asked = |word: &str| text.contains(word);
    let spans = match () {
        () if asked("trap") => panic!("the guard tells {text}"),
        () if asked("loop") => loop {
            std::hint::black_box(());
        },
        () if asked("sleep") => {
            std::thread::sleep(std::time::Duration::from_secs(3600));
            Vec::new()
        }
        () if asked("fail") => return Err(Failure(format!("the guard tells {text}"))),
        () if asked("reveal") => return Ok(Verdict::block(text)),
        () if asked("declared") => return Ok(Verdict::block("declared")),
        () if asked("huge-reason") => return Ok(Verdict::block("x".repeat(8 << 20))),
        () if asked("huge") => vec![Span::new(0..length, "x".repeat(8 << 20))],
        () if asked("many") => vec![Span::new(0..1, ""); 200_000],
        () if asked("beyond") => vec![Span::new(0..length + 1, "")],
        () if asked("backwards") => vec![Span::new(3..1, "")],
        () if asked("overlapping") => vec![Span::new(0..3, ""), Span::new(2..4, "")],
        () if asked("inside") => vec![Span::new(0..text.find('é').unwrap_or(0) + 1, "")],
        () => Vec::new(),
    };
    Ok(Verdict::redact(spans))
}
