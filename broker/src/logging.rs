//! The log: lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sends the events of this process to standard error, unless a subscriber is already set, as in
/// tests.
pub fn init(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{},{QUIET}", log.level)))
        .with_writer(io::stderr)
        // Otherwise a closed standard error would be reported on standard error, which panics.
        .log_internal_errors(false);
    let outcome = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if io::stderr().is_terminal() => builder.try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    drop(outcome);
}

/// At `trace` tungstenite would log whole messages, including passcodes.
const QUIET: &str = "tungstenite=off";
