//! `wasi:cli/environment`: the variables that the policy gives a component, and placeholders of secrets.

use policy::{EnvGrant, Snapshot};

/// Names and values for the instances under a policy; the server's own as they are now.
pub(crate) fn variables(policy: &Snapshot) -> Vec<(String, String)> {
    let none = EnvGrant::default();
    let EnvGrant { values, from_server } = policy.grants().env.as_ref().unwrap_or(&none);
    let own = |(name, value): (&str, &str)| (String::from(name), String::from(value));
    let fixed = values.iter().map(|(name, value)| own((name, value)));
    let servers = from_server.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    fixed.chain(servers).chain(policy.secret_env().map(own)).collect()
}
