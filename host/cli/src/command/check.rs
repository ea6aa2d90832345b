//! `tessera check`: what a plugin imports and exports, and whether it would load.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use policy::{Policies, PolicyFile};

use crate::plugin::Plugin;
use crate::plugin::look::Look;
use crate::plugin::serve::{self, Place};

/// Which plugin, by which policies.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The operator's folder of policies, instead of the plugin's own policy.toml.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the plugin would not load: what to mend is printed.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let plugin = Plugin::open(&args.folder)?;
    let look = Look::at(&plugin.code())?;
    let out = &mut std::io::stdout();
    let mut faults = describe(&plugin, &look, out)?;
    let (granted, from) = grants(&plugin, &args)?;
    for fault in ungranted(&look, &granted, &from) {
        writeln!(out, "BAD         {fault}")?;
        faults += 1;
    }
    if faults == 0 {
        faults += loads(&plugin, &args, out)?;
    }
    if faults > 0 { bail!("{faults} to mend, see above") } else { Ok(()) }
}

/// Prints what the component is; gives how much of it is wrong.
fn describe(plugin: &Plugin, look: &Look, out: &mut dyn Write) -> anyhow::Result<usize> {
    let manifest = &plugin.manifest;
    writeln!(out, "component   {} {}, {:.1} MB", manifest.name, manifest.version, look.bytes as f64 / 1e6)?;
    for (capability, interfaces) in &look.capabilities {
        writeln!(out, "imports     {capability} ({})", interfaces.iter().cloned().collect::<Vec<_>>().join(", "))?;
    }
    for other in &look.others {
        writeln!(out, "imports     {other}, of another component")?;
    }
    if !look.wasi.is_empty() {
        writeln!(out, "imports     WASI: {}", look.wasi.iter().cloned().collect::<Vec<_>>().join(", "))?;
    }
    for (interface, functions) in &look.exports {
        writeln!(out, "exports     {interface}: {}", functions.join(", "))?;
    }
    let mut faults = 0;
    for (interface, has) in &look.skewed {
        let has = has.as_ref().map_or("has none of it".into(), |version| format!("has {version}"));
        writeln!(out, "BAD         {interface} is not what this host has: it {has}. Build again with this `tessera`")?;
        faults += 1;
    }
    for capability in look.capabilities.keys().filter(|name| !manifest.capabilities.contains(name)) {
        writeln!(out, "BAD         it calls `{capability}`: add it to capabilities in component.toml")?;
        faults += 1;
    }
    for wanted in manifest.capabilities.iter().filter(|name| !look.capabilities.contains_key(*name) && !is_wasi(name)) {
        writeln!(out, "!           component.toml wants `{wanted}`, which the component does not call: take it out")?;
    }
    if !look.is_of_use() {
        writeln!(out, "BAD         it exports no functions: a server has no use for it")?;
        faults += 1;
    }
    Ok(faults)
}

/// Whether components call a capability by WASI, so that no import tells it.
fn is_wasi(capability: &str) -> bool {
    ["env", "fs", "http"].contains(&capability)
}

/// What is granted, and where that stands.
fn grants(plugin: &Plugin, args: &Args) -> anyhow::Result<(PolicyFile, String)> {
    let Some(folder) = &args.policies else {
        let file = plugin.folder.join("policy.toml");
        return Ok((PolicyFile::parse(&file, &plugin.policy()?)?, "policy.toml".into()));
    };
    let policies = Policies::read(folder).with_context(|| folder.display().to_string())?;
    let file = folder.join(format!("{}.toml", plugin.name()));
    Ok((policies.file(&plugin.manifest.name)?, file.display().to_string()))
}

/// What the component calls that is not granted, each with the lines to add.
fn ungranted(look: &Look, granted: &PolicyFile, from: &str) -> Vec<String> {
    let missing = look.capabilities.keys().filter(|name| !granted.has_section(name));
    let told = |name: &String| {
        let lines = PolicyFile::lines_to_add(name).replace('\n', "\n                ");
        format!("{from} does not grant `{name}`: add\n\n                {lines}\n")
    };
    missing.map(told).collect()
}

/// Loads the component as a server would; gives how much is wrong.
fn loads(plugin: &Plugin, args: &Args, out: &mut dyn Write) -> anyhow::Result<usize> {
    let place = Place { plugin, policies: args.policies.as_deref(), models: None, listen: (Ipv4Addr::LOCALHOST, 0).into() };
    let runtime = serve::runtime()?;
    let loaded = runtime.block_on(async {
        place.start().await?.stop().await;
        anyhow::Ok(())
    });
    match loaded {
        Ok(()) => writeln!(
            out,
            "ok          it loads with what {} grants",
            if args.policies.is_some() { "the operator" } else { "policy.toml" }
        )?,
        Err(reason) => {
            writeln!(out, "BAD         it does not load: {reason:#}")?;
            return Ok(1);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn look(capability: &str) -> Look {
        let interface = format!("tessera:{capability}/{capability}@0.1.0");
        let exports = BTreeMap::from([("tessera:handler/handler@0.1.0".into(), vec!["handle".into()])]);
        Look { capabilities: BTreeMap::from([(capability.into(), BTreeSet::from([interface]))]), exports, ..Look::default() }
    }

    fn plugin(capabilities: &str) -> (tempfile::TempDir, Plugin) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest =
            format!("name = \"mine\"\nversion = \"0.1.0\"\ndescription = \"Mine.\"\ncapabilities = {capabilities}\n");
        std::fs::write(folder.path().join("component.toml"), manifest).expect("writes");
        let plugin = Plugin::open(folder.path()).expect("opens");
        (folder, plugin)
    }

    #[test]
    fn what_is_called_and_not_declared_is_told() {
        let (_folder, plugin) = plugin("[]");
        let mut out = Vec::new();
        assert_eq!(describe(&plugin, &look("embed"), &mut out).expect("writes"), 1);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("it calls `embed`: add it to capabilities"), "{text}");
    }

    #[test]
    fn what_is_declared_and_not_called_is_only_a_hint() {
        let (_folder, plugin) = plugin("[\"embed\", \"log\", \"fs\"]");
        let mut out = Vec::new();
        assert_eq!(describe(&plugin, &look("embed"), &mut out).expect("writes"), 0);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("wants `log`") && !text.contains("wants `fs`"), "{text}");
    }

    #[test]
    fn a_grant_that_is_missing_comes_with_its_lines() {
        let nothing = PolicyFile::parse(std::path::Path::new("policy.toml"), "schema = 1\n").expect("a policy");
        let told = ungranted(&look("embed"), &nothing, "policy.toml");
        assert!(told.len() == 1 && told[0].contains("[embed]") && told[0].contains("models = ["), "{told:?}");
        let text = "schema = 1\n[embed]\nmodels = [\"a\"]\n";
        let granted = PolicyFile::parse(std::path::Path::new("policy.toml"), text).expect("a policy");
        assert!(ungranted(&look("embed"), &granted, "policy.toml").is_empty());
    }
}
