//! The rules that the type of a single setting cannot express.

use super::{Config, Limits, Listen};

/// A broken rule.
#[derive(Debug)]
pub(super) struct Fault {
    /// The settings concerned, as `section.key`.
    pub(super) keys: Vec<String>,
    /// What is wrong, and what is allowed.
    pub(super) reason: String,
}

/// The largest body and the largest header block. Positions in encoded data have 32 bits, and a
/// frame of both must fit with room to spare.
const LARGEST_BODY: usize = 1024 * 1024 * 1024;
const LARGEST_HEADERS: usize = 16 * 1024 * 1024;

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
    /// Fails with the first broken rule, if any.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.listen.check()?;
        self.limits.check()?;
        self.check_room()?;
        let workers = self.runtime.workers;
        if workers > MOST_WORKERS {
            let reason = format!(
                "{workers} threads are too many; allowed: up to {MOST_WORKERS}, or 0 for one per core"
            );
            return Err(Fault::new(&["runtime.workers"], reason));
        }
        Ok(())
    }

    /// A client that is being sent one of the largest messages has no room for more, so the next
    /// one would disconnect it.
    fn check_room(&self) -> Result<(), Fault> {
        let frame = self.limits.body + self.limits.header_bytes;
        for (key, room) in [
            ("limits.outbox_bytes", self.limits.outbox_bytes),
            ("queue.prefetch_bytes", self.queue.prefetch_bytes),
        ] {
            if frame > room {
                let reason = format!(
                    "a message may have {frame} bytes (limits.body and limits.header_bytes), \
                     more than the {room} of {key}; raise {key} to {frame} or more, \
                     or lower limits.body"
                );
                return Err(Fault::new(
                    &["limits.body", "limits.header_bytes", key],
                    reason,
                ));
            }
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
        let largest = [
            ("limits.body", self.body, LARGEST_BODY, "1GiB"),
            (
                "limits.header_bytes",
                self.header_bytes,
                LARGEST_HEADERS,
                "16MiB",
            ),
        ];
        for (key, bytes, most, text) in largest {
            if bytes > most {
                let reason = format!("{bytes} bytes are too many; allowed: up to \"{text}\"");
                return Err(Fault::new(&[key], reason));
            }
        }
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
