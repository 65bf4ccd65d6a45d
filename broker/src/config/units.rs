//! How values are written: durations, sizes, counts, addresses, lists, words, log levels.
//!
//! `#[serde(with = "As::<Size>")]` gives a field its form. Each form accepts values from a file,
//! and from an environment variable, which is text only. An error states what was found and what is
//! allowed; `load.rs` adds where.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use ::config::{Value, ValueKind};
use bytesize::ByteSize;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// Serde's two functions for a field of form `F`.
pub(super) struct As<F>(PhantomData<F>);

impl<F: Form> As<F> {
    pub(super) fn deserialize<'de, D>(input: D) -> Result<F::Field, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = Found(Value::deserialize(input)?.kind);
        F::read(&found).map_err(|reason| D::Error::custom(format_args!("{found} {reason}")))
    }

    pub(super) fn serialize<S>(field: &F::Field, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        F::write(field).serialize(output)
    }
}

/// A notation of values.
pub(super) trait Form {
    /// The type of the parsed value.
    type Field;

    /// Returns the value, or what is wrong with it: "is not a …; write …".
    fn read(found: &Found) -> Result<Self::Field, Cow<'static, str>>;

    /// Returns the value as written in a file.
    fn write(field: &Self::Field) -> impl Serialize;
}

/// `"10s"`, `"1m 30s"`, `"500ms"`: whole milliseconds that fit 32 bits. So it fits a `heart-beat`
/// header, and no sum with a clock overflows.
pub(super) enum Interval {}

impl Form for Interval {
    type Field = Duration;

    fn read(found: &Found) -> Result<Duration, Cow<'static, str>> {
        let duration = found
            .text()
            .and_then(|text| humantime::parse_duration(text).ok())
            .ok_or("is not a duration; write \"10s\", \"500ms\" or \"1m 30s\"")?;
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err("is finer than a millisecond; the shortest is \"1ms\"".into());
        }
        if u32::try_from(duration.as_millis()).is_err() {
            return Err("is too long; the longest is \"49days\"".into());
        }
        Ok(duration)
    }

    fn write(field: &Duration) -> impl Serialize {
        humantime::format_duration(*field).to_string()
    }
}

/// `"64KiB"`, `"4MiB"`, `"1MB"` or a number of bytes.
pub(super) enum Size {}

impl Size {
    /// Far above any sensible limit, and far below the point where sums of sizes overflow.
    const LARGEST: ByteSize = ByteSize::tib(1);
}

impl Form for Size {
    type Field = usize;

    fn read(found: &Found) -> Result<usize, Cow<'static, str>> {
        let size = found
            .integer()
            .map(ByteSize::b)
            .or_else(|| found.text()?.parse().ok())
            .ok_or("is not a size; write \"64KiB\", \"4MiB\" or a number of bytes")?;
        usize::try_from(size.as_u64())
            .ok()
            .filter(|_| size <= Self::LARGEST)
            .ok_or_else(|| "is too large; the largest is \"1TiB\"".into())
    }

    fn write(field: &usize) -> impl Serialize {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let unit = units
            .iter()
            .find(|(bytes, _)| *field > 0 && field.is_multiple_of(*bytes));
        match unit {
            Some((bytes, unit)) => Written::Text(format!("{}{unit}", field / bytes)),
            None => Written::Number(*field),
        }
    }
}

/// A size in the largest unit that divides it.
#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    Number(usize),
    Text(String),
}

/// A whole number.
pub(super) enum Count {}

impl Form for Count {
    type Field = usize;

    fn read(found: &Found) -> Result<usize, Cow<'static, str>> {
        found
            .integer()
            .and_then(|number| u32::try_from(number).ok())
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "is not a count; write a whole number from 0 to {}",
                    u32::MAX
                )
                .into()
            })
    }

    fn write(field: &usize) -> impl Serialize {
        *field
    }
}

/// The form `F`, but more than zero.
pub(super) struct Positive<F>(PhantomData<F>);

impl<F> Form for Positive<F>
where
    F: Form<Field: Default + PartialEq>,
{
    type Field = F::Field;

    fn read(found: &Found) -> Result<F::Field, Cow<'static, str>> {
        let field = F::read(found)?;
        if field == F::Field::default() {
            return Err("lets nothing through; write more than zero".into());
        }
        Ok(field)
    }

    fn write(field: &F::Field) -> impl Serialize {
        F::write(field)
    }
}

/// `"host:port"`, or the empty string for none.
pub(super) enum Address {}

impl Address {
    /// Whether it is a socket address or `name:port`; the name is resolved when it is bound.
    fn is_valid(text: &str) -> bool {
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_named = || {
            text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && host.bytes().all(in_name)
                    && port.bytes().all(|byte| byte.is_ascii_digit())
                    && port.parse::<u16>().is_ok()
            })
        };
        text.parse::<SocketAddr>().is_ok() || is_named()
    }
}

impl Form for Address {
    type Field = Option<String>;

    fn read(found: &Found) -> Result<Option<String>, Cow<'static, str>> {
        match found.text() {
            Some("") => Ok(None),
            Some(text) if Self::is_valid(text) => Ok(Some(text.to_owned())),
            _ => Err(
                "is not an address; write \"host:port\" such as \"127.0.0.1:61613\", \
                 \"0.0.0.0:61613\" for every interface, \"[::1]:61613\" for IPv6, or \"\" for off"
                    .into(),
            ),
        }
    }

    fn write(field: &Option<String>) -> impl Serialize {
        field.clone().unwrap_or_default()
    }
}

/// An array of strings, or one string split at commas.
pub(super) enum List {}

impl Form for List {
    type Field = Vec<String>;

    fn read(found: &Found) -> Result<Vec<String>, Cow<'static, str>> {
        found
            .list()
            .ok_or_else(|| "is not a list of strings; write [\"a\", \"b\"] or \"a,b\"".into())
    }

    fn write(field: &Vec<String>) -> impl Serialize {
        field.clone()
    }
}

/// One word of a fixed list.
pub(super) struct Word<T>(PhantomData<T>);

/// The meanings of the words of a [`Word`].
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every word with its meaning, the default first.
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Choice> Form for Word<T> {
    type Field = T;

    fn read(found: &Found) -> Result<T, Cow<'static, str>> {
        let chosen = T::WORDS.iter().find(|(word, _)| found.text() == Some(word));
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = T::WORDS
                .iter()
                .map(|(word, _)| format!("{word:?}"))
                .collect();
            format!("is not known; allowed: {}", words.join(", ")).into()
        })
    }

    fn write(field: &T) -> impl Serialize {
        let chosen = T::WORDS.iter().find(|(_, meaning)| meaning == field);
        chosen.map(|(word, _)| *word)
    }
}

/// A log level, or directives such as `"info,stompd::connection=debug"`.
pub(super) enum Level {}

impl Level {
    /// A bare word must be a level: `EnvFilter` would take a misspelled one for a module name and
    /// log nothing.
    fn is_valid(text: &str) -> bool {
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let is_directive = |part: &str| part.contains(['=', '[', '{', '}']) || is_level(part);
        text.split(',').map(str::trim).all(is_directive) && EnvFilter::builder().parse(text).is_ok()
    }
}

impl Form for Level {
    type Field = String;

    fn read(found: &Found) -> Result<String, Cow<'static, str>> {
        match found.text() {
            Some(text) if Self::is_valid(text) => Ok(text.to_owned()),
            _ => Err(
                "is not a log level; write \"off\", \"error\", \"warn\", \"info\", \"debug\", \
                 \"trace\" or directives such as \"info,stompd::connection=debug\""
                    .into(),
            ),
        }
    }

    fn write(field: &String) -> impl Serialize {
        field.clone()
    }
}

/// A value as it was found; errors quote its `Display`.
pub(super) struct Found(ValueKind);

/// `true` or `false`.
pub(super) enum Switch {}

impl Form for Switch {
    type Field = bool;

    fn read(found: &Found) -> Result<bool, Cow<'static, str>> {
        match (&found.0, found.text()) {
            (ValueKind::Boolean(on), _) => Ok(*on),
            (_, Some("true")) => Ok(true),
            (_, Some("false")) => Ok(false),
            _ => Err("is neither true nor false".into()),
        }
    }

    fn write(field: &bool) -> impl Serialize {
        *field
    }
}

impl Found {
    fn text(&self) -> Option<&str> {
        match &self.0 {
            ValueKind::String(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// A number, or text that is one.
    fn integer(&self) -> Option<u64> {
        match &self.0 {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            _ => self.text()?.parse().ok(),
        }
    }

    /// A list of strings, or text split at commas; empty text is an empty list.
    fn list(&self) -> Option<Vec<String>> {
        match &self.0 {
            ValueKind::Array(values) => values
                .iter()
                .map(|value| match &value.kind {
                    ValueKind::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => match self.text()? {
                "" => Some(Vec::new()),
                text => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
            },
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ValueKind::String(text) => write!(f, "{text:?}"),
            ValueKind::Array(_) => f.write_str("a list"),
            ValueKind::Table(_) => f.write_str("a table"),
            other => write!(f, "{other}"),
        }
    }
}
