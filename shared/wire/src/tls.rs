//! TLS as the SDK has it: rustls with aws-lc-rs and the machine's certificates. What it costs is paid with the first `https` address.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, RootCertStore};

use crate::failure::ConnectError;

/// Which certificates are trusted, and the sessions that may be resumed; clones share them.
#[derive(Clone, Default)]
pub struct TlsSettings(Arc<Mutex<Option<Arc<ClientConfig>>>>);

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

impl TlsSettings {
    /// Trusts these certificates and no others.
    ///
    /// # Errors
    /// When the library cannot do what TLS needs.
    pub fn trusting(roots: RootCertStore) -> Result<Self, ConnectError> {
        Ok(Self(Arc::new(Mutex::new(Some(client(roots)?)))))
    }

    /// For a client of HTTP/1.1: the machine's certificates (`SSL_CERT_FILE` where it is set), read once, or those that were given.
    ///
    /// # Errors
    /// When none of them can be used.
    pub fn config(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.as_ref() {
            return Ok(Arc::clone(config));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be used is left out, as every client of TLS does.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let first = found.errors.into_iter().next();
            let cause = first.map_or_else(|| "there are none".into(), |error| Box::new(error) as _);
            return Err(ConnectError::Certificates(cause));
        }
        Ok(Arc::clone(known.insert(client(roots)?)))
    }
}

fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| ConnectError::Certificates(Box::new(error)))?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
