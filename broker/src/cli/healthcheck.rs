//! `stompd healthcheck`: whether the broker with these settings answers.
//!
//! It connects like a client, so it needs no admin port. Any answer counts as healthy: a broker
//! that refuses because it is full must not be restarted for that.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::connection::duration;
use super::settings::Settings;
use super::{Failure, block_on, print};
use crate::client::{Address, Client, Options, Scheme};
use crate::config::{Config, Listen};

const DETAILS: &str = "\
It reads the settings as the broker does, and connects to the first listener that is on: WebSocket,
else TCP, else /healthz of the admin port. An address for every interface means loopback here.
A broker that refuses because it is full is healthy. One that is stopping is not.

In a Dockerfile:
  HEALTHCHECK CMD [\"stompd\", \"healthcheck\"]

Exit status: 0 healthy, 1 not; the line says why.";

#[derive(Args, Debug)]
#[command(after_help = DETAILS)]
pub(super) struct Arguments {
    /// How long to wait for the answer
    #[arg(long, value_name = "DUR", default_value = "3s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    pub(super) fn run(self, before: Settings) -> Result<(), Failure> {
        let unhealthy = |reason: String| Failure::Found(format!("unhealthy: {reason}"));
        let loaded = self.settings.or(before).load();
        // Docker reserves the exit status 2.
        let config = loaded.map_err(|error| unhealthy(error.to_string()))?.config;
        let answer = block_on(Builder::new_current_thread(), async {
            ask(&config, self.timeout).await.map_err(unhealthy)
        })?;
        print(format!("healthy: {answer}\n").as_bytes())
    }
}

/// Asks the first listener that is on.
async fn ask(config: &Config, patience: Duration) -> Result<String, String> {
    let Listen {
        websocket,
        tcp,
        admin,
        paths,
    } = &config.listen;
    let path = paths.first().map_or("/", String::as_str);
    match (websocket, tcp, admin) {
        (Some(at), ..) => stomp(&address(Scheme::WebSocket, at, path)?, patience).await,
        (None, Some(at), _) => stomp(&address(Scheme::Tcp, at, "")?, patience).await,
        (None, None, Some(at)) => {
            let address = address(Scheme::Tcp, at, "")?.authority();
            timeout(patience, admin_port(&address))
                .await
                .unwrap_or_else(|_| Err(format!("{address} does not answer within {patience:?}")))
        }
        (None, None, None) => Err("no listener is on".to_owned()),
    }
}

async fn stomp(address: &Address, patience: Duration) -> Result<String, String> {
    let options = Options {
        heart_beat: Duration::ZERO,
        patience,
        ..Options::default()
    };
    match Client::connect(address, &options).await {
        Ok(client) => {
            // It has answered; how it closes does not matter.
            let _ = timeout(FAREWELL, client.disconnect(FAREWELL)).await;
            Ok(format!("{address} answers"))
        }
        Err(error) if error.is_an_answer() => Ok(format!("{address} answers: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn admin_port(address: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let most = stream.take(MOST_BYTES).read_to_end(&mut answer).await;
    most.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.1 200") {
        Ok(format!("http://{address}/healthz answers"))
    } else {
        Err(format!("http://{address}/healthz answers {status:?}"))
    }
}

/// Returns the address to connect to for a listener.
fn address(scheme: Scheme, listened: &str, path: &str) -> Result<Address, String> {
    let (host, port) = listened.rsplit_once(':').unwrap_or((listened, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().unwrap_or_default();
    if port == 0 {
        return Err(format!(
            "{listened} takes any free port; which one is not known here"
        ));
    }
    let host = match host.parse() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1",
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "::1",
        _ => host,
    };
    Ok(Address {
        scheme,
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    })
}

/// A slow health check is killed by its caller, and counts as a failure.
const FAREWELL: Duration = Duration::from_millis(500);

/// More than any answer of `/healthz`.
const MOST_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_reached_by_loopback() {
        for (listened, expected) in [
            ("0.0.0.0:1", "tcp://127.0.0.1:1"),
            ("[::]:1", "tcp://[::1]:1"),
            ("10.0.0.1:1", "tcp://10.0.0.1:1"),
            ("localhost:1", "tcp://localhost:1"),
        ] {
            let address = address(Scheme::Tcp, listened, "").unwrap();
            assert_eq!(address.to_string(), expected);
        }
    }

    #[test]
    fn a_port_that_is_not_known_is_said() {
        let error = address(Scheme::Tcp, "127.0.0.1:0", "").unwrap_err();
        assert!(error.contains("any free port"), "{error}");
    }
}
