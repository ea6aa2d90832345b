//! What the operator may set, under `[config]` of the policy.

use tessera_sdk::{Error, config, log};

/// The settings of this component.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// `collection`: which documents are asked where the request names none.
    pub(crate) collection: Option<String>,
    /// `passages_max`: passages that the model reads, where the request does not say.
    pub(crate) passages_max: u32,
    /// `prompt_tokens_max`: tokens of the conversation and its passages up to which these are put in; the first is always in. What
    /// the templates say is not counted.
    pub(crate) prompt_tokens_max: u32,
    /// `answer_tokens_max`: tokens of an answer, where the request does not say.
    pub(crate) answer_tokens_max: u32,
    /// `score_min`: the score of the best passage below which the question counts as not answered by the documents.
    pub(crate) score_min: f32,
    /// `score_gap_min`: by how much the best passage has to be better than the one in the middle, where there are ten.
    pub(crate) score_gap_min: f32,
    /// `score_drop_max`: by how much a passage may be worse than the best one for the model to read it.
    pub(crate) score_drop_max: f32,
    /// `decline`: what is said where the documents have no answer.
    pub(crate) decline: String,
    /// `compat`: with `opea` answers have the bytes that OPEA's have.
    pub(crate) is_opea: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            collection: None,
            passages_max: 3,
            prompt_tokens_max: 600,
            answer_tokens_max: 256,
            score_min: 0.47,
            score_gap_min: 0.175,
            score_drop_max: 0.08,
            decline: "I don't know: the documents don't answer that.".to_owned(),
            is_opea: false,
        }
    }
}

impl Settings {
    /// Those of the policy.
    ///
    /// # Errors
    /// 500 if one is malformed; which one, and why, is in the log.
    pub(crate) fn read() -> Result<Self, Error> {
        Self::of(config::all()).map_err(|why| {
            log::error(&why);
            Error::internal("this service has a setting that is malformed: its operator finds in the log which one")
        })
    }

    fn of(entries: Vec<(String, String)>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (key, value) in entries {
            let bad = |what: &str| format!("[config] {key} = {value:?}: it has to be {what}");
            let count = || value.parse().ok().filter(|count: &u32| (1..=100_000).contains(count));
            let score = || value.parse().ok().filter(|score: &f32| (-1.0..=1.0).contains(score));
            let drop = || value.parse().ok().filter(|drop: &f32| (0.0..=2.0).contains(drop));
            match key.as_str() {
                "collection" => settings.collection = Some(value).filter(|name| !name.is_empty()),
                "passages_max" => settings.passages_max = count().ok_or_else(|| bad("a number from 1"))?,
                "prompt_tokens_max" => settings.prompt_tokens_max = count().ok_or_else(|| bad("a number from 1"))?,
                "answer_tokens_max" => settings.answer_tokens_max = count().ok_or_else(|| bad("a number from 1"))?,
                "score_min" => settings.score_min = score().ok_or_else(|| bad("a number from -1 to 1"))?,
                "score_gap_min" => settings.score_gap_min = score().ok_or_else(|| bad("a number from -1 to 1"))?,
                "score_drop_max" => settings.score_drop_max = drop().ok_or_else(|| bad("a number from 0 to 2"))?,
                "decline" => settings.decline = value,
                "compat" => match value.as_str() {
                    "" => settings.is_opea = false,
                    "opea" => settings.is_opea = true,
                    _ => return Err(bad("`opea` or nothing")),
                },
                _ => {
                    return Err(format!(
                        "[config] {key}: there is no such setting; there are collection, passages_max, prompt_tokens_max, \
                         answer_tokens_max, score_min, score_gap_min, score_drop_max, decline and compat"
                    ));
                }
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::of(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_not_set_is_the_default() {
        assert_eq!(of(&[]), Ok(Settings::default()));
        let set = of(&[("compat", "opea"), ("passages_max", "5"), ("score_min", "0.5")]).expect("good settings");
        assert_eq!((set.is_opea, set.passages_max, set.score_min), (true, 5, 0.5));
    }

    #[test]
    fn a_malformed_setting_is_named() {
        for (key, value) in
            [("passages_max", "0"), ("score_min", "2"), ("score_drop_max", "-1"), ("compat", "tgi"), ("passage_max", "1")]
        {
            let why = of(&[(key, value)]).expect_err("malformed");
            assert!(why.contains(key), "{why}");
        }
    }
}
