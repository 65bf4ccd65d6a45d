//! Why a configuration is refused: where the error is, what was found, what is allowed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::reference::{known, nearest};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that its setting does not allow, or that contradicts another setting.
    #[error("{}: {reason}", place.of(key))]
    Invalid {
        /// Where the value is set.
        place: Place,
        /// The setting, as `section.key`.
        key: String,
        /// What was found and what is allowed.
        reason: String,
    },
    /// A section that is written like a single setting, or like an array.
    #[error("{}: {section} is a section; begin it with a line [{section}]", path.display())]
    NotASection {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
    },
    /// The value of an environment variable is not UTF-8.
    #[error("{name}: the value is not UTF-8")]
    NotUnicode {
        /// The variable.
        name: String,
    },
    /// A file that exists, or was asked for, cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is not TOML; the cause names line and column.
    #[error("{}: {}", path.display(), source.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The error of the TOML parser.
        source: Box<::config::ConfigError>,
    },
    /// An unknown key.
    #[error(
        "{}: [{section}] has no key {key:?}{}; known keys: {}",
        path.display(), hint(key, known::keys(section)), join(known::keys(section))
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The section, which is known.
        section: String,
        /// The key.
        key: String,
    },
    /// An unknown section, or a key outside of all sections.
    #[error(
        "{}: there is no section [{section}]{}; known sections: {}",
        path.display(), hint(section, known::sections()), join(known::sections())
    )]
    UnknownSection {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
    },
    /// An environment variable with our prefix that is no setting.
    #[error(
        "{name}: there is no such setting{}; a variable is STOMPD__SECTION__KEY, and \
         `stompd default-config` prints every setting",
        hint(name, known::variables())
    )]
    UnknownVariable {
        /// The variable.
        name: String,
    },
}

/// Where a value is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In this file, or in none if no file was read.
    File(Option<PathBuf>),
    /// On the command line, as this flag.
    Flag(&'static str),
    /// In this environment variable.
    Variable(String),
}

impl Place {
    /// Returns the place of one setting. A flag or a variable is one setting already.
    fn of(&self, key: &str) -> String {
        match self {
            Self::File(Some(_)) => format!("{self}: {key}"),
            Self::File(None) => key.to_owned(),
            Self::Flag(_) | Self::Variable(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(Some(path)) => write!(f, "{}", path.display()),
            Self::File(None) => f.write_str("defaults"),
            Self::Flag(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

fn hint<T: AsRef<str>>(found: &str, known: impl Iterator<Item = T>) -> String {
    nearest(found, known).map_or_else(String::new, |near| {
        format!(" (did you mean {:?}?)", near.as_ref())
    })
}

fn join(known: impl Iterator<Item = &'static str>) -> String {
    known.collect::<Vec<_>>().join(", ")
}
