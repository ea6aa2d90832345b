//! `tessera policy explain`: whether a component may do something, and why.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};
use policy::{Ask, Caller, Circumstances, ComponentName, KeyId, Keys, Ledger, Scope, Tenant, parse_time};

use super::{Places, Setup};

/// What is asked. The error code is 0 if it is allowed, 1 if it is denied.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    component: ComponentName,
    /// call, classify, config, embed, generate, http, log, nn, read, rerank, route, secret, tokenize or write.
    action: String,
    /// A model (the default without one), "POST https://host/path", a path, a secret, a key or a route as "POST /v1/x".
    target: Option<String>,
    /// In a request of this tenant: as far as policies/tenants/NAME.toml allows it, and for rules that ask.
    #[arg(long, value_name = "NAME", default_value = "local")]
    tenant: Tenant,
    /// In a request with this key, by its id: as far as it allows it, and for its tenant.
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    key: Option<KeyId>,
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
        let setup = self.places.setup()?;
        let circumstances = Circumstances { caller: self.caller(&setup)?, now };
        let manifest = setup.manifest(self.component.as_str())?;
        let manifest = manifest.with_context(|| {
            let (component, folder) = (&self.component, setup.components.display());
            format!("there is no component `{component}` in {folder}: say where it is with --components")
        })?;
        let policy = setup.snapshot(&manifest.name, &manifest.wanted())?;
        if let Err(bound) = circumstances.caller.may_ask(&manifest.name) {
            writeln!(out, "{}", circumstances.caller.explain_refusal(&manifest.name, bound))?;
            bail!("denied, see above");
        }
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

    /// Who asks: on a server that asks for no credentials, or with what the key or the tenant allows.
    fn caller(&self, setup: &Setup) -> anyhow::Result<Caller> {
        let (id, tenant, scope) = match &self.key {
            None if self.tenant == Tenant::local() => return Ok(Caller::local()),
            None => ("local".into(), self.tenant.clone(), Scope::everything()),
            Some(id) => {
                let keys = Keys::read(&setup.keys)?;
                let key = keys.get(id).with_context(|| format!("there is no key `{id}` in {}", setup.keys.display()))?;
                (format!("key:{id}"), key.tenant.clone(), key.scope.clone())
            }
        };
        let policy = setup.policies.tenants().of(&tenant).clone();
        let ledger = Ledger::default();
        ledger.set(policy.quota(), u64::MAX, true);
        Ok(Caller::bounded(id.into(), tenant, Arc::new(scope), policy, Arc::new(ledger)))
    }
}
