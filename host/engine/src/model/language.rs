//! What a language model does in one step, and the plain loops over it that tools and tests use.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;

use super::{Body, LanguageModel, Model};
use crate::batch::{Batch, Tokens};
use crate::device;
use crate::kernel::cache::BLOCK;
use crate::nn::KvCache;
use crate::task::generate::sampler::most_likely;

/// Some tokens of one sequence, and what is wanted of them.
pub(crate) struct Feed<'a> {
    /// At least one token, for which the cache has room.
    pub(crate) ids: &'a [u32],
    /// What the sequence has seen until now.
    pub(crate) cache: &'a mut KvCache,
    /// Places in `ids` after which logits are wanted, ascending.
    pub(crate) logits_after: Vec<usize>,
}

/// Logits around a prompt and its greedy continuation, as `expected.json` of the reference vectors has them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Greedy {
    /// Always `causal-lm`.
    pub kind: &'static str,
    /// The prompt.
    pub input_ids: Vec<u32>,
    /// Logits after its first token.
    pub logits_row0: Vec<f32>,
    /// Logits after its last token.
    pub logits_last: Vec<f32>,
    /// The likeliest next ids, one after the other.
    pub greedy_ids: Vec<u32>,
    /// Logits after those.
    pub logits_after_greedy: Vec<f32>,
}

impl Model {
    /// Whether it is a language model.
    pub(crate) fn is_language(&self) -> bool {
        matches!(self.body, Body::Language(_))
    }

    /// Tokens in its vocabulary.
    pub(crate) fn vocabulary(&self) -> usize {
        self.shape.vocabulary
    }

    /// Bytes of weights that one generated token reads: all but a table of which it reads one row.
    pub(crate) fn bytes_per_token(&self) -> usize {
        self.weight_bytes.saturating_sub(self.language().idle_bytes())
    }

    /// Bytes that a sequence of so many tokens takes; the most there are if that overflows.
    pub(crate) fn cache_bytes(&self, tokens: usize) -> usize {
        self.language().cache().bytes(tokens).unwrap_or(usize::MAX)
    }

    /// Tokens of a sequence whose cache takes at most so many bytes.
    pub(crate) fn tokens_within(&self, bytes: usize) -> usize {
        bytes / self.cache_bytes(BLOCK).max(1) * BLOCK
    }

    /// An empty cache for so many tokens.
    ///
    /// # Panics
    /// When it is no language model.
    pub(crate) fn new_cache(&self, capacity: usize) -> KvCache {
        KvCache::new(self.language().cache(), capacity, &self.device)
    }

    /// One step of several sequences. The logits that are wanted come in order, `[rows, vocabulary]` one after the other.
    ///
    /// # Panics
    /// When it is no language model, an id was not checked, or a cache is full.
    pub(crate) fn step(&self, feeds: &mut [Feed<'_>]) -> Vec<f32> {
        let model = self.language();
        let mut batch = Batch::default();
        let mut wanted: Vec<i32> = Vec::new();
        for feed in feeds.iter() {
            let first = batch.ids.len();
            batch.push_run(feed.ids, feed.cache.len());
            let row = |place: &usize| i32::try_from(first + place).expect("a step is bounded");
            wanted.extend(feed.logits_after.iter().map(row));
        }
        let mut caches: Vec<&mut KvCache> = feeds.iter_mut().map(|feed| &mut *feed.cache).collect();
        let hidden = model.hidden(&batch, &mut caches);
        caches.iter_mut().zip(&batch.runs).for_each(|(cache, run)| cache.advance(run.len()));
        if wanted.is_empty() {
            return Vec::new();
        }
        let count = wanted.len();
        let wanted = Tensor::<1, Int>::from_data(TensorData::new(wanted, [count]), &self.device);
        device::values(model.logits(hidden.select(0, wanted)))
    }

    /// Runs prompts given as token ids, `chunk` tokens of each a step, and goes on with the likeliest `greedy` ids.
    ///
    /// # Errors
    /// A text that says which input is out of the model's range, or that it is no language model.
    pub fn greedy(&self, inputs: &[Vec<u32>], greedy: usize, chunk: usize) -> Result<Vec<Greedy>, String> {
        if !self.is_language() {
            return Err("this is no language model: use `embed` or `score`".into());
        }
        for (index, ids) in inputs.iter().enumerate() {
            let tokens = Tokens::plain(ids.clone());
            self.check(&tokens).map_err(|reason| format!("input {index} {reason}"))?;
            let tokens_max = self.shape.tokens_max;
            if ids.len().checked_add(greedy).is_none_or(|tokens| tokens > tokens_max) {
                return Err(format!("input {index} and {greedy} more are beyond the model's {tokens_max} tokens"));
            }
        }
        let mut runs: Vec<GreedyRun> = inputs.iter().map(|ids| GreedyRun::new(self, ids, greedy)).collect();
        while runs.iter().any(|run| run.left(greedy) > 0) {
            self.greedy_step(&mut runs, greedy, chunk.max(1));
        }
        Ok(runs.into_iter().map(|run| run.report).collect())
    }

    fn greedy_step(&self, runs: &mut [GreedyRun], greedy: usize, chunk: usize) {
        let mut running: Vec<&mut GreedyRun> = runs.iter_mut().filter(|run| run.left(greedy) > 0).collect();
        let parts: Vec<Range<usize>> = running.iter().map(|run| run.next(chunk)).collect();
        let mut feeds: Vec<Feed<'_>> = running
            .iter_mut()
            .zip(&parts)
            .map(|(run, part)| {
                let logits_after =
                    part.clone().filter(|&position| run.is_wanted(position)).map(|position| position - part.start);
                Feed { logits_after: logits_after.collect(), ids: &run.ids[part.clone()], cache: &mut run.cache }
            })
            .collect();
        let logits = self.step(&mut feeds);
        let mut rows = logits.chunks_exact(self.shape.vocabulary);
        for (run, part) in running.into_iter().zip(parts) {
            for position in part {
                if run.is_wanted(position) {
                    run.take(position, rows.next().expect("a row of logits for each place"), greedy);
                }
            }
        }
    }

    fn language(&self) -> &dyn LanguageModel {
        let Body::Language(model) = &self.body else { unreachable!("jobs for language models are checked to go to one") };
        &**model
    }
}

/// A greedy generation under way.
struct GreedyRun {
    ids: Vec<u32>,
    cache: KvCache,
    report: Greedy,
}

impl GreedyRun {
    fn new(model: &Model, ids: &[u32], greedy: usize) -> GreedyRun {
        let report = Greedy {
            kind: "causal-lm",
            input_ids: ids.to_vec(),
            logits_row0: Vec::new(),
            logits_last: Vec::new(),
            greedy_ids: Vec::new(),
            logits_after_greedy: Vec::new(),
        };
        GreedyRun { ids: ids.to_vec(), cache: model.new_cache(ids.len() + greedy), report }
    }

    /// Tokens that have yet to be fed.
    fn left(&self, greedy: usize) -> usize {
        self.report.input_ids.len() + greedy - self.cache.len()
    }

    fn next(&self, chunk: usize) -> Range<usize> {
        let start = self.cache.len();
        start..self.ids.len().min(start.saturating_add(chunk))
    }

    fn is_wanted(&self, position: usize) -> bool {
        position == 0 || position + 1 >= self.report.input_ids.len()
    }

    /// Takes the logits after the token at a position.
    fn take(&mut self, position: usize, logits: &[f32], greedy: usize) {
        let last = self.report.input_ids.len() - 1;
        if position == 0 {
            self.report.logits_row0 = logits.to_vec();
        }
        if position == last {
            self.report.logits_last = logits.to_vec();
        }
        if position == last + greedy {
            self.report.logits_after_greedy = logits.to_vec();
        } else if position >= last {
            let best = most_likely(logits);
            self.ids.push(best);
            self.report.greedy_ids.push(best);
        }
    }
}
