//! Checks texts for prompt injection, toxicity, personal data, secrets, banned words and patterns, invisible characters and
//! topics: as a guard that policies require of other components, and as OPEA's `POST /v1/guardrails`, `/v1/injection`, `/v1/pii` and
//! `/v1/toxicity`.

mod checks;
mod current;
mod folded;
mod part;
mod routes;
mod scan;
mod settings;
mod windows;

use scan::{Stretch, Task, scan};
use tessera_sdk::guard::{Context, Direction, Failure, Span, Verdict};
use tessera_sdk::{Router, guard, service};

guard!(check);
service!(router);

fn router() -> Router {
    Router::new()
        .post("/v1/guardrails", routes::guardrails::guardrails)
        .post("/v1/injection", routes::single::injection)
        .post("/v1/pii", routes::pii::pii)
        .post("/v1/toxicity", routes::single::toxicity)
}

async fn check(text: String, at: Context) -> Result<Verdict, Failure> {
    let settings = current::settings()?;
    let stretch = Stretch { is_start: at.offset == 0, is_end: at.is_final };
    let (steps, types) = match at.direction {
        Direction::Input => (&settings.input, &settings.pii.input_types),
        Direction::Output => (&settings.output, &settings.pii.output_types),
    };
    let findings = scan(&text, stretch, Task { steps, settings: &settings, types }).await.inspect_err(current::tell)?;
    Ok(match findings.blocked.first() {
        Some(check) => Verdict::block(check.reason()),
        None => Verdict::redact(findings.parts.into_iter().map(|part| Span::new(part.range, part.replacement))),
    })
}
