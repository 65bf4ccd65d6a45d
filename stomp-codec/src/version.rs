//! The versions of STOMP, their names, and how two peers agree on one.

use std::fmt;

/// A version of the protocol.
///
/// Versions are ordered by age, so that `max` is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// [STOMP 1.0](https://stomp.github.io/stomp-specification-1.0.html): no escapes, padding
    /// around headers.
    V1_0,
    /// [STOMP 1.1](https://stomp.github.io/stomp-specification-1.1.html): heart-beats, NACK, the
    /// escapes `\n \c \\`.
    V1_1,
    /// [STOMP 1.2](https://stomp.github.io/stomp-specification-1.2.html): CR LF as an end of line,
    /// the escape `\r`.
    V1_2,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// Returns the version as written in `accept-version` and `version` headers: `1.2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// Returns the name of the WebSocket subprotocol of this version: `v12.stomp`.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_0 => "v10.stomp",
            Self::V1_1 => "v11.stomp",
            Self::V1_2 => "v12.stomp",
        }
    }

    /// Returns the version with this WebSocket subprotocol.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.subprotocol() == name)
    }

    /// Returns the highest supported version that an `accept-version` header lists (STOMP 1.2,
    /// "Protocol Negotiation").
    ///
    /// No header means 1.0. Unknown versions are skipped, spaces around the items are tolerated.
    /// `None` if there is no common version.
    ///
    /// ```
    /// use stomp_codec::Version;
    ///
    /// assert_eq!(Version::negotiate(Some("1.0,1.1,2.0")), Some(Version::V1_1));
    /// assert_eq!(Version::negotiate(None), Some(Version::V1_0));
    /// assert_eq!(Version::negotiate(Some("2.0")), None);
    /// ```
    pub fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        let Some(list) = accept_version else {
            return Some(Self::V1_0);
        };
        list.split(',')
            .filter_map(|item| Self::from_text(item.trim()))
            .max()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        assert_eq!(Version::negotiate(Some("1.2,1.1,1.0")), Some(Version::V1_2));
        assert_eq!(
            Version::negotiate(Some(" 1.0 ,\t1.1 ")),
            Some(Version::V1_1)
        );
        assert_eq!(Version::negotiate(Some("1.1,1.3,9")), Some(Version::V1_1));
    }

    #[test]
    fn without_a_header_it_is_1_0_and_without_a_common_one_nothing() {
        assert_eq!(Version::negotiate(None), Some(Version::V1_0));
        assert_eq!(Version::negotiate(Some("")), None);
        assert_eq!(Version::negotiate(Some("1.20,01.2,1.3")), None);
    }

    #[test]
    fn subprotocols_are_matched_exactly() {
        for version in Version::ALL {
            assert_eq!(
                Version::from_subprotocol(version.subprotocol()),
                Some(version)
            );
        }
        assert_eq!(Version::from_subprotocol("V12.STOMP"), None);
        assert_eq!(Version::from_subprotocol("stomp"), None);
    }
}
