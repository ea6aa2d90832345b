//! Embedding: texts to vectors, as sentence-transformers computes them from the same files
//! (Reimers and Gurevych, 2019, arXiv:1908.10084).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{Prepared, Truncation, Usage, Want, admit, usage};
use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::model::{Model, ModelError, read_json};

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text(String),
    /// Token ids of the model's vocabulary, used as they are.
    Ids(Vec<u32>),
}

/// Which of the model's prompts goes before a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The model's default.
    #[default]
    Standard,
    /// The one named `query`, if the model has it.
    Query,
    /// The one named `document` or `passage`, if the model has it.
    Document,
    /// The one of this name, or an error.
    Named(String),
}

/// Whether vectors are scaled to length 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Normalize {
    /// As the model's files say.
    #[default]
    AsModel,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A wish for vectors.
#[derive(Debug, Clone)]
pub struct EmbedJob {
    /// Registry name of the model.
    pub model: String,
    /// At least one input.
    pub inputs: Vec<Input>,
    /// What goes before the texts.
    pub prompt: Prompt,
    /// What to do with long inputs.
    pub truncation: Truncation,
    /// Whether vectors are scaled to length 1.
    pub normalize: Normalize,
    /// Keep this many leading dimensions and scale to length 1 again (Matryoshka, arXiv:2205.13147).
    pub dimensions: Option<usize>,
    /// Whose work it is; none is nobody's, and counted nowhere.
    pub account: Option<Arc<dyn Account>>,
}

/// The vectors of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Registry name of the model.
    pub model: String,
    /// Length of one vector.
    pub dimensions: usize,
    /// All vectors in input order, one after the other. Shape `[inputs, dimensions]`.
    pub values: Vec<f32>,
    /// One entry for each input.
    pub usage: Vec<Usage>,
}

/// How a model's token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    Cls,
}

/// What the model's own sentence-transformers files say.
#[derive(Debug, Clone)]
pub(crate) struct EmbedSettings {
    pub(crate) pooling: Pooling,
    pub(crate) tokens_max: usize,
    pub(crate) prompts: BTreeMap<String, String>,
    normalize: bool,
    lower_case: bool,
    default_prompt: Option<String>,
}

/// `modules.json`: the steps after one another.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
struct PromptConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

/// `tokenizer_config.json`, of which only the length matters here; some files say 1e30 for "any".
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

impl EmbedSettings {
    /// The settings of a model without files.
    pub(crate) fn plain(tokens_max: usize) -> EmbedSettings {
        EmbedSettings {
            pooling: Pooling::Mean,
            tokens_max,
            normalize: true,
            lower_case: false,
            default_prompt: None,
            prompts: BTreeMap::new(),
        }
    }

    /// Reads the settings of a folder. Without `modules.json` a model is mean-pooled and normalised.
    ///
    /// # Errors
    /// When a file is malformed or asks for a step that isn't implemented.
    pub(crate) fn read(folder: &Path, positions: usize) -> Result<EmbedSettings, ModelError> {
        let sentence: SentenceConfig = parse(folder, "sentence_bert_config.json")?.unwrap_or_default();
        let prompts: PromptConfig = parse(folder, "config_sentence_transformers.json")?.unwrap_or_default();
        let tokenizer: TokenizerConfig = parse(folder, "tokenizer_config.json")?.unwrap_or_default();
        let tokenizer_max =
            tokenizer.model_max_length.filter(|&length| (1.0..1e9).contains(&length)).map(|length| length as usize);
        let tokens_max = sentence.max_seq_length.or(tokenizer_max).unwrap_or(positions).clamp(1, positions);
        let (pooling, normalize) = match parse::<Vec<Module>>(folder, "modules.json")? {
            Some(modules) => read_modules(folder, &modules)?,
            None => (Pooling::Mean, true),
        };
        Ok(EmbedSettings {
            pooling,
            tokens_max,
            normalize,
            lower_case: sentence.do_lower_case,
            default_prompt: prompts.default_prompt_name,
            prompts: prompts.prompts,
        })
    }

    /// The text that goes before every input.
    fn prompt(&self, prompt: &Prompt) -> Result<&str, JobError> {
        let find = |name: &str| self.prompts.get(name).map(String::as_str);
        match prompt {
            Prompt::Standard => Ok(self.default_prompt.as_deref().and_then(find).unwrap_or("")),
            Prompt::Query => Ok(find("query").unwrap_or("")),
            Prompt::Document => Ok(find("document").or_else(|| find("passage")).unwrap_or("")),
            Prompt::Named(name) => find(name).ok_or_else(|| {
                let known: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "no prompts".into() } else { known.join(", ") };
                JobError::InvalidInput(format!("the model has no prompt of that name; it has {known}"))
            }),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, ModelError> {
    let malformed = |error: serde_json::Error| ModelError::Config(format!("{name}: {error}"));
    read_json(&folder.join(name))?.map(|value| serde_json::from_value(value).map_err(malformed)).transpose()
}

fn read_modules(folder: &Path, modules: &[Module]) -> Result<(Pooling, bool), ModelError> {
    let (mut pooling, mut normalize) = (Pooling::Mean, false);
    for module in modules {
        match module.kind.rsplit('.').next() {
            Some("Transformer") => {}
            Some("Pooling") => pooling = read_pooling(folder, &module.path)?,
            Some("Normalize") => normalize = true,
            _ => return Err(ModelError::Unsupported(format!("module `{}` in modules.json", module.kind))),
        }
    }
    Ok((pooling, normalize))
}

fn read_pooling(folder: &Path, path: &str) -> Result<Pooling, ModelError> {
    if path.split(['/', '\\']).any(|part| part == "..") || Path::new(path).is_absolute() {
        return Err(ModelError::Config(format!("modules.json: path `{path}` leaves the model's folder")));
    }
    let file = format!("{path}/config.json");
    let config: BTreeMap<String, serde_json::Value> = parse(folder, &file)?.unwrap_or_default();
    if config.get("include_prompt") == Some(&false.into()) {
        return Err(ModelError::Unsupported(format!("{file}: include_prompt = false")));
    }
    let is_on = |(key, value): (&String, &serde_json::Value)| {
        key.strip_prefix("pooling_mode_").filter(|_| value == &serde_json::Value::Bool(true)).map(String::from)
    };
    let modes: Vec<String> = config.iter().filter_map(is_on).collect();
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::Cls),
        _ => Err(ModelError::Unsupported(format!(
            "{file}: pooling {modes:?}; supported are mean_tokens and cls_token, one of them"
        ))),
    }
}

impl Pooling {
    /// # Shapes
    /// `[tokens, width]` → `[width]`
    pub(crate) fn pool(self, tokens: &[f32], width: usize) -> Vec<f32> {
        match self {
            Pooling::Mean => mean(tokens, width),
            Pooling::Cls => tokens[..width].to_vec(),
        }
    }
}

/// The mean of all rows. Shape `[tokens, width]` → `[width]`.
pub(crate) fn mean(tokens: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in tokens.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (tokens.len() / width) as f32;
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

/// The vector scaled to length 1; a vector of zeros stays as it is.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Tokenizes and checks a job.
pub(crate) fn prepare(model: &Model, job: EmbedJob) -> Result<Prepared<Embeddings>, JobError> {
    if model.is_language() {
        return Err(JobError::Unsupported("this is a language model; use one that makes embeddings".into()));
    }
    let hidden = model.card().dimensions;
    let dimensions = job.dimensions.unwrap_or(hidden);
    if !(1..=hidden).contains(&dimensions) {
        return Err(JobError::InvalidInput(format!(
            "dimensions must be from 1 to {hidden}, the model's own; it is {dimensions}"
        )));
    }
    let prompt = model.embed.prompt(&job.prompt)?;
    let inputs = job.inputs.into_iter().enumerate().map(|(index, input)| tokens(model, prompt, index, input, job.truncation));
    let inputs = inputs.collect::<Result<Vec<Tokens>, JobError>>()?;
    let usage = inputs.iter().map(usage).collect();
    let normalize = match job.normalize {
        Normalize::AsModel => model.embed.normalize,
        Normalize::Always => true,
        Normalize::Never => false,
    };
    let finish = move |outputs: Vec<Vec<f32>>| {
        let shape = |mut vector: Vec<f32>| {
            let is_cut = dimensions < vector.len();
            vector.truncate(dimensions);
            if normalize || is_cut && job.normalize != Normalize::Never { unit(vector) } else { vector }
        };
        Embeddings { model: job.model, dimensions, values: outputs.into_iter().flat_map(shape).collect(), usage }
    };
    Ok(Prepared { account: job.account, want: Want::Pooled, inputs, finish: Box::new(finish) })
}

fn tokens(model: &Model, prompt: &str, index: usize, input: Input, truncation: Truncation) -> Result<Tokens, JobError> {
    match input {
        Input::Text(text) => {
            let tokenizer = model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?;
            let text = format!("{prompt}{}", text.trim());
            let text = if model.embed.lower_case { text.to_lowercase() } else { text };
            admit(model, index, tokenizer.encode(&text), truncation)
        }
        Input::Ids(mut ids) => {
            let tokens_max = model.card().tokens_max;
            let truncated = ids.len() > tokens_max;
            ids.truncate(tokens_max);
            admit(model, index, Ok(Tokens { truncated, ..Tokens::plain(ids) }), truncation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(files: &[(&str, &str)]) -> Result<EmbedSettings, ModelError> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("1_Pooling")).expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        EmbedSettings::read(folder.path(), 512)
    }

    const MODULES: &str = r#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}]"#;

    #[test]
    fn without_files_a_model_is_mean_pooled_and_normalised() {
        let settings = settings(&[]).expect("reads");
        assert_eq!((settings.pooling, settings.normalize, settings.tokens_max), (Pooling::Mean, true, 512));
    }

    #[test]
    fn pooling_length_and_normalisation_come_from_the_models_files() {
        let pooling = ("1_Pooling/config.json", r#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#);
        let length = ("sentence_bert_config.json", r#"{"max_seq_length":256,"do_lower_case":false}"#);
        let settings = settings(&[("modules.json", MODULES), pooling, length]).expect("reads");
        assert_eq!((settings.pooling, settings.normalize, settings.tokens_max), (Pooling::Cls, false, 256));
    }

    #[test]
    fn a_step_that_is_not_implemented_is_named() {
        let dense = MODULES.replace("models.Pooling", "models.Dense");
        let error = settings(&[("modules.json", &dense)]).expect_err("refused").to_string();
        assert!(error.contains("Dense"), "{error}");
        let max = ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens":true}"#);
        let error = settings(&[("modules.json", MODULES), max]).expect_err("refused").to_string();
        assert!(error.contains("max_tokens"), "{error}");
        let path = MODULES.replace("\"1_Pooling\"", "\"../x\"");
        assert!(settings(&[("modules.json", &path)]).is_err());
    }

    #[test]
    fn prompts_are_found_by_purpose_and_by_name() {
        let file = (
            "config_sentence_transformers.json",
            r#"{"prompts":{"query":"q: ","passage":"p: "},"default_prompt_name":"query"}"#,
        );
        let settings = settings(&[file]).expect("reads");
        let prompt = |prompt| settings.prompt(&prompt).map(String::from);
        assert_eq!(prompt(Prompt::Standard).expect("there"), "q: ");
        assert_eq!(prompt(Prompt::Document).expect("there"), "p: ");
        assert!(prompt(Prompt::Named("x".into())).expect_err("not there").to_string().contains("passage, query"));
    }

    #[test]
    fn a_vector_of_zeros_stays_finite() {
        assert_eq!(unit(vec![0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(unit(vec![3.0, 4.0]), [0.6, 0.8]);
    }
}
