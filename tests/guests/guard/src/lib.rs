//! Blocks the word `forbidden`, and redacts telephone numbers (`555-1234`) and what looks like `secret123`. Serves no HTTP.

use tessera_sdk::guard::{Context, Failure, Span, Verdict};

tessera_sdk::guard!(check);

async fn check(text: String, _at: Context) -> Result<Verdict, Failure> {
    if text.contains("forbidden") {
        return Ok(Verdict::block("banned-word"));
    }
    let mut spans = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match found(&text.as_bytes()[at..]) {
            Some((length, replacement)) => {
                spans.push(Span::new(at..at + length, replacement));
                at += length;
            }
            None => at += 1,
        }
    }
    Ok(Verdict::redact(spans))
}

/// What the bytes begin with that must not be seen: its length, and what to put in its place.
fn found(bytes: &[u8]) -> Option<(usize, &'static str)> {
    let is = |pattern: &[u8]| {
        let fits = |(byte, expected): (&u8, &u8)| if *expected == b'0' { byte.is_ascii_digit() } else { byte == expected };
        bytes.len() >= pattern.len() && bytes.iter().zip(pattern).all(fits)
    };
    let patterns = [(&b"000-0000"[..], "[phone]"), (b"secret000", "[secret]")];
    patterns.into_iter().find(|(pattern, _)| is(pattern)).map(|(pattern, replacement)| (pattern.len(), replacement))
}
