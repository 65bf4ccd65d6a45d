//! Authentication of clients. Without configured users, any login is accepted.

use crate::engine::session::{Credentials, LoginVerdict};

/// The ways to check [`Credentials`].
#[derive(Clone, Debug)]
pub enum Authenticator {
    /// Nothing is checked: `login` is taken as the user's name as given.
    Open,
}

impl Authenticator {
    /// Returns the verdict for the session.
    pub fn verdict(&self, credentials: Credentials) -> LoginVerdict {
        match self {
            Self::Open => LoginVerdict::Welcome {
                user: credentials.login.filter(|login| !login.is_empty()),
            },
        }
    }
}
