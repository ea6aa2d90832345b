//! Servers in processes of their own, and what the system counts for them.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;
use tests::Setup;

/// A running server. Dropping it kills it.
pub(crate) struct Served {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process to its line that says so.
    pub(crate) ready_after: Duration,
    /// Kept open: a server whose output is closed may end.
    _output: Box<dyn BufRead>,
    /// Where it keeps what is temporary: killed, it doesn't tidy up itself.
    _temporary: TempDir,
}

/// Resident memory of a process, in MiB.
pub(crate) struct Resident {
    /// All of it.
    pub(crate) total_mib: f64,
    /// What no file backs.
    pub(crate) anonymous_mib: f64,
}

/// Where a server says that it is ready.
pub(crate) enum Says {
    /// On standard output.
    Out,
    /// On standard error.
    Error,
}

impl Served {
    /// Starts a server and waits for the line with its address.
    ///
    /// # Errors
    /// When it can't be started, or ends without that line.
    pub(crate) fn start(mut command: Command, says: Says) -> anyhow::Result<Served> {
        match says {
            Says::Out => command.stdout(Stdio::piped()).stderr(Stdio::null()),
            Says::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let temporary = tempfile::tempdir()?;
        command.env("TMPDIR", temporary.path());
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
        let output: Box<dyn Read> = match says {
            Says::Out => Box::new(child.stdout.take().context("it was piped")?),
            Says::Error => Box::new(child.stderr.take().context("it was piped")?),
        };
        let mut output: Box<dyn BufRead> = Box::new(BufReader::new(output));
        let address = ready(&mut *output);
        let ready_after = start.elapsed();
        match address {
            Ok(address) => Ok(Served { child, address, ready_after, _output: output, _temporary: temporary }),
            Err(error) => {
                drop((child.kill(), child.wait()));
                Err(error.context(format!("{command:?}")))
            }
        }
    }

    /// CPU time of all its threads so far, in microseconds.
    ///
    /// # Errors
    /// When it has ended, or this is not Linux.
    pub(crate) fn cpu_us(&self) -> anyhow::Result<f64> {
        cpu_us(&self.child.id().to_string())
    }

    /// Resident memory now.
    ///
    /// # Errors
    /// When it has ended, or this is not Linux.
    pub(crate) fn resident(&self) -> anyhow::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("not Linux")?;
            let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(kib / 1024.0)
        };
        Ok(Resident { total_mib: mib("VmRSS")?, anonymous_mib: mib("RssAnon")? })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

fn ready(output: &mut dyn BufRead) -> anyhow::Result<SocketAddr> {
    for line in output.lines() {
        let line = line?;
        if let Some((_, address)) = line.split_once("http://") {
            return Ok(address.trim().trim_end_matches('/').parse()?);
        }
    }
    anyhow::bail!("it ended before it was ready")
}

/// CPU time of the threads of a process, by its number or of `self`, in the kernel and outside it, in microseconds.
/// `stat` would have the time of threads that are gone too, but counts in hundredths of a second.
///
/// # Errors
/// When it has ended, or this is not Linux.
pub(crate) fn cpu_us(process: &str) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(times) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += times.split(' ').next().context("a kernel without schedstat")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e3)
}

/// The real server, built beside this binary.
///
/// # Errors
/// When it has not been built.
pub(crate) fn tessera() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("tessera");
    anyhow::ensure!(path.is_file(), "{} is not there: run `make build` first", path.display());
    Ok(path)
}

/// The real server with a set-up's components and policies, ready to start.
///
/// # Errors
/// When it has not been built.
pub(crate) fn serve(setup: &Setup, models: &Path, data: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(tessera()?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--components"]).arg(&setup.config.components);
    command.arg("--policies").arg(&setup.config.policies).arg("--models").arg(models).arg("--data").arg(data);
    command.current_dir(&setup.config.components); // no stray tessera.toml
    Ok(command)
}

/// One of this binary's own servers, ready to start.
///
/// # Errors
/// When this binary is gone.
pub(crate) fn own(kind: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", kind]);
    Ok(command)
}

/// `wasmtime` 48, named by WASMTIME, on the PATH, or where the README has it installed; else how to get it.
pub(crate) fn wasmtime() -> Result<PathBuf, &'static str> {
    let installed = cache().join("wasmtime/bin/wasmtime");
    let named = std::env::var_os("WASMTIME").map(PathBuf::from);
    let is_48 = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"wasmtime 48."))
    };
    named.into_iter().chain(["wasmtime".into(), installed]).find(is_48).ok_or(
        "`wasmtime serve` is not measured: `cargo install wasmtime-cli --version 48.0.8 --locked` installs it, or name it in WASMTIME",
    )
}

/// `~/.cache/tessera`, where what the benches install lies.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("tessera")
}
