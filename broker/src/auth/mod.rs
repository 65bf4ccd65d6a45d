//! Who a client is. Without users configured everybody is who he says he is.

use crate::engine::session::{Credentials, Verdict};

/// The ways to check [`Credentials`].
#[derive(Clone, Debug)]
pub enum Authenticator {
    /// Nothing is checked: `login` is taken as the user's name as given.
    Open,
}

impl Authenticator {
    /// What the session is told.
    pub fn verdict(&self, credentials: Credentials) -> Verdict {
        match self {
            Self::Open => Verdict::Welcome {
                user: credentials.login.filter(|login| !login.is_empty()),
            },
        }
    }
}
