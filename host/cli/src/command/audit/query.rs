//! `tessera audit query`.

use std::io::Write;
use std::time::SystemTime;

use anyhow::bail;
use policy::audit::{Decision, Entry, Files, files};
use policy::parse_time;

use super::{Place, show};

/// Which records. All that is said must fit.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// For whom it was.
    #[arg(long)]
    tenant: Option<String>,
    /// Who asked.
    #[arg(long)]
    caller: Option<String>,
    /// By which component.
    #[arg(long)]
    component: Option<String>,
    /// What was done: a method, or as in rules: embed, http, secret.
    #[arg(long)]
    action: Option<String>,
    /// allow, deny or would_deny.
    #[arg(long, value_parser = ["allow", "deny", "would_deny"])]
    decision: Option<String>,
    /// The request's id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Not before, as 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Before, as 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Print the records as they are written, with all fields.
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<SystemTime, String> {
    parse_time(text).map_err(|error| error.to_string())
}

impl Args {
    fn fits(&self, entry: &Entry) -> bool {
        let Entry { record, .. } = entry;
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
        let is_in_time = || {
            let Ok(time) = parse_time(&entry.time) else { return true };
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
        };
        is(&self.tenant, record.tenant.as_deref())
            && is(&self.caller, record.caller.as_deref())
            && is(&self.component, record.component.as_deref())
            && is(&self.action, record.action.as_deref())
            && is(&self.decision, record.decision.map(Decision::as_str))
            && is(&self.request, record.request.as_deref())
            && is_in_time()
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.place.folder()?;
    let names = files(&folder)?;
    if names.is_empty() {
        bail!("there is no audit log in {}: start the server, or say --data DIR", folder.path().display());
    }
    let mut out = std::io::stdout().lock();
    for name in names {
        let bytes = folder.read(&name)?.unwrap_or_default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(entry) = Entry::parse(line).ok().filter(|entry| args.fits(entry)) else { continue };
            match args.json {
                true => out.write_all(line).and_then(|()| out.write_all(b"\n"))?,
                false => writeln!(out, "{}", show::line(&entry))?,
            }
        }
    }
    Ok(())
}
