//! `tessera model list`: the registry, which is the models folder with the record of each.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use engine::Installed;
use serde_json::{Value, json};

/// Which models, and how much to look at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The models folder.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS", default_value = "models")]
    models: PathBuf,
    /// Hash every file and compare it with the record.
    #[arg(long)]
    verify: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Digits of a digest that are shown to people.
const DIGITS: usize = 12;

const TITLES: [&str; 8] = ["NAME", "TASK", "SOURCE", "REVISION", "LICENCE", "DIGEST", "ADDED BY", "WHEN"];
const WIDTHS: [usize; 8] = [28, 9, 32, 12, 12, 12, 12, 0];

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let folder = self.models.display();
        let models = engine::installed(&self.models).with_context(|| format!("cannot read {folder}"))?;
        let rows: Vec<Value> = models.iter().map(|model| self.row(model)).collect();
        if self.json {
            writeln!(out, "{:#}", json!({"models": rows}))?;
        } else {
            line(out, TITLES.map(String::from))?;
            for row in &rows {
                line(out, shown(row))?;
            }
        }
        let bad: Vec<&Value> = rows.iter().filter(|row| row["error"].is_string()).collect();
        for row in &bad {
            let (name, error) = (text(&row["name"]), text(&row["error"]));
            tracing::error!("{name}: {error}");
            if !self.json {
                writeln!(out, "\n{name}: {error}")?;
            }
        }
        ensure!(bad.is_empty(), "{} of {} models are not as they were recorded", bad.len(), rows.len());
        Ok(())
    }

    /// What is known of a model, and what is wrong with it.
    fn row(&self, model: &Installed) -> Value {
        let record = model.record.as_ref().ok().and_then(Option::as_ref);
        let mut row = json!(record.map(|record| &record.origin));
        if record.is_none() {
            row = json!({});
        }
        let mut error = model.record.as_ref().err().map(ToString::to_string);
        let mut digest = record.map(engine::Record::digest);
        // What nobody has recorded has to be read to know it.
        if self.verify || digest.is_none() {
            match engine::contents(&model.folder) {
                Ok(found) => {
                    let checked = record.map_or(Ok(()), |record| record.check(&model.name, &found));
                    error = error.or(checked.err().map(|error| error.to_string()));
                    digest = engine::digest(&model.folder).ok();
                }
                Err(cause) => error = error.or(Some(format!("it can't be read: {cause}"))),
            }
        }
        row["name"] = json!(model.name);
        row["task"] = json!(model.task);
        row["digest"] = json!(digest);
        row["is_recorded"] = json!(record.is_some());
        row["error"] = json!(error);
        row
    }
}

fn shown(row: &Value) -> [String; 8] {
    let or_dash = |key: &str| row[key].as_str().map_or_else(|| "-".into(), String::from);
    let source = if row["is_recorded"] == true { or_dash("source") } else { "not recorded".into() };
    let short = |text: String| text.chars().take(DIGITS).collect();
    let when = row["added_unix_s"].as_i64().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    let when = when.map_or_else(|| "-".into(), |when| when.format("%Y-%m-%d %H:%M").to_string());
    let (revision, digest) = (short(or_dash("revision")), short(or_dash("digest")));
    [or_dash("name"), or_dash("task"), source, revision, or_dash("licence"), digest, or_dash("added_by"), when]
}

fn line(out: &mut dyn Write, cells: [String; 8]) -> std::io::Result<()> {
    let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
    let line = padded.collect::<Vec<_>>().join(" ");
    writeln!(out, "{}", line.trim_end())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
