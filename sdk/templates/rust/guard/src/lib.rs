//! Takes e-mail addresses out of texts, and lets no private key pass. `POST /check` shows what it would say.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::guard::{Context, Failure, Span, Verdict};
use tessera_sdk::{Json, Router, service};

tessera_sdk::guard!(check);
service!(router);

async fn check(text: String, _at: Context) -> Result<Verdict, Failure> {
    Ok(judge(&text))
}

fn judge(text: &str) -> Verdict {
    if text.contains("PRIVATE KEY-----") {
        return Verdict::block("private-key");
    }
    Verdict::redact(words(text).filter(|(_, word)| is_address(word)).map(|(start, word)| {
        let end = start + word.len();
        Span::new(start..end, "[e-mail]")
    }))
}

/// What white space and punctuation part, and where it begins, in bytes.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = text.split(|c: char| c.is_whitespace() || ",;:()<>\"'".contains(c));
    parts.map(move |part| (part.as_ptr().addr() - text.as_ptr().addr(), part.trim_end_matches('.')))
}

fn is_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.contains('.') && !host.starts_with('.'))
}

fn router() -> Router {
    Router::new().post("/check", show)
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

async fn show(Json(asked): Json<Text>) -> Json<Value> {
    let span = |span: Span| json!({ "start": span.start, "end": span.end, "replacement": span.replacement });
    Json(match judge(&asked.text) {
        Verdict::Allow => json!({ "allow": true }),
        Verdict::Redact(spans) => json!({ "redact": spans.into_iter().map(span).collect::<Vec<_>>() }),
        Verdict::Block(reason) => json!({ "block": reason }),
    })
}
