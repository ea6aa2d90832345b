//! Components as OCI artifacts, in the format of `wkg`: the CNCF's guidance for Wasm OCI artifacts.
//!
//! An artifact is one layer, the code, and a config that says what the code imports and exports. The other parts of a component
//! are annotations of the manifest, which other tools leave alone; where they are missing, a manifest is made from what is there.

pub(crate) mod login;
#[cfg(test)]
mod test_registry;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use chrono::DateTime;
use oci_client::annotations::{
    ORG_OPENCONTAINERS_IMAGE_DESCRIPTION as DESCRIPTION, ORG_OPENCONTAINERS_IMAGE_TITLE as TITLE,
    ORG_OPENCONTAINERS_IMAGE_VERSION as VERSION,
};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_wasm::{COMPONENT_OS, ToConfig, WASM_ARCHITECTURE, WasmConfig};
use oci_wasm::{WASM_LAYER_MEDIA_TYPE, WASM_MANIFEST_CONFIG_MEDIA_TYPE, WASM_MANIFEST_MEDIA_TYPE};
use policy::Digest;
use runtime::{Package, PackageLimits};
use tokio::io::AsyncWrite;

use crate::component_source::{bare, check, world_of};
use login::Login;

/// How the address of an artifact begins.
const SCHEME: &str = "oci://";
/// Before the name of a part, in an annotation's key.
const PART: &str = "tessera.";
const CONNECT_WAIT: Duration = Duration::from_secs(20);
const READ_WAIT: Duration = Duration::from_secs(60);

/// Whether a text is the address of an artifact.
pub(crate) fn is_address(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// A place in a registry, `oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:…`.
pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

/// What was pulled.
pub(crate) struct Pulled {
    pub(crate) package: Package,
    /// Of the artifact, as `sha256:…`: with it the address means these bytes for ever.
    pub(crate) digest: String,
}

impl Registry {
    /// Reads an address, and who to be there. A registry on this machine is spoken to without TLS.
    ///
    /// # Errors
    /// When the address is malformed, or the login can't be read.
    pub(crate) fn open(address: &str, login: &Login) -> anyhow::Result<Registry> {
        let form = "write oci://REGISTRY/REPOSITORY:TAG, as oci://registry.example/team/chat:1.2.3";
        let text = address.strip_prefix(SCHEME).with_context(|| format!("{address} is no address of a registry: {form}"))?;
        let reference: Reference = text.parse().map_err(|cause| anyhow!("{address}: {cause}; {form}"))?;
        let registry = reference.registry();
        ensure!(text.starts_with(&format!("{registry}/")), "{address} names no registry: {form}");
        let protocol = match is_here(registry) {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let config = ClientConfig {
            protocol,
            platform_resolver: None,
            connect_timeout: Some(CONNECT_WAIT),
            read_timeout: Some(READ_WAIT),
            user_agent: concat!("tessera/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = login.at(reference.resolve_registry())?;
        Ok(Registry { client: Client::new(config), auth, reference })
    }

    /// Brings a component there; gives the digest of the artifact. The same component has always the same.
    ///
    /// # Errors
    /// When it is malformed, or the registry doesn't take it.
    pub(crate) fn push(&self, package: &Package) -> anyhow::Result<String> {
        ensure!(self.reference.digest().is_none(), "what is pushed gets its digest then: leave @{} out", SHA256);
        check(package)?;
        let (manifest, config) = artifact(package)?;
        let body = serde_json::to_vec(&manifest)?;
        let digest = Digest::of(&body).to_string();
        wait(async {
            self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
            let layer = manifest.layers.first().context("an artifact has a layer")?;
            for (content, descriptor) in [(package.code.clone(), layer), (config.data.into(), &manifest.config)] {
                let pushed = self.client.push_blob(&self.reference, content, &descriptor.digest).await;
                pushed.map_err(|error| self.explain(error))?;
            }
            let media_type = WASM_MANIFEST_MEDIA_TYPE.parse()?;
            let pushed = self.client.push_manifest_raw(&self.reference, body, media_type).await;
            pushed.map(drop).map_err(|error| self.explain(error))
        })?;
        Ok(digest)
    }

    /// Fetches a component. What comes has the digest that the address or the manifest says.
    ///
    /// # Errors
    /// When it is not there, is no component, is longer than it may be or something else than was asked for.
    pub(crate) fn pull(&self, limits: &PackageLimits) -> anyhow::Result<Pulled> {
        let (manifest, digest, code) = wait(async {
            let pulled = self.client.pull_manifest(&self.reference, &self.auth).await;
            let (manifest, digest) = pulled.map_err(|error| self.explain(error))?;
            let OciManifest::Image(manifest) = manifest else { bail!("{} is an index of many, no component", self.reference) };
            let layer = self.layer(&manifest, limits)?;
            let mut code = Bounded { content: Vec::new(), bytes_max: limits.code_bytes_max };
            let pulled = self.client.pull_blob(&self.reference, layer, &mut code).await;
            pulled.map_err(|error| self.explain(error))?;
            Ok((manifest, digest, code.content))
        })?;
        let package = self.package(code, manifest.annotations.unwrap_or_default())?;
        package.check(limits)?;
        check(&package).with_context(|| self.reference.to_string())?;
        Ok(Pulled { package, digest })
    }

    /// The one layer of a component.
    fn layer<'a>(&self, manifest: &'a OciImageManifest, limits: &PackageLimits) -> anyhow::Result<&'a OciDescriptor> {
        let reference = &self.reference;
        let [layer] = manifest.layers.as_slice() else {
            bail!("{reference} has {} layers, a component one", manifest.layers.len())
        };
        let types =
            [(&manifest.config.media_type, WASM_MANIFEST_CONFIG_MEDIA_TYPE), (&layer.media_type, WASM_LAYER_MEDIA_TYPE)];
        for (is, wanted) in types {
            ensure!(is == wanted, "{reference} is no component: it has a part of type `{}`, not {wanted}", is.escape_debug());
        }
        let bytes = u64::try_from(layer.size).unwrap_or(u64::MAX);
        ensure!(bytes <= limits.code_bytes_max, "{reference} has {bytes} bytes, {}", too_long(limits.code_bytes_max));
        Ok(layer)
    }

    /// A package of what an artifact has.
    fn package(&self, code: Vec<u8>, mut annotations: BTreeMap<String, String>) -> anyhow::Result<Package> {
        let mut part = |name: &str| annotations.remove(&format!("{PART}{name}")).map(String::into_bytes);
        let [manifest, signature, policy, readme] =
            ["component.toml", "component.sig", "policy.toml", "README.md"].map(&mut part);
        if let Some(manifest_text) = manifest {
            return Ok(Package { manifest_text, code, signature, policy, readme });
        }
        // Another tool pushed it.
        let repository = self.reference.repository();
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let version = self.reference.tag().or(annotations.get(VERSION).map(String::as_str)).unwrap_or("0.1.0");
        let description = annotations.get(DESCRIPTION).cloned().unwrap_or_else(|| format!("Pulled from {}.", self.reference));
        bare(code, name, version, &description)
    }

    /// What to do about an error.
    fn explain(&self, error: OciDistributionError) -> anyhow::Error {
        let (reference, registry) = (&self.reference, self.reference.registry());
        let is_one_of = |codes: &[OciErrorCode]| match &error {
            OciDistributionError::RegistryError { envelope, .. } => {
                envelope.errors.iter().any(|error| codes.contains(&error.code))
            }
            _ => false,
        };
        let is_refused = match &error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => true,
            OciDistributionError::ServerError { code, .. } => matches!(code, 401 | 403),
            _ => is_one_of(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]),
        };
        let is_missing = match &error {
            OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => true,
            _ => is_one_of(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]),
        };
        let what = match error {
            _ if is_refused => format!("{registry} doesn't let you: log in with --user NAME --password-stdin"),
            _ if is_missing => format!("there is no {reference}: look at its name and tag"),
            OciDistributionError::DigestError(_) => format!("{registry} sent something else than {reference}: don't use it"),
            OciDistributionError::RequestError(_) => format!("{registry} can't be reached, or broke off"),
            _ => format!("{reference}"),
        };
        anyhow::Error::new(error).context(what)
    }
}

/// The word that a digest begins with.
const SHA256: &str = "sha256:…";

/// Whether a registry is on this machine.
fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn too_long(bytes_max: u64) -> String {
    format!("and {bytes_max} are the most, as `component_bytes_max` in tessera.toml says")
}

/// The manifest of a component's artifact, and its config.
fn artifact(package: &Package) -> anyhow::Result<(OciImageManifest, Config)> {
    let about = package.manifest()?;
    let mut annotations = BTreeMap::from([
        (TITLE.to_owned(), about.name.to_string()),
        (VERSION.to_owned(), about.version),
        (DESCRIPTION.to_owned(), about.description),
    ]);
    for (name, content) in package.files().filter(|(name, _)| *name != "component.wasm") {
        let text = std::str::from_utf8(content).with_context(|| format!("{name} is no text"))?;
        annotations.insert(format!("{PART}{name}"), text.into());
    }
    let config = WasmConfig {
        created: DateTime::UNIX_EPOCH, // so that the same component is the same artifact
        author: None,
        architecture: WASM_ARCHITECTURE.into(),
        os: COMPONENT_OS.into(),
        layer_digests: vec![Digest::of(&package.code).to_string()],
        component: Some(world_of(&package.code)?),
    };
    let title = BTreeMap::from([(TITLE.to_owned(), format!("{}.wasm", about.name))]);
    let layer = ImageLayer::new(package.code.clone(), WASM_LAYER_MEDIA_TYPE.into(), Some(title));
    let config = config.to_config()?;
    let mut manifest = OciImageManifest::build(&[layer], &config, Some(annotations));
    manifest.media_type = Some(WASM_MANIFEST_MEDIA_TYPE.into());
    Ok((manifest, config))
}

/// Runs something async to its end.
fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread for the registry")?;
    runtime.block_on(work)
}

/// Memory for what a registry sends, up to a limit.
struct Bounded {
    content: Vec<u8>,
    bytes_max: u64,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let total = (self.content.len() as u64).saturating_add(bytes.len() as u64);
        if total > self.bytes_max {
            return Poll::Ready(Err(io::Error::other(format!(
                "it sends more bytes than it said, {}",
                too_long(self.bytes_max)
            ))));
        }
        self.content.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
