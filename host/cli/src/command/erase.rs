//! `tessera erase`: deletes what is kept of a tenant.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use policy::audit::{Disk, Log, LogError};
use runtime::{AUDIT_FOLDER, Kept, ServerConfig, Stores, erase_tenant, erasure};
use serde_json::Value;

use super::audit::Place;

/// Whose data, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tenant.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    #[command(flatten)]
    place: Place,
    /// Where the server listens that uses the folder, if one does; else what the settings say.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// An operator's key for that server.
    #[arg(long, value_name = "KEY", env = "TESSERA_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Longest time for a server to delete everything.
const WAIT_MAX: Duration = Duration::from_secs(300);

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if !args.yes {
        confirm(&args.tenant)?;
    }
    let data = args.place.data()?;
    let settings = args.place.settings()?;
    match Disk::open(&data.join(AUDIT_FOLDER)) {
        // A server has the log: it deletes, and records it.
        Err(LogError::Locked(_)) => {
            let server = args.server.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
            ask(&server, &args)
        }
        Err(error) => Err(error).context("the erasure can't be recorded in the audit log"),
        Ok(disk) => {
            let log = Log::open(Box::new(disk), settings.audit.bytes_max, SystemTime::now());
            let mut log = log.context("the erasure can't be recorded in the audit log")?;
            log.append(SystemTime::now(), &erasure("begin", &args.tenant, &[]));
            log.sync()?;
            let config = ServerConfig { data: data.clone(), ..settings };
            let stores = Stores::open(&config).context("what components keep can't be deleted");
            let erased = stores.and_then(|stores| {
                let kept = Kept { data: &data, stores: stores.erase.as_ref(), forget_keys: &|| {} }; // no server runs
                Ok(erase_tenant(&kept, &args.tenant)?)
            });
            let record = match &erased {
                Ok(erased) => erasure("done", &args.tenant, erased),
                Err(_) => erasure("failed", &args.tenant, &[]),
            };
            log.append(SystemTime::now(), &record);
            log.checkpoint(SystemTime::now())?;
            let counts = erased?.into_iter().map(|erased| (erased.place.to_owned(), erased.entries));
            print(&args.tenant, counts)
        }
    }
}

fn confirm(tenant: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: say --yes to delete everything that is kept of `{tenant}`");
    }
    let mut out = std::io::stdout();
    write!(out, "This deletes everything that is kept of `{tenant}`, its keys too. Type its name to go on: ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != tenant {
        bail!("nothing was deleted");
    }
    Ok(())
}

/// Has a running server delete it.
fn ask(server: &str, args: &Args) -> anyhow::Result<()> {
    let config = ureq::Agent::config_builder().timeout_global(Some(WAIT_MAX)).proxy(None).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let url = format!("{}/admin/tenants/{}", server.trim_end_matches('/'), args.tenant);
    let mut request = agent.delete(&url);
    if let Some(key) = &args.key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let answer = request.call();
    let mut answer =
        answer.with_context(|| format!("a server uses the data folder and none answers at {url}: say --server URL"))?;
    let status = answer.status();
    let report: Value = answer.body_mut().read_json().with_context(|| format!("{url} gave no report"))?;
    if !status.is_success() {
        bail!("the server refuses: {}", report["error"]["message"].as_str().unwrap_or("it does not say why"));
    }
    let counts = report["erased"].as_object().into_iter().flatten();
    print(&args.tenant, counts.map(|(place, entries)| (place.clone(), entries.as_u64().unwrap_or(0))))
}

fn print(tenant: &str, counts: impl Iterator<Item = (String, u64)>) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "deleted of `{tenant}`, and recorded in the audit log:")?;
    for (place, entries) in counts {
        writeln!(out, "  {place}: {entries}")?;
    }
    Ok(())
}
