//! How values are written: durations, sizes, counts, addresses, lists, words, log levels.
//!
//! One module per form, for `#[serde(with = "…")]`. Each accepts what a file holds and what an
//! environment variable can hold, which is text only. A refusal says what was found and what is
//! allowed; where it was found is added by `load.rs`.

use std::fmt;

use ::config::{Value, ValueKind};
use serde::{Deserialize, Deserializer, de};

/// A setting that is one word of a closed list.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every word with its meaning, the default first.
    const WORDS: &'static [(&'static str, Self)];
}

/// `"10s"`, `"1m 30s"`, `"500ms"`: whole milliseconds that fit 32 bits, which is what STOMP's
/// `heart-beat` header holds and keeps every sum with a clock far from overflow.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::{Found, found};

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<Duration, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        let duration = found
            .text()
            .and_then(|text| humantime::parse_duration(text).ok())
            .ok_or_else(|| {
                refuse(
                    &found,
                    "is not a duration; write \"10s\", \"500ms\" or \"1m 30s\"",
                )
            })?;
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err(refuse(
                &found,
                "is finer than a millisecond; the shortest is \"1ms\"",
            ));
        }
        if u32::try_from(duration.as_millis()).is_err() {
            return Err(refuse(&found, "is too long; the longest is \"49days\""));
        }
        Ok(duration)
    }

    pub(in crate::config) fn serialize<S>(value: &Duration, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        humantime::format_duration(*value)
            .to_string()
            .serialize(output)
    }

    fn refuse<E: Error>(found: &Found, reason: &str) -> E {
        E::custom(format_args!("{found} {reason}"))
    }
}

/// `"64KiB"`, `"4MiB"`, `"1MB"` or a number of bytes.
pub(super) mod size {
    use bytesize::ByteSize;
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::found;

    /// Far above any sensible limit, and far below where sums of sizes overflow.
    const LARGEST: ByteSize = ByteSize::tib(1);

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<usize, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        let size = found
            .integer()
            .map(ByteSize::b)
            .or_else(|| found.text()?.parse().ok())
            .ok_or_else(|| {
                Error::custom(format_args!(
                    "{found} is not a size; write \"64KiB\", \"4MiB\" or a number of bytes"
                ))
            })?;
        usize::try_from(size.as_u64())
            .ok()
            .filter(|_| size <= LARGEST)
            .ok_or_else(|| {
                Error::custom(format_args!(
                    "{found} is too large; the largest is \"1TiB\""
                ))
            })
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(in crate::config) fn serialize<S>(value: &usize, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units
            .iter()
            .find(|(bytes, _)| *value > 0 && value.is_multiple_of(*bytes))
        {
            Some((bytes, unit)) => format!("{}{unit}", value / bytes).serialize(output),
            None => value.serialize(output),
        }
    }
}

/// A whole number of things.
pub(super) mod count {
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::found;

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<usize, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        found
            .integer()
            .and_then(|number| u32::try_from(number).ok())
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| {
                Error::custom(format_args!(
                    "{found} is not a count; write a whole number from 0 to {}",
                    u32::MAX
                ))
            })
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(in crate::config) fn serialize<S>(value: &usize, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        value.serialize(output)
    }
}

/// `"host:port"`, or the empty string for none.
pub(super) mod address {
    use std::net::SocketAddr;

    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::found;

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<Option<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        match found.text() {
            Some("") => Ok(None),
            Some(text) if is_address(text) => Ok(Some(text.to_owned())),
            _ => Err(Error::custom(format_args!(
                "{found} is not an address; write \"host:port\" such as \"127.0.0.1:61613\", \
                 \"0.0.0.0:61613\" for every interface, \"[::1]:61613\" for IPv6, or \"\" for off"
            ))),
        }
    }

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(in crate::config) fn serialize<S>(
        value: &Option<String>,
        output: S,
    ) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        value.as_deref().unwrap_or_default().serialize(output)
    }

    /// True for a socket address and for `name:port`. The name is not resolved: that is the binding's.
    fn is_address(text: &str) -> bool {
        let is_named = || {
            text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
                    && port.bytes().all(|byte| byte.is_ascii_digit())
                    && port.parse::<u16>().is_ok()
            })
        };
        text.parse::<SocketAddr>().is_ok() || is_named()
    }
}

/// An array of strings, or one string split at commas.
pub(super) mod list {
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::found;

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<Vec<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        found.list().ok_or_else(|| {
            Error::custom(format_args!(
                "{found} is not a list; write [\"a\", \"b\"] or \"a,b\""
            ))
        })
    }

    pub(in crate::config) fn serialize<S>(value: &[String], output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        value.serialize(output)
    }
}

/// One word of a [`Choice`].
pub(super) mod choice {
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::{Choice, found};

    pub(in crate::config) fn deserialize<'de, D, T>(input: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: Choice,
    {
        let found = found(input)?;
        let word = found.text();
        T::WORDS
            .iter()
            .find(|(known, _)| Some(*known) == word)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let known: Vec<_> = T::WORDS
                    .iter()
                    .map(|(word, _)| format!("{word:?}"))
                    .collect();
                Error::custom(format_args!(
                    "{found} is not known; allowed: {}",
                    known.join(", ")
                ))
            })
    }

    pub(in crate::config) fn serialize<S, T>(value: &T, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Choice,
    {
        let word = T::WORDS.iter().find(|(_, meaning)| meaning == value);
        word.map_or("", |(word, _)| word).serialize(output)
    }
}

/// A log level, or directives such as `"info,stompd::connection=debug"`.
pub(super) mod level {
    use serde::{Deserializer, Serialize, Serializer, de::Error};
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};

    use super::found;

    pub(in crate::config) fn deserialize<'de, D>(input: D) -> Result<String, D::Error>
    where
        D: Deserializer<'de>,
    {
        let found = found(input)?;
        match found.text() {
            Some(text) if is_filter(text) => Ok(text.to_owned()),
            _ => Err(Error::custom(format_args!(
                "{found} is not a log level; write \"off\", \"error\", \"warn\", \"info\", \"debug\", \
                 \"trace\" or directives such as \"info,stompd::connection=debug\""
            ))),
        }
    }

    pub(in crate::config) fn serialize<S>(value: &str, output: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        value.serialize(output)
    }

    /// A bare word must be a level: `EnvFilter` would take a misspelt one for a target and stay silent.
    fn is_filter(text: &str) -> bool {
        let is_directive =
            |part: &str| part.contains(['=', '[', '{', '}']) || part.parse::<LevelFilter>().is_ok();
        text.split(',')
            .map(str::trim)
            .all(|part| !part.is_empty() && is_directive(part))
            && EnvFilter::builder().parse(text).is_ok()
    }
}

/// A value as it was found; its `Display` is how a refusal quotes it.
struct Found(ValueKind);

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
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A list of strings, or text split at commas; empty text is an empty list.
    fn list(&self) -> Option<Vec<String>> {
        match &self.0 {
            ValueKind::String(text) if text.trim().is_empty() => Some(Vec::new()),
            ValueKind::String(text) => {
                Some(text.split(',').map(|part| part.trim().to_owned()).collect())
            }
            ValueKind::Array(values) => values
                .iter()
                .map(|value| match &value.kind {
                    ValueKind::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
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

fn found<'de, D>(input: D) -> Result<Found, D::Error>
where
    D: Deserializer<'de>,
    D::Error: de::Error,
{
    Ok(Found(Value::deserialize(input)?.kind))
}
