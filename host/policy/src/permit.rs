//! Proof that a check has passed.

use crate::quota::Reservation;
use crate::{ComponentName, ModelName};

/// The right to do one thing once, with what was set aside for it. Only the checks of this crate make one; a back end takes it
/// by value and acts on what is inside, never on what the guest said.
#[derive(Debug)]
pub struct Permit<Action> {
    action: Action,
    reservation: Reservation,
}

impl<Action> Permit<Action> {
    pub(crate) fn new(action: Action, reservation: Reservation) -> Self {
        Permit { action, reservation }
    }

    /// What it permits, to look at.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Uses the permit up and gives what it permits. What was set aside for it comes back at once: for what costs nothing.
    pub fn redeem(self) -> Action {
        self.action
    }

    /// Uses the permit up and gives what it permits, and the book to charge for it.
    pub fn spend(self) -> (Action, Reservation) {
        (self.action, self.reservation)
    }
}

macro_rules! of_a_model {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $($(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        pub struct $name {
            /// The model that was granted.
            pub model: ModelName,
        })*
    };
}

of_a_model!(
    /// Embedding with one model.
    Embed,
    /// Classifying with one model.
    Classify,
    /// Reranking with one model.
    Rerank,
    /// Generating text with one model.
    Generate,
    /// Turning text into the tokens of one model, and back.
    Tokenize,
    /// Running one model on tensors.
    Nn
);

/// Calling functions of another component.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// The component that was granted.
    pub component: ComponentName,
}

/// Sending one request to another host.
#[derive(Debug)]
pub struct Http {
    /// Where to.
    pub url: url::Url,
    /// The method.
    pub method: http::Method,
}
