//! `tessera policy check`: whether rules, policies and manifests are right and go together.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, ensure};
use policy::{CAPABILITIES, ComponentName, Finding, Snapshot, Unchecked};

use super::{Places, Setup};

/// Which components.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Components; all of them without a name.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    places: Places,
}

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let setup = self.places.setup()?;
        let (components, files) = (setup.components()?, setup.policies.names()?);
        let is_asked = |name: &String| self.names.is_empty() || self.names.contains(name);
        let known: Vec<&String> = components.iter().chain(files.iter().filter(|name| !components.contains(name))).collect();
        for name in &self.names {
            ensure!(
                known.contains(&name),
                "there is no component `{name}` in {}, nor a policy for it",
                setup.components.display()
            );
        }
        let mut report = Report { out, bad: 0 };
        report.rules(&setup)?;
        let mut owners = BTreeMap::new();
        for name in known.into_iter().filter(|name| is_asked(name)) {
            writeln!(report.out, "{name}")?;
            let is_component = components.contains(name);
            let looked = if is_component { component(&setup, name, &mut owners) } else { file(&setup, name) };
            let refused = |error: anyhow::Error| Finding::Error { text: format!("{error:#}"), remedy: String::new() };
            let (good, findings) = looked.unwrap_or_else(|error| (String::new(), vec![refused(error)]));
            report.component(&good, findings)?;
        }
        match report.bad {
            0 => Ok(writeln!(report.out, "\nnothing to mend")?),
            bad => anyhow::bail!("{bad} to mend, see above"),
        }
    }
}

/// What is good about a policy, said where nothing is wrong with it, and what is to be said of it.
type Looked = (String, Vec<Finding>);

/// Looks at a component and its policy; `owners` has the routes of those before it.
fn component(setup: &Setup, name: &str, owners: &mut BTreeMap<String, String>) -> anyhow::Result<Looked> {
    let manifest = setup.manifest(name)?.context("component.toml is gone")?;
    let policy = setup.snapshot(&manifest.name, &manifest.wanted())?;
    let mut findings = policy::check(&policy, &manifest.routes, &setup.facts);
    let signer = match setup.admit(name, &policy) {
        Ok(admitted) => admitted.and_then(|admitted| admitted.signer),
        Err(error) => {
            findings.push(Finding::Error { text: format!("{error:#}"), remedy: String::new() });
            None
        }
    };
    for route in policy.routes(&manifest.routes).0 {
        if let Some(owner) = owners.insert(route.to_string(), name.into()) {
            let text = format!("its route `{route}` is taken by component `{owner}`: change one of the two policies");
            findings.push(Finding::Error { text, remedy: String::new() });
        }
    }
    findings.extend(guards(setup, &policy, manifest.guard.is_some())?);
    let granted = CAPABILITIES.into_iter().filter(|capability| policy.grants().has_section(capability));
    let granted = granted.collect::<Vec<_>>().join(", ");
    let granted = if granted.is_empty() { "nothing but its own route" } else { &granted };
    let signed = signer.map(|signer| format!("; signed by `{signer}`")).unwrap_or_default();
    Ok((format!("grants {granted} by {}{signed}", policy.origin()), findings))
}

/// Looks at the guards that a policy names.
fn guards(setup: &Setup, policy: &Snapshot, is_guard: bool) -> anyhow::Result<Vec<Finding>> {
    let guard = policy.guard();
    let mut findings = Vec::new();
    if is_guard && !guard.is_empty() {
        let text = format!("it is a guard, and {} names guards for it: nobody guards a guard", policy.origin());
        let remedy = format!("write {} without [guard] input and output", policy.file());
        findings.push(Finding::Error { text, remedy });
    }
    for name in guard.names() {
        let is_there = setup.manifest(name.as_str())?.is_some_and(|manifest| manifest.guard.is_some());
        let text =
            format!("{} has it guarded by `{name}`, which is no guard in {}", policy.origin(), setup.components.display());
        match guard.on_failure {
            _ if is_there => {}
            Unchecked::Block => {
                let text = format!("{text}: all its requests would be answered 503");
                findings.push(Finding::Error { text, remedy: format!("put the guard `{name}` there, or name another") });
            }
            Unchecked::Pass => findings.push(Finding::Warning(format!("{text}: its requests would pass unchecked"))),
        }
    }
    Ok(findings)
}

/// Looks at a policy file that is no component's.
fn file(setup: &Setup, name: &str) -> anyhow::Result<Looked> {
    let place = setup.policies.folder().join(format!("{name}.toml"));
    let Ok(component) = name.parse::<ComponentName>() else {
        let text = format!("{}: no component can have this name", place.display());
        return Ok((String::new(), vec![Finding::Warning(text)]));
    };
    setup.policies.file(&component)?;
    if name == "default" {
        return Ok((format!("{} is for components without a policy of their own", place.display()), Vec::new()));
    }
    let text = format!("{}: there is no such component in {}", place.display(), setup.components.display());
    Ok((String::new(), vec![Finding::Warning(text)]))
}

struct Report<'a> {
    out: &'a mut dyn Write,
    bad: usize,
}

impl Report<'_> {
    fn rules(&mut self, setup: &Setup) -> std::io::Result<()> {
        let mut files: BTreeMap<&str, usize> = BTreeMap::new();
        for rule in setup.policies.rules().iter() {
            *files.entry(&rule.file).or_default() += 1;
        }
        if !files.is_empty() {
            writeln!(self.out, "rules")?;
        }
        for (file, count) in files {
            self.line("ok ", &format!("{file}: {count} {}", if count == 1 { "rule" } else { "rules" }))?;
        }
        Ok(())
    }

    fn component(&mut self, good: &str, findings: Vec<Finding>) -> std::io::Result<()> {
        if !good.is_empty() && !findings.iter().any(|finding| matches!(finding, Finding::Error { .. })) {
            self.line("ok ", good)?;
        }
        for finding in findings {
            match finding {
                Finding::Warning(text) => self.line("!  ", &text)?,
                Finding::Error { text, remedy } => {
                    self.bad += 1;
                    self.line("BAD", format!("{text}\n{remedy}").trim_end())?;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, mark: &str, text: &str) -> std::io::Result<()> {
        writeln!(self.out, "  {mark} {}", text.replace('\n', "\n      "))
    }
}
