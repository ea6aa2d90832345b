//! `tessera list`: the components of a running server, and the versions of one.

use std::io::Write;

use serde_json::Value;

use super::admin::{ServerArgs, table, time};

/// Which components.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One component, with the versions that have run.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let path = args.name.as_ref().map_or_else(|| "/components".into(), |name| format!("/components/{name}/versions"));
    let report = args.server.get(&path)?;
    if args.json {
        return Ok(writeln!(out, "{report:#}")?);
    }
    match &args.name {
        Some(_) => table(&mut out, &versions(&report))?,
        None => {
            table(&mut out, &components(&report))?;
            for refusal in refusals(&report) {
                writeln!(out, "\n{refusal}")?;
            }
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").into()
}

fn components(report: &Value) -> Vec<Vec<String>> {
    let titles = ["component", "version", "state", "since", "routes"].map(String::from).to_vec();
    let row = |component: &Value| {
        let state = match component.get("replacement_refused") {
            Some(_) => "serving; its replacement is refused".into(),
            None => text(&component["state"]),
        };
        let routes: Vec<&str> = component["routes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        vec![text(&component["name"]), text(&component["version"]), state, time(&component["since"]), routes.join(", ")]
    };
    std::iter::once(titles).chain(report["components"].as_array().into_iter().flatten().map(row)).collect()
}

/// Why what is refused is, in full.
fn refusals(report: &Value) -> Vec<String> {
    let reason = |component: &Value| {
        let why = component.get("refused").or(component.get("replacement_refused"))?.as_str()?;
        Some(format!("`{}` is refused: {}", text(&component["name"]), why.trim_end()))
    };
    report["components"].as_array().into_iter().flatten().filter_map(reason).collect()
}

fn versions(report: &Value) -> Vec<Vec<String>> {
    let titles = ["id", "version", "first loaded", "signer", ""].map(String::from).to_vec();
    let row = |version: &Value| {
        let state = match (version["is_current"].as_bool(), version["is_kept"].as_bool()) {
            (Some(true), _) => "serves",
            (_, Some(true)) => "can be gone back to",
            _ => "not kept any more",
        };
        vec![text(&version["id"]), text(&version["version"]), time(&version["since"]), text(&version["signer"]), state.into()]
    };
    std::iter::once(titles).chain(report["versions"].as_array().into_iter().flatten().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_component_whose_replacement_is_refused_is_told() {
        let report = json!({"components": [
            {"name": "a", "version": "0.1.0", "state": "serving", "since": 0, "routes": ["* /c/a/*"], "replacement_refused": "why\nmore"},
            {"name": "b", "state": "disabled"},
        ]});
        let rows = components(&report);
        assert_eq!(refusals(&report), ["`a` is refused: why\nmore"]);
        assert_eq!(rows[1], ["a", "0.1.0", "serving; its replacement is refused", "1970-01-01 00:00:00Z", "* /c/a/*"]);
        assert_eq!(rows[2][..3], ["b", "-", "disabled"]);
    }
}
