//! The `tessera` command: one file a verb, in `command/`.

#![forbid(unsafe_code)]

mod catalog;
mod command;
mod component_source;
mod oci;
mod plugin;
mod pull;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A self-hosted AI platform in one process: sandboxed WebAssembly components, models on Burn.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve every component of a folder over HTTP.
    Serve(command::serve::Args),
    /// Hand a component to a running server: a folder, a package or code alone.
    Deploy(command::deploy::Args),
    /// List the components of a running server, or the versions of one.
    List(command::list::Args),
    /// Go back to the version of a component that ran before.
    Rollback(command::rollback::Args),
    /// Take a component off a running server.
    Remove(command::remove::Args),
    /// Turn a component of a running server off.
    Disable(command::remove::Args),
    /// Turn a component of a running server on again.
    Enable(command::remove::Args),
    /// Show what a component of a running server has logged.
    Logs(command::logs::Args),
    /// Fetch a model and verify it; without a name, list the known ones.
    Pull(command::pull::Args),
    /// Begin a plugin: a folder with sources, cases and the policy it asks for.
    New(command::new::Args),
    /// Build a plugin to a component.
    Build(command::build::Args),
    /// Check a plugin: what it imports, which grants it lacks, and whether it loads.
    Check(command::check::Args),
    /// Run a plugin's cases.
    Test(command::test::Args),
    /// Serve a plugin while it is being written.
    Dev(command::dev::Args),
    /// Print the reference of the host's interfaces, as Markdown.
    #[command(hide = true)]
    Wit,
    /// Talk with a model in the terminal.
    Chat(command::chat::Args),
    /// Measure how fast a language model runs here.
    Bench(command::bench::Args),
    /// Look at a model, or run it on raw inputs.
    #[command(subcommand)]
    Model(command::model::Command),
    /// Make, list and revoke the keys that callers show.
    #[command(subcommand)]
    Key(command::key::Command),
    /// Sign a component, or make a key to sign with.
    Sign(command::sign::Args),
    /// Run a component once, as a program, under a policy.
    Run(command::run::Args),
    /// Make a package of a component.
    Package(command::package::Args),
    /// Push a component into an OCI registry.
    Push(command::push::Args),
    /// Whether a component is signed, by whom, and whether the policies let it run.
    Verify(command::verify::Args),
    /// Show what each component and tenant of a running server has used.
    Usage(command::usage::Args),
    /// Compile a component for the server that starts this.
    #[command(hide = true)]
    Compile(command::compile::Args),
    /// See what components may do: check, explain, test and compare policies.
    #[command(subcommand)]
    Policy(command::policy::Command),
    /// See who did what, and check that the record of it is as it was written.
    #[command(subcommand)]
    Audit(command::audit::Command),
    /// Delete what is kept of a tenant.
    Erase(command::erase::Args),
    /// Check this machine and this set-up: what is wrong and how to mend it.
    Doctor(command::doctor::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => command::serve::run(args),
        Command::Deploy(args) => command::deploy::run(args),
        Command::List(args) => command::list::run(args),
        Command::Rollback(args) => command::rollback::run(args),
        Command::Remove(args) => command::remove::run(args),
        Command::Disable(args) => command::remove::disable(args),
        Command::Enable(args) => command::remove::enable(args),
        Command::Logs(args) => command::logs::run(args),
        Command::Pull(args) => command::pull::run(args),
        Command::New(args) => command::new::run(args),
        Command::Build(args) => command::build::run(args),
        Command::Check(args) => command::check::run(args),
        Command::Test(args) => command::test::run(args),
        Command::Dev(args) => command::dev::run(args),
        Command::Wit => command::wit::run(),
        Command::Chat(args) => command::chat::run(args),
        Command::Bench(args) => command::bench::run(args),
        Command::Model(command) => command::model::run(command),
        Command::Key(command) => command::key::run(command),
        Command::Sign(args) => command::sign::run(args),
        Command::Run(args) => match command::run::run(args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Package(args) => command::package::run(args),
        Command::Push(args) => command::push::run(args),
        Command::Verify(args) => command::verify::run(args),
        Command::Usage(args) => command::usage::run(args),
        Command::Compile(args) => command::compile::run(args),
        Command::Policy(command) => command::policy::run(command),
        Command::Audit(command) => match command::audit::run(command) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Erase(args) => command::erase::run(args),
        Command::Doctor(args) => command::doctor::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
