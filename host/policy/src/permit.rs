//! Proof that a check has passed.

use crate::ModelName;

/// The right to do one thing once. Only the checks of this crate make one; a back end takes it by value and acts on what
/// is inside, never on what the guest said.
#[derive(Debug)]
pub struct Permit<Action>(Action);

impl<Action> Permit<Action> {
    pub(crate) fn new(action: Action) -> Self {
        Permit(action)
    }

    /// What it permits, to look at.
    pub fn action(&self) -> &Action {
        &self.0
    }

    /// Uses the permit up and gives what it permits.
    pub fn redeem(self) -> Action {
        self.0
    }
}

/// Embedding with one model.
#[derive(Debug, PartialEq, Eq)]
pub struct Embed {
    /// The model that was granted.
    pub model: ModelName,
}

/// Reranking with one model.
#[derive(Debug, PartialEq, Eq)]
pub struct Rerank {
    /// The model that was granted.
    pub model: ModelName,
}

/// Generating text with one model.
#[derive(Debug, PartialEq, Eq)]
pub struct Generate {
    /// The model that was granted.
    pub model: ModelName,
}

/// Turning text into the tokens of one model, and back.
#[derive(Debug, PartialEq, Eq)]
pub struct Tokenize {
    /// The model that was granted.
    pub model: ModelName,
}

/// Running one model on tensors.
#[derive(Debug, PartialEq, Eq)]
pub struct Nn {
    /// The model that was granted.
    pub model: ModelName,
}
