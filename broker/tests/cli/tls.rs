//! The clients over TLS, against a broker behind something that takes TLS off.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{Broker, directory, run, stompd};

/// Takes TLS off in front of a broker. Returns its address and the file of its certificate.
fn terminator(runtime: &Runtime, behind: SocketAddr) -> (SocketAddr, PathBuf) {
    let names = vec!["localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let file = directory("tls", None).join(format!("{}.pem", behind.port()));
    fs::write(&file, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Some clients are meant to be displeased with the certificate.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                }
            });
        }
    });
    (address, file)
}

fn publish(url: &str, more: &[&str]) -> (Option<i32>, String, String) {
    run(&mut stompd(
        &[&["pub", "-u", url, "/topic/a", "x"], more].concat(),
    ))
}

#[test]
fn tls_is_spoken_where_the_certificate_is_known_and_the_name_is_right() {
    let broker = Broker::start(&[]);
    let runtime = Runtime::new().unwrap();
    let parse = |url: &str| url.trim_start_matches("tcp://").parse().unwrap();
    let websocket = broker.websocket.replace("ws://", "").replace("/ws", "");
    for (behind, scheme, path) in [
        (parse(&broker.tcp), "tcp+tls", ""),
        (parse(&websocket), "wss", "/ws"),
    ] {
        let (address, file) = terminator(&runtime, behind);
        let ca = ["--ca", file.to_str().unwrap()];
        let named = format!("{scheme}://localhost:{}{path}", address.port());
        assert_eq!(
            publish(&named, &ca),
            (Some(0), String::new(), String::new())
        );

        let (status, _, err) = publish(&named, &[]);
        assert_eq!(status, Some(1));
        assert!(
            err.contains("TLS failed") && err.contains("--ca FILE"),
            "{err}"
        );

        let other_name = format!("{scheme}://{address}{path}");
        let (status, _, err) = publish(&other_name, &ca);
        assert_eq!(status, Some(1));
        assert!(err.contains("not valid for name"), "{err}");
    }
}

#[test]
fn tls_where_none_is_spoken_is_explained() {
    let broker = Broker::start(&[]);
    let (status, _, err) = publish(&broker.websocket.replace("ws:", "wss:"), &[]);
    assert_eq!(status, Some(1));
    assert!(
        err.contains("does the server speak TLS at this port?"),
        "{err}"
    );
}
