//! TLS for the client: the certificate authorities of the system, or those of a file.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Address, Error, Options};

/// Returns what a handshake needs: the trusted authorities, and nothing about a connection.
pub(super) fn connector(options: &Options) -> Result<TlsConnector, Error> {
    let roots = match &options.ca {
        Some(path) => from_file(path)?,
        None => from_system(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Certificates(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Does the handshake, and checks the certificate against the name of the host.
pub(super) async fn shake_hands(
    connector: &TlsConnector,
    stream: TcpStream,
    address: &Address,
) -> Result<TlsStream<TcpStream>, Error> {
    let failed = |source| Error::Tls {
        address: address.authority(),
        source,
    };
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|error| failed(io::Error::other(error)))?;
    connector.connect(name, stream).await.map_err(failed)
}

fn from_file(path: &Path) -> Result<RootCertStore, Error> {
    let named =
        |error: &dyn fmt::Display| Error::Certificates(format!("--ca {}: {error}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(&error))? {
        let certificate = certificate.map_err(|error| named(&error))?;
        roots.add(certificate).map_err(|error| named(&error))?;
    }
    if roots.is_empty() {
        return Err(named(&"there is no certificate in it"));
    }
    Ok(roots)
}

/// Returns what the system trusts. If that is nothing, the handshake reports it.
fn from_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
