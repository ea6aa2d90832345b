//! `[guard]` of `component.toml`: what a guard says of itself.

use serde::{Deserialize, Serialize};

/// Most reasons that one guard may declare.
const REASONS_MAX: usize = 64;

/// The reason that stands for all that a guard did not declare.
pub(crate) const OTHER: &str = "other";

/// `[guard]`: the component is a guard, which policies of others may name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardManifest {
    /// Reasons that it may block for, as errors, logs and metrics show them. Any other that it gives is shown as `other`.
    #[serde(default, deserialize_with = "reasons")]
    pub reasons: Vec<String>,
}

impl GuardManifest {
    /// The reason to show for one that the guard gave.
    pub(crate) fn shown(&self, reason: &str) -> &str {
        self.reasons.iter().find(|declared| *declared == reason).map_or(OTHER, String::as_str)
    }
}

fn reasons<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let reasons = Vec::<String>::deserialize(deserializer)?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_reason = |reason: &&String| (1..=64).contains(&reason.len()) && reason.bytes().all(is_plain);
    match reasons.iter().find(|reason| !is_reason(reason)) {
        _ if reasons.len() > REASONS_MAX => {
            Err(serde::de::Error::custom(format!("{} reasons; {REASONS_MAX} at most", reasons.len())))
        }
        Some(bad) => Err(serde::de::Error::custom(format!("`{bad}` is no reason: use 1 to 64 of the characters a-z 0-9 - _"))),
        None => Ok(reasons),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_not_declared_is_not_shown() {
        let manifest: GuardManifest = toml::from_str("reasons = [\"pii\"]").expect("good");
        assert_eq!((manifest.shown("pii"), manifest.shown("the secret text")), ("pii", "other"));
        assert_eq!(GuardManifest::default().shown("pii"), "other");
    }

    #[test]
    fn reasons_are_short_and_plain() {
        for bad in ["reasons = [\"a b\"]", "reasons = [\"\"]", "reasons = [\"A\"]", "reason = []"] {
            assert!(toml::from_str::<GuardManifest>(bad).is_err(), "{bad}");
        }
        assert!(toml::from_str::<GuardManifest>(&format!("reasons = {:?}", vec!["a"; 65])).is_err());
    }
}
