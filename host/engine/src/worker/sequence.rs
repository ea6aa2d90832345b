//! A sequence in the queue: tokens that a language model has yet to be fed, and who reads the logits after them.

use std::ops::Range;
use std::sync::Arc;

use crate::account::{Account, Charge, Held};
use crate::engine::JobError;
use crate::model::{Feed, Model};
use crate::nn::KvCache;

/// Who reads a sequence's logits, and says how it goes on.
pub(crate) trait Reader: Send {
    /// Whether it picks tokens. Then its owner holds the memory of its cache, and it ends when the owner has used up what it
    /// may.
    fn is_generation(&self) -> bool;

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;

    /// Whether there is room for what it has to say about one more token. Until there is, its sequence waits.
    fn is_ready(&self) -> bool {
        true
    }

    /// Takes the logits after the last token that was fed. Gives the next token to feed, or none at the end.
    fn read(&mut self, logits: &[f32]) -> Option<u32>;

    /// Tells that the sequence can't go on.
    fn fail(self: Box<Self>, error: JobError);
}

/// Tokens on their way through a language model.
pub(crate) struct Sequence {
    pub(super) model: Arc<Model>,
    /// What it takes from the budget for caches.
    pub(super) cache_bytes: usize,
    capacity: usize,
    /// None until the first step: a sequence that is not admitted takes nothing.
    cache: Option<KvCache>,
    /// None until it is admitted, and where there is nobody to hold it.
    held: Option<Held>,
    account: Option<Arc<dyn Account>>,
    /// Dropped after the memory: who sees the reader's end finds the memory given back.
    pub(super) reader: Box<dyn Reader>,
    ids: Vec<u32>,
    fed: usize,
    /// Whether the reader has not picked a token yet.
    is_prompt: bool,
}

impl Sequence {
    /// A sequence that begins with these tokens and may grow to `capacity`. It costs memory as it is fed.
    pub(crate) fn new(
        model: Arc<Model>,
        ids: Vec<u32>,
        capacity: usize,
        account: Option<Arc<dyn Account>>,
        reader: Box<dyn Reader>,
    ) -> Sequence {
        let cache_bytes = model.cache_bytes(capacity);
        Sequence { model, cache_bytes, capacity, cache: None, held: None, account, reader, ids, fed: 0, is_prompt: true }
    }

    /// Has its owner set the memory of its cache aside, if it generates, for as long as the sequence lives.
    ///
    /// # Errors
    /// When the owner may not have it.
    pub(super) fn hold(&mut self) -> Result<(), JobError> {
        let account = self.account.clone().filter(|_| self.reader.is_generation());
        self.held = account.map(|account| Held::new(account, self.cache_bytes)).transpose()?;
        Ok(())
    }

    /// Tells its owner what a step used; says whether it may go on.
    pub(super) fn charge(&self, charge: Charge) -> bool {
        let may_use_more = self.account.as_ref().is_none_or(|account| account.charge(charge));
        may_use_more || !self.reader.is_generation()
    }

    /// Tokens that have yet to be fed.
    pub(super) fn left(&self) -> usize {
        self.ids.len() - self.fed
    }

    /// How many of the next tokens for a step are of the prompt.
    pub(super) fn prompt_tokens(&self, tokens: usize) -> usize {
        if self.is_prompt { tokens } else { 0 }
    }

    /// The next tokens for a step; logits are wanted after the last of all.
    pub(super) fn feed(&mut self, tokens: usize) -> Feed<'_> {
        let part: Range<usize> = self.fed..self.fed + tokens;
        self.fed = part.end;
        let is_last = part.end == self.ids.len();
        let logits_after = if is_last { vec![tokens - 1] } else { Vec::new() };
        let cache = self.cache.get_or_insert_with(|| self.model.new_cache(self.capacity));
        Feed { ids: &self.ids[part], cache, logits_after }
    }

    /// Whether its reader picked a token just now that the schedule doesn't know of.
    pub(super) fn is_new_token(&self) -> bool {
        self.fed == 0 && self.left() == 1
    }

    /// Has the reader take the logits after all that was fed; says whether it goes on.
    pub(super) fn read(&mut self, logits: &[f32]) -> bool {
        let next = self.reader.read(logits);
        self.ids.clear();
        self.ids.extend(next);
        self.fed = 0;
        self.is_prompt = false;
        next.is_some()
    }

    /// Gives its memory back and tells its reader why it can't go on.
    pub(super) fn fail(self, error: JobError) {
        drop((self.cache, self.held));
        self.reader.fail(error);
    }
}
