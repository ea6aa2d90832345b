//! Models: what is in a folder, which family it is of, and one step of it.

mod bert;
mod classifier;
mod decoder;
mod falcon;
mod fields;
mod gguf;
mod language;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;
mod roberta;
mod rope;
mod shapes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use classifier::{Classified, Labels};
pub(crate) use language::Feed;
pub use language::Greedy;

use burn::tensor::{Device, Int, Tensor, TensorData};
use classifier::{Classifier, classifier};
use serde::Serialize;

use crate::batch::{Batch, Tokens};
use crate::device::{self, DeviceError, DeviceSpec};
use crate::engine::JobError;
use crate::nn::{Activation, CacheShape, KvCache};
use crate::record::{Origin, RecordError};
use crate::task::Want;
use crate::task::embed::EmbedSettings;
use crate::task::tokenize::{self, TokenizeInput};
use crate::template::{ChatTemplate, Message, Prompting};
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weights::{TensorSummary, Weights, WeightsError};

/// A family of models: one file, one line here.
struct Family {
    /// Values of `model_type` in `config.json`.
    model_types: &'static [&'static str],
    /// The heads that are understood, by the end of the class name in `architectures`.
    heads: &'static [&'static str],
    load: Load,
}

type Load = fn(&serde_json::Value, &Weights, &Device) -> Result<Loaded, ModelError>;

const ENCODER: &[&str] = &["Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"];
const LANGUAGE: &[&str] = &["ForCausalLM"];

const FAMILIES: &[Family] = &[
    Family { model_types: &["bert"], heads: ENCODER, load: bert::load },
    Family { model_types: &["roberta", "xlm-roberta"], heads: ENCODER, load: roberta::load },
    Family { model_types: &["llama"], heads: LANGUAGE, load: llama::load },
    Family { model_types: &["mistral"], heads: LANGUAGE, load: mistral::load },
    Family { model_types: &["qwen2"], heads: LANGUAGE, load: qwen2::load },
    Family { model_types: &["qwen3"], heads: LANGUAGE, load: qwen3::load },
    Family { model_types: &["falcon"], heads: LANGUAGE, load: falcon::load },
];

/// What a family makes of a configuration and weights.
struct Loaded {
    body: Body,
    shape: Shape,
}

/// A model by what it can do.
enum Body {
    Encoder(Box<dyn Encoder>),
    Language(Box<dyn LanguageModel>),
}

impl Loaded {
    fn encoder(model: impl Encoder + 'static, shape: Shape) -> Loaded {
        Loaded { body: Body::Encoder(Box::new(model)), shape }
    }

    fn language(model: impl LanguageModel + 'static, shape: Shape) -> Loaded {
        Loaded { body: Body::Language(Box::new(model)), shape }
    }
}

/// A model that reads whole texts.
trait Encoder: Send + Sync {
    /// The last hidden state of every token. Shape `[tokens, hidden]`.
    fn hidden(&self, batch: &Batch) -> Tensor<2>;

    /// The classifier's output; none if the model has no classifier.
    ///
    /// # Shapes
    /// `hidden` (of each run's first token where texts are classified, else of all tokens): `[rows, hidden]` → `[rows, labels]`
    fn logits(&self, hidden: Tensor<2>) -> Option<Tensor<2>>;
}

/// A model that goes on with a text, token by token.
trait LanguageModel: Send + Sync {
    /// The last hidden state of every token of a step. Each run goes on where its cache ends; keys and values of its tokens
    /// are written there. Shape `[tokens, hidden]`.
    fn hidden(&self, batch: &Batch, caches: &mut [&mut KvCache]) -> Tensor<2>;

    /// How likely each token of the vocabulary is to come next.
    ///
    /// # Shapes
    /// `[rows, hidden]` → `[rows, vocabulary]`
    fn logits(&self, hidden: Tensor<2>) -> Tensor<2>;

    /// Sizes of the cache that a sequence needs.
    fn cache(&self) -> CacheShape;

    /// Bytes of weights that a token does not read: an embedding's table that is not the head as well.
    fn idle_bytes(&self) -> usize;
}

/// Sizes that the engine checks inputs against.
#[derive(Debug, Clone, Copy)]
struct Shape {
    hidden: usize,
    layers: usize,
    vocabulary: usize,
    types: usize,
    tokens_max: usize,
    classifier: Option<Classifier>,
}

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the model can't be read.
    #[error("{file} can't be read: {cause}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file of the model says something that makes no sense.
    #[error("the model's configuration is refused: {0}")]
    Config(String),
    /// The model is of a kind that isn't implemented.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The weights can't be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer can't be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Its files are not those that were recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its files changed while they were read.
    #[error("its files changed while it was loaded: start again when nobody writes there")]
    Changing,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelTask {
    /// Texts to vectors; also reranking by late interaction.
    Embed,
    /// A score for a pair of texts: a cross-encoder.
    Rerank,
    /// Several labels for a text.
    Classify,
    /// A label for every token of a text.
    ClassifyTokens,
    /// Text after a prompt.
    Generate,
}

/// What there is to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelCard {
    /// Its name in the registry: the name of its folder.
    pub name: String,
    /// `model_type` of its configuration.
    pub family: String,
    /// What it is for.
    pub task: ModelTask,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Layers.
    pub layers: usize,
    /// Tokens in its vocabulary.
    pub vocabulary: usize,
    /// Longest input, in tokens.
    pub tokens_max: usize,
    /// Outputs of its classifier, 0 without one.
    pub labels: usize,
    /// Names of its prompts.
    pub prompts: Vec<String>,
    /// Whether it has a chat template.
    pub chat: bool,
    /// SHA-256 of its files when they were loaded, as [`digest`](crate::digest()) has it; empty outside of an engine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where it came from; none where nobody has recorded that, and outside of an engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One model on one device, without a queue.
pub struct Model {
    card: ModelCard,
    body: Body,
    shape: Shape,
    device: Device,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) embed: EmbedSettings,
    /// Of a classifier.
    pub(crate) labels: Option<Arc<Labels>>,
    /// Tokens that end a generation.
    pub(crate) end_ids: Vec<u32>,
    /// Bytes of its weights as they are stored.
    weight_bytes: usize,
}

/// The vectors of one input before any setting of the model is applied to them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pooled {
    /// Mean over tokens, scaled to length 1.
    pub mean: Vec<f32>,
    /// First token's, scaled to length 1.
    pub cls: Vec<f32>,
}

impl Model {
    /// Loads a model from its folder, or from the weights file in it. A GGUF file holds all there is; else `config.json` and
    /// the weights must be there, and without `tokenizer.json` only token ids are understood.
    ///
    /// # Errors
    /// When a file is missing or damaged, the architecture is not implemented, or the device can't be used.
    pub fn open(path: &Path, spec: DeviceSpec) -> Result<Model, ModelError> {
        Model::on(path, &device::open(spec)?)
    }

    pub(crate) fn on(path: &Path, device: &Device) -> Result<Model, ModelError> {
        let folder = if path.is_file() { path.parent().unwrap_or(Path::new(".")) } else { path };
        let config = read_json(&folder.join("config.json"))?;
        config.as_ref().map(family).transpose()?; // says more than that the weights of another kind can't be read
        let mut weights = Weights::open(path)?;
        let metadata = weights.take_metadata();
        let (config, weights) = match &metadata {
            Some(metadata) => gguf::translate(weights, metadata)?,
            None => {
                let missing = || ModelError::Config(format!("there is no config.json in {}", folder.display()));
                (config.ok_or_else(missing)?, weights)
            }
        };
        let Loaded { body, shape } = load(&config, &weights, device)?;
        let labels = shape.classifier.map(|classifier| Labels::read(&config, classifier).map(Arc::new)).transpose()?;
        let embed = EmbedSettings::read(folder, shape.tokens_max)?;
        let tokenizer = match &metadata {
            Some(metadata) => Some(Tokenizer::from_metadata(metadata, embed.tokens_max)?),
            None => {
                let file = folder.join("tokenizer.json");
                file.is_file().then(|| Tokenizer::open(&file, embed.tokens_max)).transpose()?
            }
        };
        let template = match &metadata {
            Some(metadata) => gguf::template(metadata),
            None => ChatTemplate::read(folder),
        };
        // The model is of use without it, for everything but conversations.
        let template = template.unwrap_or_else(|error| {
            tracing::warn!(model = %folder.display(), %error, "the model can't chat");
            None
        });
        let end_ids = end_ids(folder, &config, tokenizer.as_ref())?;
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let card = card(name, &config, &body, &shape, &embed, template.is_some());
        Ok(Model {
            card,
            body,
            shape,
            device: device.clone(),
            tokenizer,
            template,
            embed,
            labels,
            end_ids,
            weight_bytes: weights.bytes(),
        })
    }

    /// A model of a known shape with random weights, to measure its speed: see [`shapes`](Self::shapes).
    ///
    /// # Errors
    /// When there is no such shape or number type, or the device can't be used.
    pub fn random(shape: &str, dtype: &str, spec: DeviceSpec) -> Result<Model, ModelError> {
        let device = device::open(spec)?;
        let config = shapes::config(shape)?;
        let weights = Weights::random(dtype)?;
        let Loaded { body, shape: sizes } = load(&config, &weights, &device)?;
        let embed = EmbedSettings::plain(sizes.tokens_max);
        let card = card(shape.into(), &config, &body, &sizes, &embed, false);
        let (tokenizer, template, end_ids, weight_bytes) = (None, None, Vec::new(), weights.bytes());
        Ok(Model { card, body, shape: sizes, device, tokenizer, template, embed, labels: None, end_ids, weight_bytes })
    }

    /// The same with what the engine knows of its files.
    pub(crate) fn registered(mut self, digest: String, origin: Option<Origin>) -> Model {
        (self.card.digest, self.card.origin) = (digest, origin);
        self
    }

    /// Whether there is a model in a folder.
    pub(crate) fn is_at(folder: &Path) -> bool {
        folder.join("config.json").is_file() || Weights::has_gguf(folder)
    }

    /// The shapes that [`random`](Self::random) knows.
    pub fn shapes() -> impl Iterator<Item = &'static str> {
        shapes::names()
    }

    /// What there is to know about it.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The vectors of inputs given as token ids, in one batch.
    ///
    /// # Errors
    /// A text that says which input is out of the model's range.
    pub fn embed_ids(&self, inputs: &[Vec<u32>]) -> Result<Vec<Pooled>, String> {
        let outputs = self.run_ids(Want::Tokens, inputs)?;
        let hidden = self.shape.hidden;
        let pool = |tokens: Vec<f32>| Pooled {
            mean: crate::task::embed::unit(crate::task::embed::mean(&tokens, hidden)),
            cls: crate::task::embed::unit(tokens[..hidden].to_vec()),
        };
        Ok(outputs.into_iter().map(pool).collect())
    }

    /// The classifier's outputs for inputs given as token ids, in one batch: those of each token, one after the other, where
    /// tokens are classified.
    ///
    /// # Errors
    /// A text that says which input is out of the model's range, or that there is no classifier.
    pub fn score_ids(&self, inputs: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, String> {
        if self.shape.classifier.is_none() {
            return Err("this model has no classifier: use `embed`".into());
        }
        self.run_ids(Want::Logits, inputs)
    }

    /// The token ids of a text as an encoder reads it, special tokens included and cut at its length.
    ///
    /// # Errors
    /// When the model has no tokenizer or the text can't be encoded.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, String> {
        let tokenizer = self.tokenizer.as_ref().ok_or("this model has no tokenizer.json: give token ids")?;
        tokenizer.encode(text).map(|tokens| tokens.ids).map_err(|error| error.to_string())
    }

    /// The token ids of an input as a language model reads it, not cut.
    ///
    /// # Errors
    /// When the model has no tokenizer or no chat template, or the text can't be encoded.
    pub fn prompt_ids(&self, input: &TokenizeInput) -> Result<Vec<u32>, JobError> {
        tokenize::ids(self, input)
    }

    /// The text of token ids, without special tokens.
    ///
    /// # Errors
    /// When the model has no tokenizer, or an id is beyond its vocabulary.
    pub fn text(&self, ids: &[u32]) -> Result<String, JobError> {
        tokenize::text(self, ids)
    }

    /// A conversation as the model's chat template writes it.
    ///
    /// # Errors
    /// When the model has no chat template, or it refuses the messages.
    pub fn render(&self, messages: &[Message], prompting: Prompting) -> Result<String, JobError> {
        tokenize::chat(self, messages, prompting)
    }

    fn run_ids(&self, want: Want, inputs: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, String> {
        if self.is_language() {
            return Err("this is a language model: use `logits`".into());
        }
        let inputs: Vec<Tokens> = inputs.iter().map(|ids| Tokens::plain(ids.clone())).collect();
        for (index, tokens) in inputs.iter().enumerate() {
            self.check(tokens).map_err(|reason| format!("input {index} {reason}"))?;
        }
        Ok(self.run(want, inputs.iter()))
    }

    /// Whether the model can read an input: the gate that every input passes before it may be in a batch.
    pub(crate) fn check(&self, tokens: &Tokens) -> Result<(), String> {
        let Shape { vocabulary, types, tokens_max, .. } = self.shape;
        let beyond =
            |ids: &[u32], limit: usize| ids.iter().copied().find(|&id| usize::try_from(id).is_ok_and(|id| id >= limit));
        if tokens.ids.is_empty() {
            return Err("has no tokens".into());
        }
        if tokens.ids.len() > tokens_max {
            return Err(format!("has {} tokens; the model reads {tokens_max}", tokens.ids.len()));
        }
        if let Some(id) = beyond(&tokens.ids, vocabulary) {
            return Err(format!("has token id {id}; the model's vocabulary ends at {}", vocabulary - 1));
        }
        match beyond(&tokens.type_ids, types) {
            Some(id) => Err(format!("has segment {id}; the model has {types}")),
            None => Ok(()),
        }
    }

    /// One step: the outputs of every input, in order.
    ///
    /// # Panics
    /// When an input was not checked, or logits are wanted of a model without a classifier.
    pub(crate) fn run<'a>(&self, want: Want, inputs: impl Iterator<Item = &'a Tokens>) -> Vec<Vec<f32>> {
        let batch: Batch = inputs.collect();
        let Body::Encoder(encoder) = &self.body else { unreachable!("a language model's steps are its own") };
        let hidden = encoder.hidden(&batch);
        let width = self.shape.hidden;
        let runs = |rows: Tensor<2>| {
            let [_, width] = rows.dims();
            let of = |values: &[f32], run: &std::ops::Range<usize>| values[run.start * width..run.end * width].to_vec();
            device::with_values(rows, |values| batch.runs.iter().map(|run| of(values, run)).collect())
        };
        match want {
            Want::Tokens => runs(hidden),
            Want::Pooled => device::with_values(hidden, |values| {
                batch
                    .runs
                    .iter()
                    .map(|run| self.embed.pooling.pool(&values[run.start * width..run.end * width], width))
                    .collect()
            }),
            Want::Logits if self.shape.classifier.is_some_and(|classifier| classifier.of == Classified::Tokens) => {
                runs(encoder.logits(hidden).expect("logits are asked of a classifier"))
            }
            Want::Logits => {
                let starts: Vec<i32> =
                    batch.runs.iter().map(|run| i32::try_from(run.start).expect("a batch is bounded")).collect();
                let count = starts.len();
                let starts = Tensor::<1, Int>::from_data(TensorData::new(starts, [count]), &self.device);
                let logits = encoder.logits(hidden.select(0, starts)).expect("logits are asked of a classifier");
                let [_, labels] = logits.dims();
                device::with_values(logits, |values| values.chunks(labels).map(<[f32]>::to_vec).collect())
            }
        }
    }

    /// What is in the weights of a model, without loading it.
    ///
    /// # Errors
    /// When the weights can't be read.
    pub fn tensors(path: &Path) -> Result<Vec<TensorSummary>, WeightsError> {
        Ok(Weights::open(path)?.summary())
    }
}

/// The family that a configuration names.
fn family(config: &serde_json::Value) -> Result<&'static Family, ModelError> {
    let model_type = config["model_type"].as_str().unwrap_or_default();
    FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.model_types).copied().collect();
        ModelError::Unsupported(format!("model_type `{model_type}`; supported are {}", known.join(", ")))
    })
}

/// Builds a model of whatever family the configuration names.
fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let family = family(config)?;
    let names = config["architectures"].as_array().map_or(&[][..], Vec::as_slice);
    for name in names.iter().filter_map(serde_json::Value::as_str) {
        if !family.heads.iter().any(|head| name.ends_with(head)) {
            let supported = family.heads.join(", ");
            return Err(ModelError::Unsupported(format!(
                "architecture `{name}`; supported in this family are names that end in {supported}"
            )));
        }
    }
    (family.load)(config, weights, device)
}

/// The activation that a configuration names in a field.
fn activation(field: &str, name: &str) -> Result<Activation, ModelError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => Err(ModelError::Unsupported(format!("{field} = {other}"))),
    }
}

/// The tokens that end a generation: those of `generation_config.json`, of the configuration and of the tokenizer.
fn end_ids(folder: &Path, config: &serde_json::Value, tokenizer: Option<&Tokenizer>) -> Result<Vec<u32>, ModelError> {
    let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or_default();
    let listed = [&generation["eos_token_id"], &config["eos_token_id"]].into_iter().flat_map(|ids| match ids {
        serde_json::Value::Array(ids) => ids.clone(),
        id => vec![id.clone()],
    });
    let mut ids: Vec<u32> = listed.filter_map(|id| id.as_u64()?.try_into().ok()).collect();
    ids.extend(tokenizer.into_iter().flat_map(Tokenizer::end_ids));
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn card(
    name: String,
    config: &serde_json::Value,
    body: &Body,
    shape: &Shape,
    embed: &EmbedSettings,
    has_template: bool,
) -> ModelCard {
    ModelCard {
        name,
        family: config["model_type"].as_str().unwrap_or_default().into(),
        task: match (body, shape.classifier) {
            (Body::Language(_), _) => ModelTask::Generate,
            (Body::Encoder(_), None) => ModelTask::Embed,
            (Body::Encoder(_), Some(Classifier { of: Classified::Tokens, .. })) => ModelTask::ClassifyTokens,
            (Body::Encoder(_), Some(Classifier { labels: 1, .. })) => ModelTask::Rerank,
            (Body::Encoder(_), Some(_)) => ModelTask::Classify,
        },
        dimensions: shape.hidden,
        layers: shape.layers,
        vocabulary: shape.vocabulary,
        // A language model reads what it has positions for, whatever its tokenizer's files say.
        tokens_max: if matches!(body, Body::Language(_)) { shape.tokens_max } else { embed.tokens_max },
        labels: shape.classifier.map_or(0, |classifier| classifier.labels),
        prompts: embed.prompts.keys().cloned().collect(),
        chat: has_template,
        digest: String::new(),
        origin: None,
    }
}

/// A JSON file of a model; none if it isn't there.
pub(crate) fn read_json(file: &Path) -> Result<Option<serde_json::Value>, ModelError> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| ModelError::Config(format!("{} is not JSON: {error}", file.display()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ModelError::Unreadable { file: file.into(), cause }),
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod gpu_tests;
