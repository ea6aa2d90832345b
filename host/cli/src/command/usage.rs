//! `tessera usage`: what each component and tenant of a running server has used.

use std::io::Write;

use serde_json::Value;

use super::admin::ServerArgs;

/// Which server, and how to print.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is shown of each component: a title, and the value for people.
type Column = (&'static str, fn(&Value) -> String);

const COLUMNS: [Column; 9] = [
    ("requests", |usage| count(&usage["requests"])),
    ("tokens in", |usage| count(&usage["input_tokens"])),
    ("tokens out", |usage| count(&usage["output_tokens"])),
    ("device s", |usage| seconds(&usage["device_ns"])),
    ("device MiB", |usage| mebibytes(&usage["device_bytes"])),
    ("cpu s", |usage| seconds(&usage["cpu_ns"])),
    ("egress KiB", |usage| kibibytes(&usage["egress_bytes"])),
    ("over quota", |usage| count(&usage["over_quota"])),
    ("denied", |usage| match usage["would_deny"].as_u64() {
        Some(observed @ 1..) => format!("{} (+{observed} observed)", count(&usage["denied"])),
        _ => count(&usage["denied"]),
    }),
];

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let report = args.server.get("/usage")?;
    let mut out = std::io::stdout();
    if args.json {
        return Ok(writeln!(out, "{report:#}")?);
    }
    table(&mut out, "component", &report["components"])?;
    if report["tenants"].as_object().is_some_and(|tenants| !tenants.is_empty()) {
        writeln!(out)?;
        table(&mut out, "tenant", &report["tenants"])?;
    }
    Ok(())
}

fn table(out: &mut impl Write, kind: &str, used: &Value) -> anyhow::Result<()> {
    let none = serde_json::Map::new();
    let rows = used.as_object().unwrap_or(&none).iter().map(|(name, usage)| {
        let values = COLUMNS.iter().map(|(_, show)| show(usage));
        std::iter::once(name.clone()).chain(values).collect()
    });
    let titles = std::iter::once(kind).chain(COLUMNS.map(|(title, _)| title)).map(String::from).collect();
    print(out, std::iter::once(titles).chain(rows).collect())
}

/// Columns as wide as they need; names to the left, numbers to the right.
fn print(out: &mut impl Write, rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let widths: Vec<usize> =
        (0..=COLUMNS.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn count(value: &Value) -> String {
    value.as_u64().unwrap_or(0).to_string()
}

fn seconds(nanoseconds: &Value) -> String {
    format!("{:.3}", number(nanoseconds) / 1e9)
}

fn mebibytes(bytes: &Value) -> String {
    format!("{:.1}", number(bytes) / f64::from(1 << 20))
}

fn kibibytes(bytes: &Value) -> String {
    format!("{:.1}", number(bytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |first: &str, value: &str| {
            let values = vec![value.to_owned(); COLUMNS.len()];
            std::iter::once(first.to_owned()).chain(values).collect::<Vec<_>>()
        };
        let mut out = Vec::new();
        print(&mut out, vec![row("name", "n"), row("c", "123")]).expect("prints");
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("name    n    n"), "{text}");
        assert!(text.lines().nth(1).expect("a line").starts_with("c     123  123"), "{text}");
    }
}
