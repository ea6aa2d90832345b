//! What a model sees in one step.

use std::ops::Range;

/// Token runs of several inputs, one after the other, without padding. Only attention looks at where a run begins and
/// ends; everything else works on all tokens alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Token ids of all runs. Shape `[tokens]`.
    pub(crate) ids: Vec<u32>,
    /// Segment of each token: 0, or 1 for the second text of a pair. Shape `[tokens]`.
    pub(crate) type_ids: Vec<u32>,
    /// Which tokens belong together; consecutive, none empty.
    pub(crate) runs: Vec<Range<usize>>,
    /// Position of each run's first token: 0, or what its cache holds already. Shape `[runs]`.
    pub(crate) starts: Vec<usize>,
}

impl Batch {
    /// Adds one input.
    ///
    /// # Panics
    /// When it is empty or has not as many segments as ids: the queue takes no such input.
    pub(crate) fn push(&mut self, tokens: &Tokens) {
        assert!(!tokens.ids.is_empty(), "an input has at least one token");
        assert_eq!(tokens.ids.len(), tokens.type_ids.len(), "one segment for each token");
        let start = self.ids.len();
        self.ids.extend(&tokens.ids);
        self.type_ids.extend(&tokens.type_ids);
        self.runs.push(start..self.ids.len());
        self.starts.push(0);
    }

    /// Adds some tokens of a sequence, the first of them at position `start`.
    ///
    /// # Panics
    /// When there are none.
    pub(crate) fn push_run(&mut self, ids: &[u32], start: usize) {
        assert!(!ids.is_empty(), "a run has at least one token");
        let first = self.ids.len();
        self.ids.extend(ids);
        self.type_ids.resize(self.ids.len(), 0);
        self.runs.push(first..self.ids.len());
        self.starts.push(start);
    }

    /// The position of each token in its sequence. Shape `[tokens]`.
    pub(crate) fn positions(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().zip(&self.starts).flat_map(|(run, start)| *start..start + run.len())
    }
}

impl<'a> FromIterator<&'a Tokens> for Batch {
    fn from_iter<I: IntoIterator<Item = &'a Tokens>>(inputs: I) -> Self {
        let mut batch = Batch::default();
        inputs.into_iter().for_each(|tokens| batch.push(tokens));
        batch
    }
}

/// One input as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Ids in the model's vocabulary.
    pub(crate) ids: Vec<u32>,
    /// Segment of each token.
    pub(crate) type_ids: Vec<u32>,
    /// Whether the input was longer and has been cut.
    pub(crate) truncated: bool,
}

impl Tokens {
    /// Ids used as they are, all of the first segment.
    pub(crate) fn plain(ids: Vec<u32>) -> Tokens {
        Tokens { type_ids: vec![0; ids.len()], ids, truncated: false }
    }
}
