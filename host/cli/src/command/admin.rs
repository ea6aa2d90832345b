//! The server that commands ask: where it is, as whom, and what it says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// Which server.
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server listens, as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The server's URL, where it is called by a name: https://tessera.example.com.
    #[arg(long, visible_alias = "server", conflicts_with = "listen")]
    url: Option<String>,
    /// A key made by `tessera key create --admin`, where the server asks for one.
    #[arg(long, env = "TESSERA_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// Longest time to wait for an answer that is there at once.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest time to wait for a component to be compiled.
const COMPILE_WAIT_MAX: Duration = Duration::from_secs(180);

impl ServerArgs {
    /// Asks for a path below `/admin`.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send("GET", path, None)
    }

    /// Sends a request for a path below `/admin`, with the bytes of a component or with nothing.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> anyhow::Result<Value> {
        let url = format!("{}/admin{path}", self.base()?);
        let wait = if method == "GET" { WAIT_MAX } else { COMPILE_WAIT_MAX };
        let agent = ureq::Agent::config_builder().timeout_global(Some(wait)).proxy(None).http_status_as_error(false);
        let agent: ureq::Agent = agent.build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request.header("content-type", "application/octet-stream").body(body.unwrap_or_default())?;
        let asked = agent.run(request);
        let asked =
            asked.with_context(|| format!("no server answers at {url}: start it, or say --listen ADDR or --url URL"))?;
        let status = asked.status();
        let said: anyhow::Result<Value> = asked.into_body().read_json().with_context(|| format!("{url} gave no JSON"));
        match status.as_u16() {
            200..=299 => said,
            401 | 403 => bail!("{url} is for operators: give a key made by `tessera key create --admin` in TESSERA_KEY"),
            _ => match said?["error"]["message"].as_str() {
                Some("Nothing is served at this path here.") => {
                    bail!("{url} is not served there: say --listen with the server's `admin_listen`")
                }
                Some(message) => bail!("{message}"),
                None => bail!("{url} answers {status}"),
            },
        }
    }

    fn base(&self) -> anyhow::Result<String> {
        let config = super::serve::read_config(self.config.as_deref())?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let address = self.listen.or(config.admin_listen).unwrap_or(config.listen);
        let base = self.url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        Ok(base.trim_end_matches('/').into())
    }
}

/// Columns as wide as they need.
pub(crate) fn table(out: &mut impl std::io::Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A time of Unix, in seconds, for people.
pub(crate) fn time(unix_s: &Value) -> String {
    let time = unix_s.as_i64().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| "-".into(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        let mut out = Vec::new();
        table(&mut out, &[row(["name", "state"]), row(["embeddings", "x"])]).expect("prints");
        assert_eq!(String::from_utf8(out).expect("text"), "name        state\nembeddings  x\n");
    }

    #[test]
    fn a_time_is_told_for_people() {
        assert_eq!(time(&Value::from(0)), "1970-01-01 00:00:00Z");
        assert_eq!(time(&Value::Null), "-");
    }
}
