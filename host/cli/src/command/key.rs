//! `tessera key`: who may call a server that asks for credentials.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use policy::{ComponentName, KeyId, Keys, Labels, ModelName, NewKey, Selection, Tenant};

/// What to do with keys. A running server takes a change within a second.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key and print it: it is shown this once and kept nowhere.
    Create(CreateArgs),
    /// Show which keys there are; not the keys themselves, which nobody has but those they were given to.
    List(ListArgs),
    /// Let a key in no more.
    Revoke(RevokeArgs),
}

/// Where the keys are.
#[derive(clap::Args)]
struct Place {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for what the server keeps.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Whose key, and what it allows.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    /// Whose requests come with it: data, quota and policies/tenants/NAME.toml are the tenant's.
    #[arg(long, value_name = "NAME")]
    tenant: Tenant,
    /// What people call it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// Components that it lets ask, with commas between them; * is all.
    #[arg(long, value_name = "NAMES", default_value = "*")]
    components: Selection<ComponentName>,
    /// Models that may run for it, with commas between them; * is all.
    #[arg(long, value_name = "NAMES", default_value = "*")]
    models: Selection<ModelName>,
    /// Labels of its caller, with commas between them: it finds documents that have one of them, beside those that have none.
    #[arg(long, value_name = "NAMES", default_value = "")]
    labels: Labels,
    /// Let it read /admin and /metrics.
    #[arg(long)]
    admin: bool,
    /// How long it is good: 90d, 12h, 30m or 60s; for ever without this.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    expires: Option<u64>,
    #[command(flatten)]
    place: Place,
}

/// How to print.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Which key.
#[derive(clap::Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `tessera key list` shows it.
    id: KeyId,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
///
/// # Errors
/// When the file of keys can't be read or written, or holds no such key.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let (out, now) = (&mut std::io::stdout(), now());
    match command {
        Command::Create(args) => {
            let told = create(args, now, out)?;
            // On a terminal people want to know what it is; a script wants the key and nothing else.
            if out.is_terminal() {
                writeln!(std::io::stderr(), "{told}")?;
            }
            Ok(())
        }
        Command::List(args) => list(&args, now, out),
        Command::Revoke(args) => revoke(&args, now, out),
    }
}

impl Place {
    fn file(&self) -> anyhow::Result<PathBuf> {
        let mut config = super::serve::read_config(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data = data.clone();
        }
        Ok(config.keys_file())
    }
}

/// Prints the key, and gives what there is to say of it.
fn create(args: CreateArgs, now: u64, out: &mut dyn Write) -> anyhow::Result<String> {
    let file = args.place.file()?;
    let CreateArgs { tenant, name, components, models, labels, admin, expires, .. } = args;
    let new = NewKey { name, tenant, components, models, is_admin: admin, labels, seconds: expires };
    let (key, text) = new.make(now)?;
    let told = format!(
        "key {} of the tenant {}: keep it now, it is shown this once. {} holds its SHA-256.",
        key.id,
        key.tenant,
        file.display()
    );
    Keys::change(&file, |keys| keys.add(key))?;
    writeln!(out, "{text}").context("the key is made and could not be printed: revoke it")?;
    Ok(told)
}

fn list(args: &ListArgs, now: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    let keys = read(&args.place.file()?)?;
    if args.json {
        let keys: Vec<serde_json::Value> = keys.iter().map(json).collect();
        return Ok(writeln!(out, "{:#}", serde_json::Value::from(keys))?);
    }
    let titles = ["id", "name", "tenant", "components", "models", "labels", "admin", "created", "expires", "state"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    for key in keys.iter() {
        let state = match key.revoked {
            Some(at) => format!("revoked {}", date(at)),
            None if key.is_expired(now) => "expired".into(),
            None => "good".into(),
        };
        rows.push(vec![
            key.id.to_string(),
            key.name.clone(),
            key.tenant.to_string(),
            key.scope.components.to_string(),
            key.scope.models.to_string(),
            key.scope.labels.to_string(),
            if key.scope.is_admin { "yes" } else { "no" }.into(),
            date(key.created),
            key.expires.map_or("never".into(), date),
            state,
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn revoke(args: &RevokeArgs, now: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    Keys::change(&args.place.file()?, |keys| keys.revoke(&args.id, now))?;
    Ok(writeln!(out, "key {} lets nobody in any more", args.id)?)
}

fn read(file: &Path) -> anyhow::Result<Keys> {
    Ok(Keys::read(file)?)
}

fn json(key: &policy::Key) -> serde_json::Value {
    serde_json::json!({
        "id": key.id, "name": key.name, "tenant": key.tenant, "components": key.scope.components,
        "models": key.scope.models, "labels": key.scope.labels, "admin": key.scope.is_admin,
        "created": date(key.created), "expires": key.expires.map(date), "revoked": key.revoked.map(date),
    })
}

/// Seconds since 1970 as people write them.
fn date(seconds: u64) -> String {
    policy::rfc3339(seconds)
}

/// A time with its unit, in seconds.
fn parse_seconds(text: &str) -> anyhow::Result<u64> {
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => bail!("write a number and s, m, h or d, as 90d"),
    };
    let count: u64 = text[..text.len() - 1].parse().context("write a number and s, m, h or d, as 90d")?;
    match count.checked_mul(unit) {
        Some(seconds @ 1..) => Ok(seconds),
        _ => bail!("the time must be longer than nothing, and shorter than the age of the universe"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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

    /// Runs a line over a folder of data at this time; what it prints.
    fn run_line(data: &Path, now: u64, line: &[&str]) -> anyhow::Result<String> {
        let data = data.display().to_string();
        let line = Line::try_parse_from(["key"].into_iter().chain(line.iter().copied()).chain(["--data", &data]))?;
        let mut out = Vec::new();
        match line.command {
            Command::Create(args) => drop(create(args, now, &mut out)?),
            Command::List(args) => list(&args, now, &mut out)?,
            Command::Revoke(args) => revoke(&args, now, &mut out)?,
        }
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn a_key_is_printed_once_and_listed_without_its_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let of = ["create", "--tenant", "acme", "--name", "a laptop", "--components", "chat,embeddings"];
        let args = [&of[..], &["--labels", "hr,/x", "--expires", "90d"]].concat();
        let key = run_line(data, 1_767_323_045, &args).expect("a key");
        assert!(key.starts_with("tessera_") && key.ends_with('\n') && key.lines().count() == 1, "{key}");
        run_line(data, 0, &["create", "--tenant", "ops", "--admin", "--expires", "1s"]).expect("another key");
        let (_, id, secret) = split(&key);
        let listed = run_line(data, 1_767_323_046, &["list"]).expect("a list");
        assert!(listed.contains(id) && !listed.contains(secret), "{listed}");
        let lines: Vec<Vec<&str>> =
            listed.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
        assert_eq!(&lines[1][1..7], ["a laptop", "acme", "chat,embeddings", "*", "/x,hr", "no"]);
        assert_eq!(&lines[1][7..], ["2026-01-02T03:04:05Z", "2026-04-02T03:04:05Z", "good"]);
        assert_eq!(lines[2].last(), Some(&"expired"));
        run_line(data, 1_767_323_047, &["revoke", id]).expect("revoked");
        let listed = run_line(data, 1_767_323_048, &["list", "--json"]).expect("a list");
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!((&listed[0]["id"], &listed[0]["revoked"]), (&id.into(), &"2026-01-02T03:04:07Z".into()));
        assert_eq!(listed[0]["labels"], serde_json::json!(["/x", "hr"]));
        assert_eq!((&listed[1]["admin"], &listed[1]["tenant"]), (&true.into(), &"ops".into()));
        assert!(!listed.to_string().contains(secret));
    }

    fn split(key: &str) -> (&str, &str, &str) {
        let mut parts = key.trim().splitn(3, '_');
        let mut next = || parts.next().expect("three parts");
        (next(), next(), next())
    }

    #[test]
    fn what_makes_no_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for line in [
            &["create"][..],
            &["create", "--tenant", "A B"],
            &["create", "--tenant", "a", "--components", "../x"],
            &["create", "--tenant", "a", "--expires", "90"],
            &["create", "--tenant", "a", "--expires", "0d"],
            &["create", "--tenant", "a", "--expires", "99999999999999999999d"],
            &["create", "--tenant", "a", "--name", "a\nb"],
            &["create", "--tenant", "a", "--labels", "a b"],
            &["revoke", "nobody"],
            &["revoke", "aaaaaaaa"],
        ] {
            assert!(run_line(folder.path(), 0, line).is_err(), "{line:?}");
        }
        assert_eq!(run_line(folder.path(), 0, &["list"]).expect("none").lines().count(), 1);
    }

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("30m", 1_800), ("1s", 1)] {
            assert_eq!(parse_seconds(text).expect(text), seconds);
        }
        for text in ["", "d", "1", "-1d", "1.5h", "1w", "ä"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
