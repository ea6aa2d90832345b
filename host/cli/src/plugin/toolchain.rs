//! The tools that plugins are built with, each of one version, kept in the user's cache.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::files::WASM_TARGET;

const COMPONENTIZE_QJS: &str = "componentize-qjs";
const COMPONENTIZE_QJS_VERSION: &str = "0.4.5";
const COMPONENTIZE_PY: &str = "componentize-py";
const COMPONENTIZE_PY_VERSION: &str = "0.25.1";

/// The name of a cargo toolchain that builds for `wasm32-wasip2`; adds the target where it can.
///
/// # Errors
/// When there is none and none can be had.
pub(crate) fn rust() -> anyhow::Result<String> {
    let mut script = Command::new("bash");
    script.args(["-s"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().context("bash does not run: it finds the Rust toolchain for wasm32-wasip2")?;
    script.stdin.take().context("a pipe to bash")?.write_all(WASM_TARGET.as_bytes())?;
    let done = script.wait_with_output()?;
    ensure!(done.status.success(), "there is no Rust toolchain for wasm32-wasip2: `rustup target add wasm32-wasip2` adds it");
    let printed = String::from_utf8_lossy(&done.stdout);
    let name = printed.lines().last().unwrap_or_default().trim();
    ensure!(!name.is_empty(), "no Rust toolchain for wasm32-wasip2 was found");
    Ok(name.into())
}

/// The command `componentize-qjs`, installed by npm.
///
/// # Errors
/// When Node.js or npm is missing, or the package can't be had.
pub(crate) fn componentize_qjs() -> anyhow::Result<Command> {
    needs("node", "JavaScript plugins are built by Node.js 18 or later: install it")?;
    let package = format!("{COMPONENTIZE_QJS}@{COMPONENTIZE_QJS_VERSION}");
    let folder = installed(COMPONENTIZE_QJS, COMPONENTIZE_QJS_VERSION, |folder| {
        needs("npm", "npm fetches what builds JavaScript plugins: install it with Node.js")?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(folder).arg(&package);
        run(&mut npm).with_context(|| format!("npm could not install {package}"))
    })?;
    let mut command = Command::new("node");
    command.arg(folder.join("node_modules").join(COMPONENTIZE_QJS).join("bin").join(COMPONENTIZE_QJS));
    Ok(command)
}

/// The command `componentize-py`, installed by pip.
///
/// # Errors
/// When Python or pip is missing, or the package can't be had.
pub(crate) fn componentize_py() -> anyhow::Result<Command> {
    let folder = installed(COMPONENTIZE_PY, COMPONENTIZE_PY_VERSION, |folder| {
        pip(folder, &[format!("{COMPONENTIZE_PY}=={COMPONENTIZE_PY_VERSION}")])
    })?;
    let mut command = Command::new("python3");
    command.args(["-c", "import sys, componentize_py; sys.argv[0] = 'componentize-py'; sys.exit(componentize_py.script())"]);
    command.env("PYTHONPATH", &folder).env_remove("VIRTUAL_ENV").env("RUST_BACKTRACE", "0");
    Ok(command)
}

/// Installs Python packages into a folder.
///
/// # Errors
/// When Python or pip is missing, or a package can't be had.
pub(crate) fn pip(folder: &Path, packages: &[String]) -> anyhow::Result<()> {
    needs("python3", "Python plugins are built by Python 3.11 or later: install it")?;
    let mut pip = Command::new("python3");
    pip.env("PIP_ROOT_USER_ACTION", "ignore"); // a cache folder is nothing of the system's
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(folder).args(packages);
    run(&mut pip).with_context(|| format!("pip could not install {}", packages.join(", ")))
}

/// Runs a command whose output is for the user, on standard error.
///
/// # Errors
/// When it can't be started or fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_owned();
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("{} does not run", name.display()))?;
    if status.success() { Ok(()) } else { bail!("{} failed, see above", name.display()) }
}

/// Says what to install where a program is missing.
fn needs(program: impl AsRef<OsStr>, remedy: &str) -> anyhow::Result<()> {
    let mut version = Command::new(program.as_ref());
    let tried = version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("`{}` does not run here. {remedy}", program.as_ref().display()),
    }
}

/// The folder of a tool in the cache. It appears whole or not at all, whoever else installs it at the same time.
fn installed(name: &str, version: &str, install: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let tools = cache()?.join("tessera").join("toolchains");
    let folder = tools.join(format!("{name}-{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = tools.join(format!(".{name}-{version}.{}", std::process::id()));
    std::fs::create_dir_all(&part).with_context(|| format!("{} can't be made", part.display()))?;
    writeln!(std::io::stderr(), "installing {name} {version} into {} (once)", folder.display())?;
    let done = install(&part);
    if done.is_ok() && std::fs::rename(&part, &folder).is_ok() {
        return Ok(folder);
    }
    // Nobody misses what is left of a failure.
    drop(std::fs::remove_dir_all(&part));
    done?;
    ensure!(folder.is_dir(), "{} can't be made", folder.display());
    Ok(folder)
}

/// The user's cache folder.
fn cache() -> anyhow::Result<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    cache.context("neither XDG_CACHE_HOME nor HOME is set: there is no place for tools")
}
