//! `tessera model`: look at a model, or run it on raw inputs and print the numbers, to compare with another engine.

mod add;
mod list;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use engine::{DeviceSpec, Message, Model, Prompting, TokenizeInput};
use serde_json::{Value, json};

/// What to do with a model.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The models here: what each is for, where it came from, its licence and digest, who added it and when.
    List(list::Args),
    /// Record where a model came from that was put into the models folder by hand, and what its files hold.
    Add(add::Args),
    /// What is in it: its card and its tensors.
    Inspect(Inspect),
    /// Its vectors for the given inputs, as JSON: mean-pooled and first-token, both of length 1.
    Embed(Inputs),
    /// Its classifier's raw outputs for the given inputs, as JSON.
    Score(Inputs),
    /// A language model's logits at the first and the last of some ids, what it goes on with greedily, and the logits after
    /// that, as JSON.
    Logits(Logits),
    /// The token ids of a text, or the text of token ids, as JSON.
    Tokenize(Tokenize),
    /// SHA-256 of a model's files, as a policy can pin it: `models = ["NAME@sha256:DIGEST"]`.
    Digest(Digest),
    /// A conversation as the model's chat template writes it.
    Template(Template),
}

/// Which model, and where.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// A name in the models folder, or a model's folder, or its weights file.
    model: String,
    /// The models folder.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS", default_value = "models")]
    models: PathBuf,
    /// Device for tensors: flex (CPU), wgpu, cuda or rocm, with :INDEX where there are several.
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    device: String,
}

/// Options of `digest`.
#[derive(clap::Args)]
pub(crate) struct Digest {
    /// A name in the models folder.
    model: String,
    /// The models folder.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS", default_value = "models")]
    models: PathBuf,
}

/// Options of `inspect`.
#[derive(clap::Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Options of `embed` and `score`.
#[derive(clap::Args)]
pub(crate) struct Inputs {
    #[command(flatten)]
    which: Which,
    /// Token ids, as 1,2,3. Repeat it for a batch.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, required_unless_present = "text")]
    ids: Vec<Ids>,
    /// A text, tokenized by the model. Repeat it for a batch; texts follow the ids.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
}

/// Options of `logits`.
#[derive(clap::Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    which: Which,
    /// Token ids, as 1,2,3.
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    ids: Ids,
    /// Go on with so many of the likeliest ids.
    #[arg(long, value_name = "N", default_value_t = 0)]
    greedy: usize,
    /// Feed so many tokens a step; without it the ids at once.
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    /// Run these in the same batch: a JSON file with a list of lists of ids, or with `input_ids`.
    #[arg(long, value_name = "FILE")]
    batch_with: Option<PathBuf>,
}

/// Options of `tokenize`.
#[derive(clap::Args)]
pub(crate) struct Tokenize {
    #[command(flatten)]
    which: Which,
    /// The text; standard input without it.
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    text: Option<String>,
    /// Add the tokens that the model wants around a text.
    #[arg(long)]
    special: bool,
    /// Token ids to turn into text.
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    ids: Option<Ids>,
}

/// Options of `template`.
#[derive(clap::Args)]
pub(crate) struct Template {
    #[command(flatten)]
    which: Which,
    /// A message, as user=Hello. Repeat it for a conversation.
    #[arg(long, value_name = "ROLE=TEXT", value_parser = parse_message, required = true)]
    message: Vec<Message>,
    /// End after the last message, without the words that make the model answer.
    #[arg(long)]
    no_reply: bool,
}

fn parse_message(text: &str) -> Result<Message, String> {
    let parts = text.split_once('=').ok_or("a message is ROLE=TEXT, as user=Hello");
    parts.map(|(role, content)| Message { role: role.into(), content: content.into() }).map_err(String::from)
}

/// Token ids of one input.
#[derive(Clone)]
struct Ids(Vec<u32>);

fn parse_ids(text: &str) -> Result<Ids, String> {
    let ids = text.split(',').map(|id| id.trim().parse()).collect::<Result<_, _>>();
    ids.map(Ids).map_err(|_| "token ids are whole numbers with commas between, as 101,7592,102".into())
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(options) => options.run(&mut std::io::stdout()),
        Command::Add(options) => options.run(&mut std::io::stdout()),
        Command::Inspect(options) => inspect(&options),
        Command::Embed(options) => {
            let (model, inputs) = options.read()?;
            let pooled = model.embed_ids(&inputs).map_err(anyhow::Error::msg)?;
            let (mean, cls): (Vec<_>, Vec<_>) = pooled.into_iter().map(|pooled| (pooled.mean, pooled.cls)).unzip();
            print(
                &json!({"kind": "encoder", "input_ids": inputs, "mean_pooled_normalized": mean, "cls_pooled_normalized": cls}),
            )
        }
        Command::Score(options) => {
            let (model, inputs) = options.read()?;
            let logits = model.score_ids(&inputs).map_err(anyhow::Error::msg)?;
            print(&json!({"kind": "sequence-classification", "input_ids": inputs, "logits": logits}))
        }
        Command::Logits(options) => logits(options),
        Command::Tokenize(options) => tokenize(options),
        Command::Digest(options) => {
            let Digest { model, models } = options;
            let digest = engine::digest(&models.join(&model)).with_context(|| format!("the model `{model}` can't be read"))?;
            Ok(writeln!(std::io::stdout(), "{model}@sha256:{digest}")?)
        }
        Command::Template(options) => {
            let prompting = if options.no_reply { Prompting::Nothing } else { Prompting::Reply };
            let text = options.which.open()?.render(&options.message, prompting)?;
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(())
        }
    }
}

fn logits(options: Logits) -> anyhow::Result<()> {
    let model = options.which.open()?;
    let mut inputs = vec![options.ids.0];
    if let Some(file) = &options.batch_with {
        inputs.extend(read_batch(file).with_context(|| file.display().to_string())?);
    }
    let chunk = options.chunk.unwrap_or(usize::MAX);
    let reports = model.greedy(&inputs, options.greedy, chunk).map_err(anyhow::Error::msg)?;
    print(&serde_json::to_value(reports.first())?)
}

/// Lists of ids: bare, or as `expected.json` has them.
fn read_batch(file: &Path) -> anyhow::Result<Vec<Vec<u32>>> {
    let value: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let ids = value.get("input_ids").unwrap_or(&value);
    let one = || Ok(vec![serde_json::from_value(ids.clone())?]);
    serde_json::from_value(ids.clone()).or_else(|_: serde_json::Error| one())
}

fn tokenize(options: Tokenize) -> anyhow::Result<()> {
    let model = options.which.open()?;
    if let Some(Ids(ids)) = options.ids {
        return print(&json!({"ids": ids, "text": model.text(&ids)?}));
    }
    let text = match options.text {
        Some(text) => text,
        None => std::io::read_to_string(std::io::stdin())?,
    };
    let ids = model.prompt_ids(&TokenizeInput::Text { text, special: options.special })?;
    print(&json!({"ids": ids}))
}

fn inspect(options: &Inspect) -> anyhow::Result<()> {
    let path = options.which.path()?;
    let model = options.which.open()?;
    let tensors = Model::tensors(&path)?;
    let count = |shape: &[usize]| shape.iter().fold(1, |numbers: usize, size| numbers.saturating_mul(*size));
    let numbers = tensors.iter().fold(0, |sum: usize, tensor| sum.saturating_add(count(&tensor.shape)));
    if options.json {
        let rows = tensors.iter().map(|tensor| json!({"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}));
        return print(&json!({"card": model.card(), "parameters": numbers, "tensors": rows.collect::<Vec<_>>()}));
    }
    let mut out = std::io::stdout().lock();
    let card = serde_json::to_value(model.card())?;
    for (key, value) in card.as_object().into_iter().flatten() {
        writeln!(out, "{key:<12} {}", plain(value))?;
    }
    writeln!(out, "{:<12} {numbers}\n", "parameters")?;
    for tensor in tensors {
        writeln!(out, "{:<5} {:<16} {}", tensor.dtype, format!("{:?}", tensor.shape), tensor.name)?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

fn print(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{value}")?;
    Ok(())
}

impl Which {
    fn path(&self) -> anyhow::Result<PathBuf> {
        find(&self.model, &self.models)
    }

    pub(super) fn open(&self) -> anyhow::Result<Model> {
        Ok(Model::open(&self.path()?, self.device()?)?)
    }

    pub(super) fn device(&self) -> anyhow::Result<DeviceSpec> {
        Ok(self.device.parse()?)
    }
}

/// A path as it is given, or a name in the models folder.
pub(super) fn find(model: &str, models: &Path) -> anyhow::Result<PathBuf> {
    let named = models.join(model);
    let given = Path::new(model);
    [given, &named].into_iter().find(|path| path.exists()).map(Path::to_path_buf).with_context(|| {
        format!("there is no model `{model}`, neither here nor in {}: `tessera pull` lists known ones", models.display())
    })
}

impl Inputs {
    fn read(self) -> anyhow::Result<(Model, Vec<Vec<u32>>)> {
        let model = self.which.open()?;
        let texts = self.text.iter().map(|text| model.tokenize(text).map_err(anyhow::Error::msg));
        let ids = self.ids.into_iter().map(|Ids(ids)| Ok(ids));
        let inputs = ids.chain(texts).collect::<anyhow::Result<_>>()?;
        Ok((model, inputs))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    /// What `model list` or `model add` prints about a models folder.
    fn run_line(line: &[&str], models: &Path) -> anyhow::Result<String> {
        let folder = models.display().to_string();
        let line = [&["model"], line, &["--models", &folder]].concat();
        let mut out = Vec::new();
        let done = match Line::try_parse_from(line)?.command {
            Command::List(options) => options.run(&mut out),
            Command::Add(options) => options.run(&mut out),
            _ => unreachable!("the others need a model that can be loaded"),
        };
        done.map(|()| String::from_utf8_lossy(&out).into_owned())
            .map_err(|error| error.context(String::from_utf8_lossy(&out).into_owned()))
    }

    #[test]
    fn a_model_that_was_put_there_by_hand_is_recorded_and_watched() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let folder = models.path().join("m");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("config.json"), r#"{"architectures": ["BertModel"]}"#)?;
        std::fs::write(folder.join("model.safetensors"), "weights")?;
        let digest = engine::digest(&folder)?;
        let listed = run_line(&["list"], models.path())?;
        assert!(listed.contains("embed     not recorded") && listed.contains(&digest[..12]), "{listed}");
        assert!(run_line(&["add", "m"], models.path()).is_err(), "nobody has said where it came from");
        assert!(run_line(&["add", "none", "--source", "x"], models.path()).is_err());
        let line = ["add", "m", "--source", "trained here", "--licence", "MIT", "--by", "somebody"];
        assert!(run_line(&line, models.path())?.contains(&format!("2 files, sha256:{digest}")));
        let listed = run_line(&["list"], models.path())?;
        for words in ["trained here", "MIT", "somebody", &digest[..12], "20"] {
            assert!(listed.contains(words), "{listed}");
        }
        let row = serde_json::from_str::<Value>(&run_line(&["list", "--json"], models.path())?)?["models"][0].clone();
        assert_eq!((&row["digest"], &row["licence"]), (&json!(digest), &json!("MIT")));
        std::fs::write(folder.join("model.safetensors"), "Weights")?;
        run_line(&["list"], models.path()).context("without a look into the files")?;
        let error = format!("{:#}", run_line(&["list", "--verify"], models.path()).expect_err("altered"));
        assert!(error.contains("model.safetensors is not the file that was recorded"), "{error}");
        assert!(run_line(&["add", "m"], models.path())?.contains("recorded"), "with what was said before");
        assert!(run_line(&["list", "--verify"], models.path())?.contains("trained here"));
        Ok(())
    }
}
