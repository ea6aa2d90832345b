//! The components that wait for one another in a request.

use std::sync::Arc;

use policy::ComponentName;

use super::Failure;

/// Components that one request may lead through, each called by the one before it.
const DEPTH_MAX: usize = 8;

/// Who waits for a call, the component that the request came to first; nobody where a client asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain(Arc<[ComponentName]>);

impl Chain {
    /// Whether a client asks, and no component.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The chain where this component, too, waits: for another one.
    ///
    /// # Errors
    /// When the other one waits already, or too many do.
    pub(super) fn with(&self, caller: &ComponentName, callee: &ComponentName) -> Result<Chain, Failure> {
        if caller == callee || self.0.contains(callee) {
            return Err(Failure::Cycle);
        }
        if self.0.len() + 1 >= DEPTH_MAX {
            return Err(Failure::Depth);
        }
        Ok(Chain(self.0.iter().chain([caller]).cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ComponentName {
        text.parse().expect("a name")
    }

    #[test]
    fn who_waits_already_is_not_called() {
        let [a, b, c] = ["a", "b", "c"].map(name);
        let chain = Chain::default().with(&a, &b).expect("a calls b").with(&b, &c).expect("b calls c");
        for callee in [&a, &b, &c] {
            assert_eq!(chain.with(&c, callee).err(), Some(Failure::Cycle), "{callee}");
        }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut chain = Chain::default();
        for depth in 1..DEPTH_MAX {
            chain = chain.with(&name(&format!("c{depth}")), &name(&format!("c{}", depth + 1))).expect("not too deep");
        }
        assert_eq!(chain.with(&name("c8"), &name("c9")).err(), Some(Failure::Depth));
    }
}
