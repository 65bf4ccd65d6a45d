//! The flags of commands that read the broker's settings.

use std::env;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Flag, Loaded, Source};
use crate::error::Error;

/// Settings of the broker, before the command or after it.
#[derive(Args, Debug)]
pub(super) struct Settings {
    /// Read settings from FILE [default: ./broker.toml, else /etc/stompd/broker.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen for STOMP over WebSocket on host:port; "" turns it off
    #[arg(long, value_name = "ADDR")]
    websocket: Option<String>,
    /// Listen for STOMP over TCP on host:port; "" turns it off
    #[arg(long, value_name = "ADDR")]
    tcp: Option<String>,
    /// Listen for metrics and health on host:port; "" turns it off
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Log this level and above: error, warn, info, debug, trace, or by module: info,stompd=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    /// Returns these flags, and those of `other` where they are not set.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            config: self.config.or(other.config),
            websocket: self.websocket.or(other.websocket),
            tcp: self.tcp.or(other.tcp),
            admin: self.admin.or(other.admin),
            log_level: self.log_level.or(other.log_level),
        }
    }

    /// Returns the first flag that is set.
    pub(super) fn first(&self) -> Option<&'static str> {
        let file = self.config.is_some().then_some("--config");
        let mut values = self.values().into_iter();
        file.or_else(|| values.find_map(|(name, _, value)| value.map(|_| name)))
    }

    pub(super) fn load(self) -> Result<Loaded, Error> {
        let flags = self.values().into_iter();
        let flags = flags.filter_map(|(name, key, value)| {
            let value = value?.to_owned();
            Some(Flag { name, key, value })
        });
        let source = Source {
            environment: env::vars_os().collect(),
            flags: flags.collect(),
            file: self.config,
        };
        Ok(Config::load(source)?)
    }

    /// Returns each flag that is a setting: its name, its setting, its value.
    fn values(&self) -> [(&'static str, &'static str, Option<&str>); 4] {
        [
            ("--websocket", "listen.websocket", self.websocket.as_deref()),
            ("--tcp", "listen.tcp", self.tcp.as_deref()),
            ("--admin", "listen.admin", self.admin.as_deref()),
            ("--log-level", "log.level", self.log_level.as_deref()),
        ]
    }
}
