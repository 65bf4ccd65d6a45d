//! The reference file of all settings: the keys, in the order in which people read them.

use std::fmt;

use ::config::{Value, ValueKind};

use super::{Config, Loaded, Place};

/// `broker.toml`: every key with its default and its meaning. `stompd default-config` prints it.
pub const REFERENCE: &str = include_str!("../../../broker.toml");

/// The known names, taken from the reference.
pub(super) mod known {
    use super::{Line, REFERENCE};

    /// Every section.
    pub(in crate::config) fn sections() -> impl Iterator<Item = &'static str> {
        Line::all(REFERENCE).filter_map(|line| match line {
            Line::Section(section) => Some(section),
            Line::Setting { .. } => None,
        })
    }

    /// Every setting as section and key.
    pub(in crate::config) fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
        Line::all(REFERENCE).filter_map(|line| match line {
            Line::Section(_) => None,
            Line::Setting { section, key } => Some((section, key)),
        })
    }

    /// Every key of a section.
    pub(in crate::config) fn keys(section: &str) -> impl Iterator<Item = &'static str> {
        settings().filter_map(move |(of, key)| (of == section).then_some(key))
    }

    /// Every environment variable.
    pub(in crate::config) fn variables() -> impl Iterator<Item = String> {
        settings().map(|(section, key)| variable(section, key))
    }

    /// The environment variable of a setting.
    pub(in crate::config) fn variable(section: &str, key: &str) -> String {
        format!("STOMPD__{section}__{key}").to_uppercase()
    }
}

/// A line of the reference that is neither empty nor a comment.
enum Line<'a> {
    Section(&'a str),
    Setting { section: &'a str, key: &'a str },
}

impl<'a> Line<'a> {
    /// The reference has one line per setting, which a test checks.
    fn all(text: &'a str) -> impl Iterator<Item = Self> {
        let mut section = "";
        text.lines().filter_map(move |line| {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
                return Some(Self::Section(section));
            }
            let (key, _) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
            Some(Self::Setting { section, key })
        })
    }
}

/// The settings in force as a TOML document: the reference without its comments.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self, |_| None)
    }
}

/// The settings in force as a TOML document, with a comment after each that states its source.
pub(super) struct Annotated<'a>(pub(super) &'a Loaded);

impl fmt::Display for Annotated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { config, origin } = self.0;
        write(f, config, |key| {
            let place = origin.of(key).map(Place::to_string);
            let comment = place.unwrap_or_else(|| "default".to_owned());
            // A file name may contain an end of line, which would end the comment.
            Some(comment.replace(char::is_control, "?"))
        })
    }
}

fn write(
    f: &mut fmt::Formatter<'_>,
    config: &Config,
    comment: impl Fn(&str) -> Option<String>,
) -> fmt::Result {
    let values = ::config::Config::try_from(config).map_err(|_| fmt::Error)?;
    let mut gap = "";
    for line in Line::all(REFERENCE) {
        match line {
            Line::Section(section) => writeln!(f, "{gap}[{section}]")?,
            Line::Setting { section, key } => {
                let path = format!("{section}.{key}");
                let value: Value = values.get(&path).map_err(|_| fmt::Error)?;
                let setting = format!("{key} = {}", Toml(&value));
                match comment(&path) {
                    Some(comment) => writeln!(f, "{setting:COLUMN$} # {comment}")?,
                    None => writeln!(f, "{setting}")?,
                }
            }
        }
        gap = "\n";
    }
    Ok(())
}

/// The column of comments, unless a setting is longer.
const COLUMN: usize = 36;

/// A value as TOML.
struct Toml<'a>(&'a Value);

impl fmt::Display for Toml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            ValueKind::String(text) => {
                f.write_str("\"")?;
                for char in text.chars() {
                    match char {
                        '"' | '\\' => write!(f, "\\{char}")?,
                        _ if char.is_control() => write!(f, "\\u{:04X}", u32::from(char))?,
                        _ => write!(f, "{char}")?,
                    }
                }
                f.write_str("\"")
            }
            ValueKind::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Self(value))?;
                }
                f.write_str("]")
            }
            other => write!(f, "{other}"),
        }
    }
}

/// Returns the known word that `found` most likely stands for, if any is similar enough.
pub(super) fn nearest<T: AsRef<str>>(found: &str, known: impl Iterator<Item = T>) -> Option<T> {
    known
        .map(|word| (distance(found, word.as_ref()), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= word.as_ref().len().div_ceil(3).min(2))
        .map(|(_, word)| word)
}

/// Number of characters to insert, delete or change to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (above, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, b) in to.chars().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.chars().count()]
}
