//! `tessera usage`: what each component and tenant of a running server has used.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use runtime::ServerConfig;
use serde_json::Value;

/// Which server, and how to print.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server listens, as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The server's URL, where it is called by a name: https://tessera.example.com.
    #[arg(long, conflicts_with = "listen")]
    url: Option<String>,
    /// A key made by `tessera key create --admin`, where the server asks for one.
    #[arg(long, env = "TESSERA_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Longest time to wait for the server.
const WAIT_MAX: Duration = Duration::from_secs(5);

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
    let config = super::serve::read_config(args.config.as_deref())?;
    let report = ask(&args, &config)?;
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

/// Asks the server.
fn ask(args: &Args, config: &ServerConfig) -> anyhow::Result<Value> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = args.listen.or(config.admin_listen).unwrap_or(config.listen);
    let base = args.url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let url = format!("{}/admin/usage", base.trim_end_matches('/'));
    let agent = ureq::Agent::config_builder().timeout_global(Some(WAIT_MAX)).proxy(None).http_status_as_error(false);
    let agent: ureq::Agent = agent.build().into();
    let mut request = agent.get(&url);
    if let Some(key) = &args.key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let asked =
        request.call().with_context(|| format!("no server answers at {url}: start it, or say --listen ADDR or --url URL"))?;
    match asked.status().as_u16() {
        200 => {}
        401 | 403 => anyhow::bail!("{url} is for operators: give a key made by `tessera key create --admin` in TESSERA_KEY"),
        404 => anyhow::bail!("{url} is not served there: say --listen with the server's `admin_listen`"),
        status => anyhow::bail!("{url} answers {status}"),
    }
    asked.into_body().read_json().with_context(|| format!("{url} gave no usage"))
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
