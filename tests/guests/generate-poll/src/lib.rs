//! Generates by polling, as components made with tools of WASI 0.2 do: `wstd` and plain `wit-bindgen`, nothing of ours.

mod bindings;

use wstd::http::{Body, Error, Request, Response};

use bindings::tessera::generate::generate_poll::{self as host, Generation, Progress};
use bindings::tessera::generate::types::{Options, Outcome, Prompt, Sampling};
use bindings::tessera::inference::types::Error as HostError;

/// The body is the prompt, the query a model's name. `/models` lists those that there are. `/cancel` stops after the first events and shows how it ended; `/drop`
/// drops it there.
#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    if request.uri().path() == "/models" {
        return Ok(Response::new(host::models().join(" ").into()));
    }
    let prompt = request.body_mut().str_contents().await?.to_owned();
    let model = request.uri().query().map(str::to_owned);
    let text = match host::start(&Prompt::Text(prompt), &options(model)) {
        Ok(generation) => match request.uri().path() {
            "/cancel" => cancel(&generation),
            "/drop" => next(&generation).map(|(text, _)| text).unwrap_or_else(shown),
            _ => read(&generation),
        },
        Err(error) => shown(error),
    };
    Ok(Response::new(text.into()))
}

fn options(model: Option<String>) -> Options {
    let sampling = Sampling {
        repetition_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        logit_bias: Vec::new(),
        temperature: 0.0,
        top_k: None,
        typical_p: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        seed: None,
    };
    Options { model, tokens_max: None, stop: Vec::new(), sampling, logprobs: None }
}

/// All of the text, the model's name before it and the number of its tokens behind it.
fn read(generation: &Generation) -> String {
    let mut all = format!("{}: ", generation.model());
    loop {
        match next(generation) {
            Ok((text, None)) => all.push_str(&text),
            Ok((_, Some(outcome))) => return format!("{all} ({} tokens)", outcome.generated_tokens),
            Err(error) => return format!("{all} {}", shown(error)),
        }
    }
}

fn cancel(generation: &Generation) -> String {
    let first = next(generation).map(|(text, _)| text).unwrap_or_else(shown);
    generation.cancel();
    let end = loop {
        match next(generation) {
            Ok((_, None)) => {} // what had come already
            Ok((_, Some(_))) => break "done".to_owned(),
            Err(error) => break shown(error),
        }
    };
    format!("{first} {end}")
}

/// Waits for what comes next: text, or how it ended.
fn next(generation: &Generation) -> Result<(String, Option<Outcome>), HostError> {
    loop {
        match generation.next()? {
            Progress::Waiting => generation.subscribe().block(),
            Progress::Events(events) => return Ok((events.into_iter().map(|event| event.text).collect(), None)),
            Progress::Done(outcome) => return Ok((String::new(), Some(outcome))),
        }
    }
}

fn shown(error: HostError) -> String {
    format!("{:?}: {}", error.code, error.message)
}
