//! What the operator set under `[config]` of the policy.

use std::str::FromStr;

use tessera_sdk::{Error, config};

use crate::limits::Limits;

/// The component's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The index of requests that name none.
    pub(crate) collection: String,
    /// The model that embeds; none is the policy's first.
    pub(crate) embedder: Option<String>,
    /// Tokens of a chunk, and of what two chunks share.
    pub(crate) chunk_tokens: u32,
    pub(crate) chunk_overlap_tokens: u32,
    /// Files and links of one request.
    pub(crate) files_max: usize,
    pub(crate) limits: Limits,
}

impl Settings {
    /// Those of the policy, and the usual ones for what it does not say.
    ///
    /// # Errors
    /// 500 for a value that cannot be; the text names its key.
    pub(crate) fn of_policy() -> Result<Self, Error> {
        Self::of(config::get)
    }

    fn of(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let usual = Limits::default();
        let limits = Limits {
            file_bytes_max: number(&get, "file_bytes_max", usual.file_bytes_max)?,
            file_ms_max: number(&get, "file_ms_max", usual.file_ms_max)?,
            pages_max: number(&get, "pages_max", usual.pages_max)?,
            text_bytes_max: number(&get, "text_bytes_max", usual.text_bytes_max)?,
            blocks_max: number(&get, "blocks_max", usual.blocks_max)?,
            chunks_max: number(&get, "chunks_max", usual.chunks_max)?,
            inflated_bytes_max: number(&get, "inflated_bytes_max", usual.inflated_bytes_max)?,
            held_bytes_max: number(&get, "held_bytes_max", usual.held_bytes_max)?,
        };
        let settings = Self {
            collection: get("collection").unwrap_or_else(|| "documents".into()),
            embedder: get("embedder"),
            chunk_tokens: number(&get, "chunk_tokens", 160)?,
            chunk_overlap_tokens: number(&get, "chunk_overlap_tokens", 32)?,
            files_max: number(&get, "files_max", 100)?,
            limits,
        };
        if settings.chunk_tokens == 0 || settings.chunk_overlap_tokens >= settings.chunk_tokens {
            return Err(Error::internal("[config] chunk_overlap_tokens must be less than chunk_tokens, which is at least 1"));
        }
        Ok(settings)
    }
}

fn number<T: FromStr>(get: &impl Fn(&str) -> Option<String>, key: &str, usual: T) -> Result<T, Error> {
    let misfit = |text: String| Error::internal(format!("[config] {key} = {text:?} is no number of the right size"));
    get(key).map_or(Ok(usual), |text| text.parse().map_err(|_| misfit(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policy_does_not_say_is_as_usual() {
        let settings = Settings::of(|key| (key == "pages_max").then(|| "7".to_owned())).expect("fits");
        assert_eq!((settings.collection.as_str(), settings.limits.pages_max, settings.chunk_tokens), ("documents", 7, 160));
    }

    #[test]
    fn a_value_that_cannot_be_names_its_key() {
        for (key, value) in [("pages_max", "many"), ("chunk_tokens", "-1"), ("chunk_overlap_tokens", "160")] {
            let error = Settings::of(|asked| (asked == key).then(|| value.to_owned())).expect_err("does not fit");
            assert!(error.message().contains(key), "{error}");
        }
    }
}
