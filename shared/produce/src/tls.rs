//! TLS by rustls with aws-lc-rs: the certificates that are named, or the machine's.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::failure::ProduceError;

/// Trusts the authorities of a PEM file, or those of the machine (`SSL_CERT_FILE` where it is set).
pub(crate) fn connector(authorities: Option<&Path>) -> Result<TlsConnector, ProduceError> {
    let unusable = |cause: Box<dyn Error + Send + Sync>| ProduceError::Certificates(cause);
    let found = match authorities {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            certificates.map_err(|error| unusable(Box::new(error)))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be used is left out, as every client of TLS does.
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(unusable("there are none".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| unusable(Box::new(error)))?;
    Ok(TlsConnector::from(Arc::new(versions.with_root_certificates(roots).with_no_client_auth())))
}
