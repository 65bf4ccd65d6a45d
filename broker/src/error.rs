//! Why the process cannot start or continue, and its exit code.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Why the process cannot start or continue. Faults of clients are not included.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener cannot be opened.
    #[error("cannot listen for {what} on {address}: {}", explain(source))]
    Listen {
        /// What it is for: `WebSocket`, `TCP`, `admin`.
        what: &'static str,
        /// The address as it was configured.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The threads that serve clients cannot be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// The handlers of the signals that stop the broker cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signal(#[source] io::Error),
}

impl Error {
    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Misused,
            Self::Listen { .. } | Self::Output(_) | Self::Runtime(_) | Self::Signal(_) => {
                Exit::Failed
            }
        }
    }
}

/// The exit code of the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Fine = 0,
    /// It failed while running.
    Failed = 1,
    /// The command line or the configuration is wrong; trying again changes nothing.
    Misused = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Returns the error without its number, with advice for the usual ones.
fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => " (is another stompd or RabbitMQ running?)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has it)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need a privilege)",
        _ => "",
    };
    format!("{text}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(source: io::Error) -> Error {
        Error::Listen {
            what: "WebSocket",
            address: "127.0.0.1:15674".to_owned(),
            source,
        }
    }

    #[test]
    fn an_address_in_use_says_by_whom() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let source = std::net::TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(
            listen(source).to_string(),
            "cannot listen for WebSocket on 127.0.0.1:15674: Address already in use \
             (is another stompd or RabbitMQ running?)"
        );
    }

    #[test]
    fn a_wrong_configuration_is_told_from_a_failure() {
        let config = ConfigError::UnknownVariable {
            name: "STOMPD__X".to_owned(),
        };
        assert_eq!(Error::from(config).exit_code(), Exit::Misused);
        assert_eq!(
            Error::Runtime(io::Error::other("none")).exit_code(),
            Exit::Failed
        );
    }
}
