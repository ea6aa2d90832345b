//! `tessera policy explain`: whether a component may do something, and why.

use std::io::Write;

use anyhow::{Context, bail};
use policy::{Ask, Caller, Circumstances, ComponentName, Tenant, parse_time};

use super::Places;

/// What is asked. The error code is 0 if it is allowed, 1 if it is denied.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    component: ComponentName,
    /// config, embed, generate, http, log, nn, read, rerank, route, secret, tokenize or write.
    action: String,
    /// A model (the default without one), "POST https://host/path", a path, a secret, a key or a route as "POST /v1/x".
    target: Option<String>,
    /// In a request of this tenant, for rules that ask.
    #[arg(long, value_name = "NAME", default_value = "local")]
    tenant: Tenant,
    /// At this time instead of now, for rules that ask: 2026-12-31T22:00:00Z.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    places: Places,
}

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let ask = Ask::parse(&self.action, self.target.as_deref())?;
        let now = self.at.as_deref().map(parse_time).transpose()?;
        let circumstances = Circumstances { caller: Caller::new("local", self.tenant.clone()), now };
        let setup = self.places.setup()?;
        let manifest = setup.manifest(self.component.as_str())?;
        let manifest = manifest.with_context(|| {
            let (component, folder) = (&self.component, setup.components.display());
            format!("there is no component `{component}` in {folder}: say where it is with --components")
        })?;
        let policy = setup.snapshot(&manifest.name, &manifest.capabilities)?;
        let decision = ask.decide(&policy, &circumstances);
        writeln!(out, "{}", decision.explanation)?;
        if !decision.remedy.is_empty() {
            write!(out, "\n{}", decision.remedy)?;
        }
        if !decision.is_allowed {
            bail!("denied, see above");
        }
        Ok(())
    }
}
