//! The rules that the type of a single setting cannot carry.

use super::{Config, Limits, Listen};

/// A rule that is broken.
#[derive(Debug)]
pub(super) struct Fault {
    /// The settings concerned, as `section.key`.
    pub(super) keys: Vec<String>,
    /// What is wrong, and what is allowed.
    pub(super) reason: String,
}

/// More threads than any machine has cores; it catches a value meant for another key.
const MOST_WORKERS: usize = 1024;

impl Fault {
    pub(super) fn new(keys: &[&str], reason: impl Into<String>) -> Self {
        Self {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            reason: reason.into(),
        }
    }
}

impl Config {
    /// The first rule that is broken, if any.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.listen.check()?;
        self.limits.check()?;
        let workers = self.runtime.workers;
        if workers > MOST_WORKERS {
            let reason = format!(
                "{workers} threads are too many; allowed: up to {MOST_WORKERS}, or 0 for one per core"
            );
            return Err(Fault::new(&["runtime.workers"], reason));
        }
        Ok(())
    }
}

impl Listen {
    fn check(&self) -> Result<(), Fault> {
        if self.websocket.is_none() && self.tcp.is_none() && self.admin.is_none() {
            let keys = ["listen.websocket", "listen.tcp", "listen.admin"];
            let reason = "all listeners are off, nobody could connect; \
                          set one of them to \"host:port\"";
            return Err(Fault::new(&keys, reason));
        }
        if self.websocket.is_some() && self.paths.is_empty() {
            let keys = ["listen.paths", "listen.websocket"];
            let reason = "there is no path, no WebSocket could be opened; \
                          write a path such as \"/ws\", or set listen.websocket to \"\"";
            return Err(Fault::new(&keys, reason));
        }
        if let Some(path) = self.paths.iter().find(|path| !is_path(path)) {
            let reason = format!(
                "{path:?} is not a path; \
                 write one such as \"/ws\", more than \"/\" and without a query"
            );
            return Err(Fault::new(&["listen.paths"], reason));
        }
        Ok(())
    }
}

fn is_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
}

impl Limits {
    fn check(&self) -> Result<(), Fault> {
        if self.header_line <= self.header_bytes {
            return Ok(());
        }
        let reason = format!(
            "one header line may have {} bytes, but all of them together only {}; \
             allowed: header_line up to header_bytes",
            self.header_line, self.header_bytes
        );
        Err(Fault::new(
            &["limits.header_line", "limits.header_bytes"],
            reason,
        ))
    }
}
