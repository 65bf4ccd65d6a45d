//! How the file descriptors of the process are divided: clients get what remains after the lobby,
//! the admin port and the process itself. The computation is pure; only `limit` asks the system.

use tracing::{info, warn};

/// Number of connections of each kind that may be open at the same time, so that the limit of open
/// files is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Clients.
    pub(super) connections: usize,
    /// Clients that are being refused: each stays until it has read the reason.
    pub(super) lobby: usize,
    /// Connections to the admin port.
    pub(super) admin: usize,
}

impl Shares {
    /// Divides `files` descriptors. `connections` and `admin` are the limits from the settings;
    /// each kind gets at least one.
    pub(super) fn of(files: usize, connections: usize, admin: usize) -> Self {
        let rest = files.saturating_sub(OWN);
        let admin = admin.min(rest / 2).max(1);
        let rest = rest.saturating_sub(admin);
        let lobby = (rest / LOBBY_PART).clamp(1, LOBBY);
        let rest = rest.saturating_sub(lobby).max(1);
        Self {
            connections: connections.min(rest),
            lobby,
            admin,
        }
    }
}

/// Raises the limit of open files as far as the system allows.
pub(super) fn raise() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => info!(files, "limit of open files"),
        Err(error) => warn!(%error, "the limit of open files (nofile) cannot be raised"),
    }
}

/// Returns the limit of open files. If the system does not report one, there is no limit.
pub(super) fn limit() -> usize {
    let (soft, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap_or((u64::MAX, u64::MAX));
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Descriptors of the process itself: three standard streams, the runtime and its signals (six),
/// three listeners, one newly accepted connection of each, and those that a reader of metrics opens
/// under `/proc`.
const OWN: usize = 20;

/// Maximum number of clients that are refused at the same time and get time to read the reason.
const LOBBY: usize = 256;

/// While descriptors are scarce, one in this number goes to the lobby.
const LOBBY_PART: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: usize = 1 << 20;

    #[test]
    fn with_enough_files_the_settings_hold() {
        let shares = Shares::of(PLENTY, 100_000, 64);
        let expected = Shares {
            connections: 100_000,
            lobby: LOBBY,
            admin: 64,
        };
        assert_eq!(shares, expected);
    }

    #[test]
    fn with_few_files_clients_get_what_is_left() {
        let shares = Shares::of(200, 100_000, 64);
        let expected = Shares {
            connections: 109,
            lobby: 7,
            admin: 64,
        };
        assert_eq!(shares, expected);
    }

    #[test]
    fn all_shares_together_never_exceed_the_limit() {
        for files in (OWN + 4..5000).chain([10_000, 65_536, PLENTY]) {
            for (connections, admin) in [(1, 1), (100, 64), (100_000, 64), (PLENTY, 5000)] {
                let shares = Shares::of(files, connections, admin);
                let sum = shares.connections + shares.lobby + shares.admin + OWN;
                assert!(sum <= files, "{files}: {shares:?}");
            }
        }
    }

    #[test]
    fn every_kind_gets_something_however_few_there_are() {
        for files in 0..64 {
            let shares = Shares::of(files, 100, 64);
            assert!(shares.connections > 0 && shares.lobby > 0 && shares.admin > 0);
        }
        assert_eq!(Shares::of(usize::MAX, usize::MAX, usize::MAX).lobby, LOBBY);
    }
}
