//! Encrypted connections: the certificate, and its change while the server runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::config::TlsConfig;

/// Protocols that are spoken, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there can't be encrypted connections.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds something else.
    #[error("`tls.{key} = {file:?}` can't be used: {cause}: write certificates and key in PEM")]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong with it.
        cause: rustls::pki_types::pem::Error,
    },
    /// The two do not go together.
    #[error("`tls.certificate` and `tls.key` are no pair: {0}")]
    Pair(#[from] rustls::Error),
}

/// The certificate with which connections are taken.
pub(crate) struct Tls {
    files: TlsConfig,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they are unreadable or no pair.
    pub(crate) fn load(files: &TlsConfig) -> Result<Tls, TlsError> {
        Ok(Tls { files: files.clone(), current: ArcSwap::from_pointee(read(files)?) })
    }

    /// Takes the files as they are now for new connections. If they are malformed, as when only one of them is written yet, the
    /// operator is told, and what held before still holds.
    pub(crate) fn reload(&self) {
        match read(&self.files) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(certificate = %self.files.certificate.display(), "new connections get the certificate as it is now");
            }
            Err(error) => tracing::error!("the certificate is not taken, the one before still holds: {error}"),
        }
    }

    /// What takes a connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(files: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let certificate = |cause| TlsError::File { key: "certificate", file: files.certificate.clone(), cause };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect).map_err(certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|cause| TlsError::File { key: "key", file: files.key.clone(), cause })?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = PROTOCOLS.iter().map(|&protocol| protocol.into()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_or_hold_something_else_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TlsConfig { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let error = Tls::load(&files).map(drop).expect_err("none").to_string();
        assert!(error.contains("tls.certificate") && error.contains("cert.pem"), "{error}");
        std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
        let error = Tls::load(&files).map(drop).expect_err("no key").to_string();
        assert!(error.contains("tls.key") && error.contains("key.pem"), "{error}");
    }
}
