//! What a text is checked for. Each check is a file of its own, pure, and knows nothing of the others.

pub(crate) mod injection;
pub(crate) mod invisible;
pub(crate) mod patterns;
pub(crate) mod pii;
pub(crate) mod secrets;
pub(crate) mod topics;
pub(crate) mod toxicity;
pub(crate) mod words;

use std::str::FromStr;

/// One of the checks; the cheaper ones stand before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Invisible,
    Words,
    Patterns,
    Secrets,
    Toxicity,
    Pii,
    Topics,
    Injection,
}

/// What becomes of a text in which a check finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The text does not pass.
    Block,
    /// It passes without what was found.
    Redact,
}

/// Each with the name that settings call it by, its reason as `component.toml` declares it, and what it does unless it is told.
const CHECKS: [(Check, &str, &str, Action); 8] = [
    (Check::Invisible, "invisible", "invisible-text", Action::Redact),
    (Check::Words, "words", "banned-word", Action::Block),
    (Check::Patterns, "patterns", "pattern", Action::Block),
    (Check::Secrets, "secrets", "secret", Action::Redact),
    (Check::Toxicity, "toxicity", "toxicity", Action::Block),
    (Check::Pii, "pii", "pii", Action::Redact),
    (Check::Topics, "topics", "topic", Action::Block),
    (Check::Injection, "injection", "injection", Action::Block),
];

impl Check {
    fn row(self) -> &'static (Check, &'static str, &'static str, Action) {
        CHECKS.iter().find(|row| row.0 == self).expect("every check has its row")
    }

    /// Under what it is told that a text was blocked.
    pub(crate) fn reason(self) -> &'static str {
        self.row().2
    }

    /// Whether it judges a text as a whole, so that there is nothing in it to redact.
    pub(crate) fn is_of_the_whole(self) -> bool {
        matches!(self, Self::Toxicity | Self::Topics | Self::Injection)
    }
}

/// A check, and what becomes of a text in which it finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) check: Check,
    pub(crate) action: Action,
}

impl Step {
    /// A check with what it does unless it is told.
    pub(crate) fn usual(check: Check) -> Self {
        Self { check, action: check.row().3 }
    }
}

impl FromStr for Step {
    type Err = String;

    /// Reads `secrets` or `secrets: block`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, action) = text.split_once(':').map_or((text, None), |(name, action)| (name, Some(action.trim())));
        let row = CHECKS.iter().find(|row| row.1 == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = CHECKS.iter().map(|row| row.1).collect();
            format!("`{}` is no check; there are {}", name.trim(), names.join(", "))
        })?;
        let action = match action {
            None => row.3,
            Some("block") => Action::Block,
            Some("redact") if row.0.is_of_the_whole() => {
                return Err(format!("`{}` judges a text as a whole and can only block it", row.1));
            }
            Some("redact") => Action::Redact,
            Some(other) => return Err(format!("`{other}` is neither `block` nor `redact`")),
        };
        Ok(Self { check: row.0, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_with_their_usual_action_or_another() {
        assert_eq!("pii".parse(), Ok(Step { check: Check::Pii, action: Action::Redact }));
        assert_eq!(" pii : block".parse(), Ok(Step { check: Check::Pii, action: Action::Block }));
        assert!("poetry".parse::<Step>().is_err_and(|text| text.contains("invisible, words")));
        assert!("pii: shout".parse::<Step>().is_err());
        assert!("injection: redact".parse::<Step>().is_err());
    }

    #[test]
    fn every_reason_is_declared() {
        let manifest = include_str!("../component.toml");
        for (check, ..) in CHECKS {
            assert!(manifest.contains(&format!("\"{}\"", check.reason())), "{check:?}");
        }
    }
}
