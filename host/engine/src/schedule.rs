//! Which inputs go into the next batch. A pure state machine: no clock, no thread, no tensor.
//!
//! Requests wait in the order they came. A batch takes inputs of the oldest request's kind, one from each request in turn,
//! until its token budget is spent; what is left of that request goes to the end of the line. So short requests don't wait
//! behind long ones, and nothing waits for a batch to fill.

use std::collections::VecDeque;

/// How much may wait and how much goes into one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Tokens of one batch; a single input may have more.
    pub(crate) batch_tokens_max: usize,
    /// The same while a sequence is under way, so that its next token doesn't wait long; and the most tokens that sequences
    /// are fed in a step while others wait. One that is alone is fed [`ALONE`] times as many, so that it ends soon if given up.
    pub(crate) step_tokens_max: usize,
    /// Tokens that may wait.
    pub(crate) queue_tokens_max: usize,
}

/// How much larger a step is while nobody else waits.
const ALONE: usize = 4;

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One input of a request, or so many tokens of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) request: u64,
    pub(crate) input: usize,
    pub(crate) tokens: usize,
}

#[derive(Debug)]
struct Waiting<Kind> {
    request: u64,
    kind: Kind,
    /// Tokens of each input that has not been in a batch, with its index.
    inputs: VecDeque<(usize, usize)>,
    /// Whether its one input may be cut anywhere: tokens that a language model is fed.
    is_sequence: bool,
}

/// Requests that wait, and the rule that picks among them. Inputs of one `Kind` can share a batch.
#[derive(Debug)]
pub(crate) struct Schedule<Kind> {
    limits: Limits,
    waiting: VecDeque<Waiting<Kind>>,
    tokens: usize,
}

impl<Kind: Copy + PartialEq> Schedule<Kind> {
    pub(crate) fn new(limits: Limits) -> Self {
        Schedule { limits, waiting: VecDeque::new(), tokens: 0 }
    }

    /// Tokens that may wait.
    pub(crate) fn tokens_max(&self) -> usize {
        self.limits.queue_tokens_max
    }

    /// Tokens that wait.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Takes a request with the token count of each of its inputs, all or nothing.
    pub(crate) fn push(&mut self, request: u64, kind: Kind, lengths: impl Iterator<Item = usize>) -> Result<(), Full> {
        let inputs: VecDeque<(usize, usize)> = lengths.enumerate().collect();
        let tokens: usize = inputs.iter().map(|(_, tokens)| tokens).sum();
        if self.tokens.saturating_add(tokens) > self.limits.queue_tokens_max {
            return Err(Full);
        }
        self.tokens += tokens;
        self.waiting.push_back(Waiting { request, kind, inputs, is_sequence: false });
        Ok(())
    }

    /// Takes a sequence with the tokens that it is to be fed.
    pub(crate) fn push_sequence(&mut self, request: u64, kind: Kind, tokens: usize) -> Result<(), Full> {
        if self.tokens.saturating_add(tokens) > self.limits.queue_tokens_max {
            return Err(Full);
        }
        self.feed(request, kind, tokens);
        Ok(())
    }

    /// Gives a sequence that is under way its next tokens; there is always room for them.
    pub(crate) fn feed(&mut self, request: u64, kind: Kind, tokens: usize) {
        self.tokens += tokens;
        self.waiting.push_back(Waiting { request, kind, inputs: [(0, tokens)].into(), is_sequence: true });
    }

    /// Forgets requests that nobody waits for any more.
    pub(crate) fn retain(&mut self, mut is_wanted: impl FnMut(u64) -> bool) {
        self.waiting.retain(|waiting| is_wanted(waiting.request));
        self.tokens = self.waiting.iter().flat_map(|waiting| &waiting.inputs).map(|(_, tokens)| tokens).sum();
    }

    /// The next batch and its kind; none when nothing waits.
    pub(crate) fn next_batch(&mut self) -> Option<(Kind, Vec<Place>)> {
        let (kind, is_sequence) = self.waiting.front().map(|front| (front.kind, front.is_sequence))?;
        let batch = if is_sequence { self.take_tokens(kind) } else { self.take_inputs(kind) };
        self.tokens -= batch.iter().map(|place| place.tokens).sum::<usize>();
        let is_left = self.waiting.front().is_some_and(|front| !front.inputs.is_empty());
        if is_left {
            self.waiting.rotate_left(1);
        }
        self.waiting.retain(|waiting| !waiting.inputs.is_empty());
        Some((kind, batch))
    }

    /// One input of each request in turn, as many as fit.
    fn take_inputs(&mut self, kind: Kind) -> Vec<Place> {
        let is_shared = self.waiting.iter().any(|waiting| waiting.is_sequence);
        let mut budget = if is_shared { self.limits.step_tokens_max } else { self.limits.batch_tokens_max };
        let mut batch = Vec::new();
        loop {
            let taken = batch.len();
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.kind == kind) {
                let fits = |&(_, tokens): &(usize, usize)| tokens <= budget || batch.is_empty();
                let Some((input, tokens)) = waiting.inputs.pop_front_if(|next| fits(next)) else { continue };
                budget = budget.saturating_sub(tokens);
                batch.push(Place { request: waiting.request, input, tokens });
            }
            if batch.len() == taken {
                return batch;
            }
        }
    }

    /// The next token of every sequence that waits for just one; what room is left goes to prompts, the oldest first
    /// (Agrawal et al., 2023, arXiv:2308.16369).
    fn take_tokens(&mut self, kind: Kind) -> Vec<Place> {
        let is_alone = self.waiting.len() == 1;
        let mut budget = self.limits.step_tokens_max.saturating_mul(if is_alone { ALONE } else { 1 });
        let mut batch = Vec::new();
        for is_prompt in [false, true] {
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.kind == kind) {
                let Some((input, left)) = waiting.inputs.front_mut().filter(|(_, left)| (*left > 1) == is_prompt) else {
                    continue;
                };
                let (input, tokens) = (*input, budget.min(*left));
                *left -= tokens;
                if *left == 0 {
                    waiting.inputs.clear();
                }
                if tokens > 0 {
                    budget -= tokens;
                    batch.push(Place { request: waiting.request, input, tokens });
                }
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(batch_tokens_max: usize) -> Schedule<u8> {
        Schedule::new(Limits { batch_tokens_max, step_tokens_max: 16, queue_tokens_max: 10_000 })
    }

    fn place(request: u64, input: usize, tokens: usize) -> Place {
        Place { request, input, tokens }
    }

    #[test]
    fn requests_of_one_kind_share_a_batch() {
        let mut schedule = schedule(100);
        schedule.push(1, 0, [10, 10].into_iter()).expect("room");
        schedule.push(2, 1, [10].into_iter()).expect("room");
        schedule.push(3, 0, [10].into_iter()).expect("room");
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 10), place(3, 0, 10), place(1, 1, 10)])));
        assert_eq!(schedule.next_batch(), Some((1, vec![place(2, 0, 10)])));
        assert_eq!(schedule.next_batch(), None);
    }

    #[test]
    fn a_short_request_does_not_wait_behind_a_long_one() {
        let mut schedule = schedule(20);
        schedule.push(1, 0, [10; 50].into_iter()).expect("room");
        schedule.push(2, 0, [10].into_iter()).expect("room");
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 10), place(2, 0, 10)])));
    }

    #[test]
    fn a_request_of_another_kind_does_not_wait_behind_a_long_one() {
        let mut schedule = schedule(20);
        schedule.push(1, 0, [10; 50].into_iter()).expect("room");
        schedule.push(2, 1, [10].into_iter()).expect("room");
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 10), place(1, 1, 10)])));
        assert_eq!(schedule.next_batch(), Some((1, vec![place(2, 0, 10)])));
    }

    #[test]
    fn an_input_larger_than_a_batch_goes_alone() {
        let mut schedule = schedule(20);
        schedule.push(1, 0, [30, 5].into_iter()).expect("room");
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 30)])));
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 1, 5)])));
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let mut schedule = schedule(20);
        schedule.push(1, 0, [9_990].into_iter()).expect("room");
        assert_eq!(schedule.push(2, 0, [6, 6].into_iter()), Err(Full));
        assert_eq!(schedule.tokens(), 9_990);
        schedule.retain(|request| request != 1);
        assert_eq!(schedule.tokens(), 0);
        schedule.push(2, 0, [6, 6].into_iter()).expect("room again");
    }

    #[test]
    fn sequences_get_their_next_token_before_prompts_get_theirs() {
        let mut schedule = schedule(100);
        schedule.push_sequence(1, 0, 30).expect("room");
        schedule.feed(2, 0, 1);
        assert_eq!(schedule.next_batch(), Some((0, vec![place(2, 0, 1), place(1, 0, 15)])));
        schedule.feed(2, 0, 1);
        assert_eq!(schedule.next_batch(), Some((0, vec![place(2, 0, 1), place(1, 0, 15)])));
        assert_eq!((schedule.next_batch(), schedule.tokens()), (None, 0));
    }

    #[test]
    fn a_prompt_that_is_alone_takes_larger_steps() {
        let mut schedule = schedule(100);
        schedule.push_sequence(1, 0, 70).expect("room");
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 64)])));
        assert_eq!(schedule.next_batch(), Some((0, vec![place(1, 0, 6)])));
    }

    #[test]
    fn embeddings_and_sequences_take_turns_in_small_batches() {
        let mut schedule = schedule(100);
        schedule.push(1, 1, [10; 10].into_iter()).expect("room");
        schedule.push_sequence(2, 0, 20).expect("room");
        assert_eq!(schedule.next_batch(), Some((1, vec![place(1, 0, 10)])));
        assert_eq!(schedule.next_batch(), Some((0, vec![place(2, 0, 16)])));
        assert_eq!(schedule.next_batch(), Some((1, vec![place(1, 1, 10)])));
        assert_eq!(schedule.next_batch(), Some((0, vec![place(2, 0, 4)])));
        let alone = schedule.next_batch().expect("embeddings are left").1;
        assert_eq!(alone.len(), 8, "without a sequence a batch is as large as it may be");
    }

    #[test]
    fn a_prompt_that_does_not_fit_into_the_queue_is_refused() {
        let mut schedule = schedule(100);
        assert_eq!(schedule.push_sequence(1, 0, 10_001), Err(Full));
        assert_eq!((schedule.next_batch(), schedule.tokens()), (None, 0));
    }

    proptest! {
        #[test]
        fn every_token_of_every_sequence_is_fed_once_and_steps_keep_their_budget(
            prompts in prop::collection::vec(1usize..100, 1..12),
        ) {
            let mut schedule = schedule(64);
            for (id, tokens) in prompts.iter().enumerate() {
                schedule.push_sequence(id as u64, 0, *tokens).expect("room");
            }
            let mut fed = vec![0; prompts.len()];
            while let Some((_, batch)) = schedule.next_batch() {
                let tokens: usize = batch.iter().map(|place| place.tokens).sum();
                prop_assert!((1..=64).contains(&tokens) && (batch.len() == 1 || tokens <= 16));
                batch.iter().for_each(|place| fed[place.request as usize] += place.tokens);
            }
            prop_assert_eq!(fed, prompts);
            prop_assert_eq!(schedule.tokens(), 0);
        }

        #[test]
        fn every_input_is_in_exactly_one_batch_and_batches_keep_their_budget(
            requests in prop::collection::vec((0u8..3, prop::collection::vec(1usize..40, 1..12)), 1..12),
        ) {
            let mut schedule = schedule(64);
            for (id, (kind, lengths)) in requests.iter().enumerate() {
                schedule.push(id as u64, *kind, lengths.iter().copied()).expect("room");
            }
            let mut seen = std::collections::BTreeSet::new();
            let tokens_of = |place: &Place| requests[place.request as usize].1[place.input];
            while let Some((kind, batch)) = schedule.next_batch() {
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.len() == 1 || batch.iter().map(tokens_of).sum::<usize>() <= 64);
                for place in batch {
                    prop_assert_eq!(requests[place.request as usize].0, kind);
                    prop_assert!(seen.insert((place.request, place.input)));
                }
            }
            prop_assert_eq!(seen.len(), requests.iter().map(|(_, lengths)| lengths.len()).sum::<usize>());
            prop_assert_eq!(schedule.tokens(), 0);
        }
    }
}
