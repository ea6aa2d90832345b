//! `tessera model add`: writes the record of a model that was put into the models folder by hand.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use engine::Origin;
use policy::ModelName;

use crate::command::pull::By;
use crate::pull::record::Record;
use crate::pull::source::Format;
use crate::pull::unix_s;

/// What is known of the model.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A name in the models folder.
    model: ModelName,
    /// The models folder.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS", default_value = "models")]
    models: PathBuf,
    /// Where it came from, as https://host/m.gguf or "trained here"; what its record says already, if it has one.
    #[arg(long, value_name = "WHERE")]
    source: Option<String>,
    /// The revision there.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// SPDX expression of its licence, as Apache-2.0.
    #[arg(long, value_name = "LICENCE")]
    licence: Option<String>,
    #[command(flatten)]
    by: By,
}

impl Args {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let folder = self.models.join(self.model.as_str());
        let shown = folder.display().to_string();
        ensure!(folder.is_dir(), "there is no folder {shown}: put the model's files there first");
        let added_by = self.by.name();
        // A record that is damaged is made anew, if all that it should say is given.
        let before = match Record::read(&folder) {
            Err(error) if self.source.is_none() => return Err(error.context("say --source WHERE to make a new record")),
            before => before.ok().flatten(),
        };
        let (asked, origin) = before.map(|record| (record.asked, record.origin)).unzip();
        let source = self.source.clone().or(origin.as_ref().map(|origin: &Origin| origin.source.clone()));
        let source = source.context("say where the model came from with --source WHERE")?;
        let origin = Origin {
            revision: self.revision.or(origin.as_ref().and_then(|origin| origin.revision.clone())),
            licence: self.licence.or(origin.and_then(|origin| origin.licence)),
            added_by,
            added_unix_s: unix_s(),
            source,
        };
        let files = engine::contents(&folder).with_context(|| format!("cannot read {shown}"))?;
        let format = files.keys().find_map(|path| Format::of(path));
        let format = format.with_context(|| format!("{shown} holds no .gguf, .safetensors or .onnx file"))?;
        let asked = asked.filter(|_| self.source.is_none()).unwrap_or_else(|| origin.source.clone());
        let record = Record { name: self.model, format, asked, origin, files };
        record.write(&folder)?;
        writeln!(out, "{}: recorded, {} files, sha256:{}", record.name, record.files.len(), engine::digest(&folder)?)?;
        Ok(())
    }
}
