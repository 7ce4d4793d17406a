//! Inputs as people write them: durations (`2s`, `15m`) and sizes (`500MiB`, `2GB`).

use std::borrow::Cow;
use std::time::Duration as Time;

use almaplan_engine::plan::MOST_DURATION;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time, written like `250ms`, `2s` or `15m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Duration(pub Time);

impl Duration {
    /// This many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Time::from_millis(ms))
    }

    /// This many seconds.
    pub const fn s(s: u64) -> Self {
        Self(Time::from_secs(s))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let time = humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is no duration ({error}); write it like 30s or 15m")))?;
        // Clocks end somewhere: a deadline beyond that would take the process down.
        if time > MOST_DURATION { Err(D::Error::custom(format!("`{text}` is too long"))) } else { Ok(Self(time)) }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

/// A span of time that is so many milliseconds where it is not given, or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct DurationOr<const DEFAULT_MS: u64>(pub Time);

impl<const DEFAULT_MS: u64> Default for DurationOr<DEFAULT_MS> {
    fn default() -> Self {
        Self(Time::from_millis(DEFAULT_MS))
    }
}

impl<'de, const DEFAULT_MS: u64> Deserialize<'de> for DurationOr<DEFAULT_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Duration>::deserialize(deserializer)?.map_or_else(Self::default, |given| Self(given.0)))
    }
}

impl<const DEFAULT_MS: u64> Serialize for DurationOr<DEFAULT_MS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Duration(self.0).serialize(serializer)
    }
}

impl<const DEFAULT_MS: u64> JsonSchema for DurationOr<DEFAULT_MS> {
    fn schema_name() -> Cow<'static, str> {
        Option::<Duration>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<Duration>::json_schema(generator)
    }
}

/// A number of bytes, written as a number or like `500MiB` or `2GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Bytes(pub u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Number(u64),
            Text(Cow<'a, str>),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => {
                parse_bytes(&text).map(Self).ok_or_else(|| D::Error::custom(format!("`{text}` is no size; write it like 500MiB or 2GB")))
            }
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "bytes" })
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(scale),
        Err(_) => number.parse::<f64>().ok().map(|fraction| (fraction * scale as f64) as u64),
    }
}

/// A size as people read it.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |json: &str| serde_json::from_str::<Bytes>(json).map(|bytes| bytes.0).map_err(|error| error.to_string());
        assert_eq!(read("1024"), Ok(1024));
        assert_eq!(read("\"500MiB\""), Ok(500 << 20));
        assert_eq!(read("\"1.5 GB\""), Ok(1_500_000_000));
        assert!(read("\"many\"").unwrap_err().contains("500MiB"));
        assert!(read("\"99999999999999 TB\"").is_err());
    }

    #[test]
    fn a_duration_that_is_none_says_how_to_write_one() {
        let error = serde_json::from_str::<Duration>("\"soon\"").unwrap_err().to_string();
        assert!(error.contains("30s"), "{error}");
        assert_eq!(serde_json::from_str::<Duration>("\"15m\"").unwrap(), Duration::s(900));
    }
}
