//! Who one is at a registry: as given, else as Docker and its kin keep it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// Length of a password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;
/// Length of `config.json`, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Who logs in at a registry. By default it is who the file `config.json` of Docker says.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Login {
    /// User at the OCI registry [default: as `auths` in Docker's config.json says, else nobody].
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    user: Option<String>,
    /// Read the user's password or token from standard input.
    #[arg(long, requires = "user")]
    password_stdin: bool,
}

/// What is read of `config.json`.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    /// `USER:PASSWORD` in base64; not there where a helper keeps it.
    auth: Option<String>,
}

impl Login {
    /// What to show a registry.
    ///
    /// # Errors
    /// When there is no password on standard input, or `config.json` can't be read.
    pub(super) fn at(&self, registry: &str) -> anyhow::Result<RegistryAuth> {
        match &self.user {
            Some(user) => Ok(RegistryAuth::Basic(user.clone(), password(&mut std::io::stdin())?)),
            None => kept(registry, docker_config().as_deref()),
        }
    }
}

fn password(from: &mut dyn Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).context("the password can't be read from standard input")?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "there is no password on standard input: pipe it in, as `< token.txt`");
    Ok(password.into())
}

/// Where `config.json` is.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    Some(folder.or_else(home)?.join("config.json"))
}

/// What `config.json` has for a registry; nobody where it has nothing, or leaves it to a helper.
fn kept(registry: &str, config: Option<&Path>) -> anyhow::Result<RegistryAuth> {
    let Some(file) = config.filter(|file| file.exists()) else { return Ok(RegistryAuth::Anonymous) };
    let text = crate::component_source::read(file, CONFIG_BYTES_MAX)?;
    let config: DockerConfig = serde_json::from_slice(&text).with_context(|| format!("{} is malformed", file.display()))?;
    let is_same = |server: &str| {
        let server = server.trim_start_matches("https://").trim_start_matches("http://");
        server.split('/').next() == Some(registry)
    };
    let auth = config.auths.iter().find(|(server, _)| is_same(server)).and_then(|(_, entry)| entry.auth.as_deref());
    let Some(auth) = auth.filter(|auth| !auth.is_empty()) else { return Ok(RegistryAuth::Anonymous) };
    let decoded = BASE64_STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.with_context(|| format!("{}: `auth` of {registry} is malformed", file.display()))?;
    Ok(RegistryAuth::Basic(user.into(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line_and_not_nothing() -> anyhow::Result<()> {
        assert_eq!(password(&mut &b"se cret\r\n"[..])?, "se cret");
        assert!(password(&mut &b"\n"[..]).is_err());
        assert!(password(&mut &b"\xff"[..]).is_err());
        Ok(())
    }

    #[test]
    fn dockers_config_is_who_one_is() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let file = root.path().join("config.json");
        let auth = BASE64_STANDARD.encode("ann:pass:word");
        let text = format!(
            r#"{{"auths": {{"https://hub.example/v1/": {{"auth": "{auth}"}}, "helper.example": {{}}, "bad.example": {{"auth": "?"}}}}}}"#
        );
        std::fs::write(&file, text)?;
        let at = |registry| kept(registry, Some(&file));
        assert_eq!(at("hub.example")?, RegistryAuth::Basic("ann".into(), "pass:word".into()));
        assert_eq!(at("helper.example")?, RegistryAuth::Anonymous);
        assert_eq!(at("hub.example.evil")?, RegistryAuth::Anonymous);
        assert!(at("bad.example").is_err());
        assert_eq!(kept("hub.example", Some(&root.path().join("none")))?, RegistryAuth::Anonymous);
        Ok(())
    }
}
