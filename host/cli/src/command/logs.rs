//! `tessera logs`: the last lines of a component, and those that come.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::admin::ServerArgs;

/// Which lines.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with the lines that come, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Lines to begin with.
    #[arg(long, value_name = "N", default_value_t = 100)]
    lines: usize,
    #[command(flatten)]
    server: ServerArgs,
}

/// How often the server is asked for more.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let (mut after, mut limit) = (0, args.lines);
    loop {
        let report = args.server.get(&format!("/components/{}/logs?after={after}&limit={limit}", args.name))?;
        for line in report["lines"].as_array().into_iter().flatten() {
            writeln!(out, "{}", show(line))?;
            after = line["seq"].as_u64().unwrap_or(after);
        }
        if !args.follow {
            return Ok(());
        }
        out.flush()?;
        limit = 10_000;
        std::thread::sleep(PAUSE);
    }
}

fn show(line: &Value) -> String {
    let at = line["unix_ms"].as_i64().and_then(chrono::DateTime::from_timestamp_millis);
    let at = at.map_or_else(|| "-".into(), |at| at.format("%H:%M:%S%.3f").to_string());
    let text = |key: &str| line[key].as_str().unwrap_or("-");
    format!("{at} {:<5} {} {}", text("level"), text("request"), text("text"))
}
