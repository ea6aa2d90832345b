//! `tessera model`: look at a model, or run it on raw inputs and print the numbers, to compare with another engine.

use std::io::Write;
use std::path::{Path, PathBuf};

use engine::{DeviceSpec, Model};
use serde_json::{Value, json};

/// What to do with a model.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What is in it: its card and its tensors.
    Inspect(Inspect),
    /// Its vectors for the given inputs, as JSON: mean-pooled and first-token, both of length 1.
    Embed(Inputs),
    /// Its classifier's raw outputs for the given inputs, as JSON.
    Score(Inputs),
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

/// Token ids of one input.
#[derive(Clone)]
struct Ids(Vec<u32>);

fn parse_ids(text: &str) -> Result<Ids, String> {
    let ids = text.split(',').map(|id| id.trim().parse()).collect::<Result<_, _>>();
    ids.map(Ids).map_err(|_| "token ids are whole numbers with commas between, as 101,7592,102".into())
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
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
    }
}

fn inspect(options: &Inspect) -> anyhow::Result<()> {
    let path = options.which.path()?;
    let model = options.which.open()?;
    let tensors = Model::tensors(&path)?;
    let numbers: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
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
    /// A path as it is given, or a name in the models folder.
    fn path(&self) -> anyhow::Result<PathBuf> {
        let named = self.models.join(&self.model);
        let given = Path::new(&self.model);
        [given, &named].into_iter().find(|path| path.exists()).map(Path::to_path_buf).ok_or_else(|| {
            anyhow::anyhow!(
                "there is no model `{}`, neither here nor in {}: `tessera pull` lists known ones",
                self.model,
                self.models.display()
            )
        })
    }

    fn open(&self) -> anyhow::Result<Model> {
        let device: DeviceSpec = self.device.parse()?;
        Ok(Model::open(&self.path()?, device)?)
    }
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
