//! Having a model answer, whole or as a stream.

use tessera_sdk::generate::{self, Event, Generation, Options, Outcome, Stream};
use tessera_sdk::handler::Closed;
use tessera_sdk::{Error, Response, inference, sse};

use crate::answer::{Answer, Ending};
use crate::citation::Citations;
use crate::decline;
use crate::passages::Prompt;

/// Answers. Until the first piece of text every failure is an error with a status.
pub(crate) async fn answer(prompt: Prompt, options: Options, answer: Answer, stream: Stream) -> Result<Response, Error> {
    let Prompt { question, messages } = prompt;
    let mut generation = generate::generate(messages, options).await.inspect_err(log_if_internal)?;
    let first = generation.next_all().await.inspect_err(log_if_internal)?;
    let citations = Citations::of(answer.sources.len());
    let mut writing = Writing { question, citations, text: String::new(), answer };
    if stream != Stream::Whole {
        return Ok(Response::sse(move |events| send(events, generation, first, writing, stream)));
    }
    let mut next = first;
    while let Some(event) = next {
        writing.push(&event);
        next = generation.next_all().await.inspect_err(log_if_internal)?;
    }
    let (_, ending) = writing.finish(&generation.into_outcome()?);
    Ok(writing.answer.whole(&writing.text, &ending))
}

/// Sends all of it. When the client is gone a send fails, and the generation is dropped.
///
/// A generation that fails ends with an error event and without `[DONE]`.
async fn send(
    mut events: sse::Events,
    mut generation: Generation,
    first: Option<Event>,
    mut writing: Writing,
    stream: Stream,
) -> Result<(), Closed> {
    if let Some(first) = writing.answer.first() {
        events.send(first).await?;
    }
    let mut next = Ok(first);
    while let Ok(Some(event)) = &next {
        let text = writing.push(event);
        if !text.is_empty() {
            events.send(writing.answer.piece(&text)).await?;
        }
        next = generation.next_all().await;
    }
    match next.and_then(|_| generation.into_outcome()) {
        Ok(outcome) => {
            let (rest, ending) = writing.finish(&outcome);
            if !rest.is_empty() {
                events.send(writing.answer.piece(&rest)).await?;
            }
            for event in writing.answer.last(&ending, stream) {
                events.send(event).await?;
            }
        }
        Err(error) => {
            log_if_internal(&error);
            events.send(sse::Event::error(&Error::from(error))).await?;
        }
    }
    events.finish()
}

/// An answer, its text so far, and what of it cites.
struct Writing {
    question: String,
    answer: Answer,
    text: String,
    citations: Citations,
}

impl Writing {
    /// Takes what was generated; gives what of it is sure.
    fn push(&mut self, event: &Event) -> String {
        let sure = self.citations.push(&event.text);
        self.text.push_str(&sure);
        sure
    }

    /// The rest of the text, and how it ended. An answer that cites nothing gets the citation of the passage that it is nearest to.
    fn finish(&mut self, outcome: &Outcome) -> (String, Ending) {
        let mut rest = self.citations.finish();
        self.text.push_str(&rest);
        let is_declined = decline::declines(&self.text, &self.answer.decline);
        if !is_declined {
            let sources: Vec<(u32, &str)> = self.answer.sources.iter().map(|source| (source.n, source.text.as_str())).collect();
            let citation = self.citations.cite_nearest(&self.text, &self.question, &sources).unwrap_or_default();
            self.text.push_str(&citation);
            rest.push_str(&citation);
        }
        self.answer.cite(&self.citations);
        (rest, Ending::new(outcome, is_declined))
    }
}

fn log_if_internal(error: &inference::Error) {
    error.log_if_internal("generate");
}
