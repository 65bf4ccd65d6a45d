//! Loads a checked [`Config`] from file, environment and command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use ::config::builder::DefaultState;
use ::config::{ConfigBuilder, File, FileFormat, Value, ValueKind};

use super::check::Fault;
use super::reference::{Annotated, known};
use super::{Config, ConfigError, Place};

/// The sources of settings: each later field overrides the earlier ones, and all the defaults.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file of `--config`, which must exist. `None`: the first that exists of `./broker.toml`
    /// and `/etc/stompd/broker.toml`, if any.
    pub file: Option<PathBuf>,
    /// Environment variables; only those whose name begins with `STOMPD__` are used.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings from the command line.
    pub flags: Vec<Flag>,
}

/// A setting from the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flag {
    /// As it was written, such as `--tcp`.
    pub name: &'static str,
    /// The setting as `section.key`.
    pub key: &'static str,
    /// Its value, in any form that an environment variable may have.
    pub value: String,
}

/// A configuration, and its sources.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loaded {
    /// The settings in force.
    pub config: Config,
    /// Where they came from.
    pub origin: Origin,
}

/// The sources of settings; its `Display` names all of them, without a value.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The file that was read. `None`: there was none, and the defaults hold.
    pub file: Option<PathBuf>,
    /// The environment variables and flags that override it.
    pub overrides: Vec<String>,
    /// Where each setting is set that is not at its default, as `section.key`.
    places: BTreeMap<String, Place>,
}

impl Origin {
    /// Returns where a setting, as `section.key`, is set. `None`: it has its default.
    pub fn of(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }
}

/// The files that are tried, in this order, if none is named.
pub(super) const FILES: [&str; 2] = ["broker.toml", "/etc/stompd/broker.toml"];

const PREFIX: &str = "STOMPD__";

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is not TOML, or if a section, key, environment variable or value
    /// is unknown or not allowed.
    pub fn load(source: Source) -> Result<Loaded, ConfigError> {
        let file = read(source.file)?;
        assemble(file, source.environment, source.flags)
    }
}

impl Loaded {
    /// Returns the settings in force as a TOML document, with a comment after each that states its
    /// source.
    pub fn annotated(&self) -> impl fmt::Display {
        Annotated(self)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("defaults")?,
        }
        for name in &self.overrides {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}

/// All of loading except reading the file, which is passed as path and text.
pub(super) fn assemble(
    file: Option<(PathBuf, String)>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
) -> Result<Loaded, ConfigError> {
    let mut overrides = variables(environment)?;
    overrides.extend(flags.into_iter().map(Override::from));

    let mut builder = ::config::Config::builder();
    let mut places = BTreeMap::new();
    if let Some((path, text)) = &file {
        let parsed = parse(path, text)?;
        let place = Place::File(Some(path.clone()));
        places.extend(keys(&parsed.cache).map(|key| (key, place.clone())));
        builder = builder.add_source(parsed);
    }
    let file = file.map(|(path, _)| path);
    let config = merge(builder, &overrides).map_err(|fault| fault.at(file.as_ref(), &overrides))?;
    let outdone = overrides
        .iter()
        .map(|it| (it.key.clone(), it.place.clone()));
    places.extend(outdone);
    let origin = Origin {
        file,
        overrides: overrides.iter().map(|it| it.place.to_string()).collect(),
        places,
    };
    Ok(Loaded { config, origin })
}

/// A setting that overrides the file.
struct Override {
    place: Place,
    key: String,
    value: String,
}

impl From<Flag> for Override {
    fn from(flag: Flag) -> Self {
        Self {
            place: Place::Flag(flag.name),
            key: flag.key.to_owned(),
            value: flag.value,
        }
    }
}

impl Fault {
    /// Reports the last source that set one of the settings concerned.
    fn at(self, path: Option<&PathBuf>, overrides: &[Override]) -> ConfigError {
        let last = overrides.iter().rfind(|it| self.keys.contains(&it.key));
        let place = last.map_or_else(|| Place::File(path.cloned()), |it| it.place.clone());
        let key = last.map_or_else(|| self.keys.join(", "), |it| it.key.clone());
        ConfigError::Invalid {
            place,
            key,
            reason: self.reason,
        }
    }
}

/// Converts an error of `config` for a value that one of our forms refuses: the key, and the reason
/// inside.
impl From<::config::ConfigError> for Fault {
    fn from(error: ::config::ConfigError) -> Self {
        match error {
            ::config::ConfigError::At {
                error,
                key: Some(key),
                ..
            } => Self::new(&[&key], error.to_string()),
            other => Self::new(&[], other.to_string()),
        }
    }
}

/// Reads the named file, or the first that exists.
fn read(named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let must_exist = named.is_some();
    let candidates = named.map_or_else(|| FILES.map(PathBuf::from).to_vec(), |path| vec![path]);
    for path in candidates {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {}
            Err(source) => return Err(ConfigError::Read { path, source }),
        }
    }
    Ok(None)
}

/// Parses a file with known sections and keys; the values are checked after merging.
fn parse(path: &Path, text: &str) -> Result<::config::Config, ConfigError> {
    let parsed = ::config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    for (name, value) in table(&parsed.cache).into_iter().flatten() {
        let (path, section) = (path.to_owned(), name.clone());
        if known::sections().all(|known| known != name) {
            return Err(ConfigError::UnknownSection { path, section });
        }
        let Some(settings) = table(value) else {
            return Err(ConfigError::NotASection { path, section });
        };
        for key in settings.into_keys().cloned() {
            if known::keys(name).all(|known| known != key) {
                return Err(ConfigError::UnknownKey { path, section, key });
            }
        }
    }
    Ok(parsed)
}

/// Returns every setting of a file whose sections are known, as `section.key`.
fn keys(file: &Value) -> impl Iterator<Item = String> {
    let sections = table(file).into_iter().flatten();
    sections.flat_map(|(section, settings)| {
        let keys = table(settings).into_iter().flatten();
        keys.map(move |(key, _)| format!("{section}.{key}"))
    })
}

/// Returns the entries of a table in the order of their names; `None` if it is no table.
fn table(value: &Value) -> Option<BTreeMap<&String, &Value>> {
    match &value.kind {
        ValueKind::Table(table) => Some(table.iter().collect()),
        _ => None,
    }
}

/// Returns our variables, in the order of their names.
fn variables(environment: Vec<(OsString, OsString)>) -> Result<Vec<Override>, ConfigError> {
    let ours: BTreeMap<String, OsString> = environment
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.into_iter()
        .map(|(name, value)| {
            let setting =
                known::settings().find(|(section, key)| known::variable(section, key) == name);
            match (setting, value.into_string()) {
                (None, _) => Err(ConfigError::UnknownVariable { name }),
                (_, Err(_)) => Err(ConfigError::NotUnicode { name }),
                (Some((section, key)), Ok(value)) => Ok(Override {
                    place: Place::Variable(name),
                    key: format!("{section}.{key}"),
                    value,
                }),
            }
        })
        .collect()
}

fn merge(
    mut builder: ConfigBuilder<DefaultState>,
    overrides: &[Override],
) -> Result<Config, Fault> {
    for it in overrides {
        builder = builder.set_override(&it.key, it.value.as_str())?;
    }
    let config: Config = builder.build()?.try_deserialize()?;
    config.check()?;
    Ok(config)
}
