//! One forward pass over token ids: what the model itself puts out, for callers that do the rest on their own.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Prepared, Want};
use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::model::Model;
use crate::worker::{Reader, Sequence};

/// A wish for raw outputs.
#[derive(Debug, Clone)]
pub struct ForwardJob {
    /// Registry name of the model.
    pub model: String,
    /// Token ids of each input, used as they are. At least one input.
    pub inputs: Vec<Vec<u32>>,
    /// Whose work it is; none is nobody's, and counted nowhere.
    pub account: Option<Arc<dyn Account>>,
}

/// What the numbers of a [`Forward`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// An encoder's last hidden state of every token. Shape of each input: `[tokens, width]`.
    Hidden,
    /// A language model's logits after the last token. Shape of each input: `[width]`.
    Logits,
}

/// The raw outputs of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// What the numbers are.
    pub outputs: Outputs,
    /// Numbers of one row.
    pub width: usize,
    /// The numbers of each input, in order.
    pub values: Vec<Vec<f32>>,
}

/// Checks a job for an encoder.
///
/// # Errors
/// When an input is out of the model's range.
pub(crate) fn prepare(model: &Model, job: ForwardJob) -> Result<Prepared<Forward>, JobError> {
    let inputs: Vec<Tokens> = job.inputs.into_iter().map(Tokens::plain).collect();
    check(model, &inputs)?;
    let width = model.card().dimensions;
    let finish = move |values| Forward { outputs: Outputs::Hidden, width, values };
    Ok(Prepared { account: job.account, want: Want::Tokens, inputs, finish: Box::new(finish) })
}

/// Checks a job for a language model: a sequence for each input, and where its logits will come.
///
/// # Errors
/// When an input is out of the model's range.
pub(crate) fn sequences(model: &Arc<Model>, job: ForwardJob) -> Result<Vec<(Sequence, LogitsReceiver)>, JobError> {
    let inputs: Vec<Tokens> = job.inputs.into_iter().map(Tokens::plain).collect();
    check(model, &inputs)?;
    let sequence = |Tokens { ids, .. }: Tokens| {
        let (reply, logits) = oneshot::channel();
        let capacity = ids.len();
        let reader = Box::new(LastLogits(Some(reply)));
        (Sequence::new(model.clone(), ids, capacity, job.account.clone(), reader), logits)
    };
    Ok(inputs.into_iter().map(sequence).collect())
}

fn check(model: &Model, inputs: &[Tokens]) -> Result<(), JobError> {
    let refused = |(index, tokens): (usize, &Tokens)| model.check(tokens).err().map(|reason| format!("input {index} {reason}"));
    match inputs.iter().enumerate().find_map(refused) {
        Some(reason) => Err(JobError::InvalidInput(reason)),
        None => Ok(()),
    }
}

/// Where the logits of one input come.
pub(crate) type LogitsReceiver = oneshot::Receiver<Result<Vec<f32>, JobError>>;

/// Sends the logits after the last token, and ends.
struct LastLogits(Option<oneshot::Sender<Result<Vec<f32>, JobError>>>);

impl LastLogits {
    fn send(&mut self, result: Result<Vec<f32>, JobError>) {
        // The owner may be gone by now; then nobody misses the answer.
        if let Some(reply) = self.0.take() {
            drop(reply.send(result));
        }
    }
}

impl Reader for LastLogits {
    fn is_generation(&self) -> bool {
        false
    }

    fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn read(&mut self, logits: &[f32]) -> Option<u32> {
        self.send(Ok(logits.to_vec()));
        None
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        self.send(Err(error));
    }
}
