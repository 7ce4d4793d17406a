//! What is said to people, as a key and values that the catalogue of any language puts in words.
//!
//! ```text
//!  CheckError::NoAnswer { path: "/", reason: HttpError::Late }  ──>  check-no-answer, path: "/", reason: http-late
//! ```
//!
//! The key is the name of the type and of its variant, the values are its fields. So whatever is said is an enumeration, whose English is
//! in its `#[error("…")]`: errors, and with the same derive also notes and the parts of a sentence. A new variant has a key by itself.

use std::fmt::Display;

use serde::ser::{Impossible, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, value::Serializer as Json};

/// Something to say, in no language yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// What it is: a key of the catalogues.
    pub key: String,
    /// What it is about: texts, numbers, lists, and further words.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Words {
    /// How `said` is said; `None` where it is a text already.
    pub fn of(said: &impl Serialize) -> Option<Self> {
        serde_json::from_value(said.serialize(ToWords).ok()?).ok()
    }
}

/// For `serialize_with`: a value in its own words, such as those of the system.
///
/// # Errors
/// Those of `serializer`.
pub fn verbatim<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The key of a variant of a type; of the type itself where it has none.
pub fn key(name: &str, variant: &str) -> String {
    let mut key = String::new();
    for part in [name.strip_suffix("Error").unwrap_or(name), variant] {
        for c in part.chars() {
            if c.is_uppercase() && !key.is_empty() {
                key.push('-');
            }
            key.extend(c.to_lowercase());
        }
    }
    key
}

/// Makes [`Words`], as JSON, of whatever has a name, and plain values of the rest.
struct ToWords;

/// The fields of a struct or of a variant.
struct Fields(Map<String, Value>);

impl Fields {
    fn new(key: String) -> Self {
        Self(Map::from_iter([("key".to_owned(), key.into())]))
    }

    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        self.0.insert(name.to_owned(), value.serialize(ToWords)?);
        Ok(())
    }
}

macro_rules! plain {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, value: $type) -> Result<Value, Self::Error> {
            Json.$method(value)
        })*
    };
}

impl Serializer for ToWords {
    type Ok = Value;
    type Error = serde_json::Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Impossible<Value, Self::Error>;
    type SerializeTupleVariant = Impossible<Value, Self::Error>;
    type SerializeMap = <Json as Serializer>::SerializeMap;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    plain! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_f32(f32) serialize_f64(f64)
    }

    fn serialize_none(self) -> Result<Value, Self::Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Self::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Self::Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Value, Self::Error> {
        Ok(Value::Object(Fields::new(key(name, "")).0))
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<Value, Self::Error> {
        Ok(Value::Object(Fields::new(key(name, variant)).0))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Self::Error> {
        let mut fields = Fields::new(key(name, variant));
        fields.add("value", value)?;
        Ok(Value::Object(fields.0))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Self::Error> {
        Ok(Items(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items, Self::Error> {
        Ok(Items(Vec::new()))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Self::Error> {
        Err(nameless(name))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Self::Error> {
        Err(nameless(variant))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
        Json.serialize_map(len)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, Self::Error> {
        Ok(Fields::new(key(name, "")))
    }

    fn serialize_struct_variant(self, name: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Fields, Self::Error> {
        Ok(Fields::new(key(name, variant)))
    }
}

fn nameless(of: &str) -> serde_json::Error {
    serde::ser::Error::custom(format!("the values of {of} have no names"))
}

/// The items of a list.
struct Items(Vec<Value>);

impl SerializeSeq for Items {
    type Ok = Value;
    type Error = serde_json::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        self.0.push(value.serialize(ToWords)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Self::Error> {
        Ok(Value::Array(self.0))
    }
}

impl SerializeTuple for Items {
    type Ok = Value;
    type Error = serde_json::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Value, Self::Error> {
        SerializeSeq::end(self)
    }
}

impl SerializeStruct for Fields {
    type Ok = Value;
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Self::Error> {
        self.add(name, value)
    }

    fn end(self) -> Result<Value, Self::Error> {
        Ok(Value::Object(self.0))
    }
}

impl SerializeStructVariant for Fields {
    type Ok = Value;
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Self::Error> {
        self.add(name, value)
    }

    fn end(self) -> Result<Value, Self::Error> {
        Ok(Value::Object(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum OuterError {
        NotUtf8 {
            path: &'static str,
            #[serde(serialize_with = "verbatim")]
            source: io::Error,
        },
        Inner(InnerFault),
        Several {
            faults: Vec<InnerFault>,
            waited: Option<u32>,
        },
        Said(Words),
    }

    #[derive(Serialize)]
    enum InnerFault {
        Late,
    }

    #[test]
    fn a_key_is_the_name_of_a_type_and_its_variant_and_the_values_are_its_fields() {
        let words = |said: &OuterError| serde_json::to_value(Words::of(said)).unwrap();
        let source = io::Error::other("refused");
        let inner = json!({ "key": "inner-fault-late" });
        let not_utf8 = words(&OuterError::NotUtf8 { path: "/a", source });
        assert_eq!(not_utf8, json!({ "key": "outer-not-utf8", "path": "/a", "source": "refused" }));
        assert_eq!(words(&OuterError::Inner(InnerFault::Late)), json!({ "key": "outer-inner", "value": inner }));
        let several = words(&OuterError::Several { faults: vec![InnerFault::Late], waited: None });
        assert_eq!(several, json!({ "key": "outer-several", "faults": [inner], "waited": null }));
        let again = OuterError::Said(serde_json::from_value(not_utf8.clone()).unwrap());
        assert_eq!(words(&again), json!({ "key": "outer-said", "value": not_utf8 }));
    }

    #[test]
    fn what_is_a_text_already_stays_one() {
        assert_eq!(Words::of(&"refused"), None);
        assert_eq!(Words::of(&format!("{} refused", 1)), None);
    }
}
