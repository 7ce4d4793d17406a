//! The values that are given for variables, with where each was said.

use std::path::Path;

use almaplan_engine::encoding;
use serde_json::Value;
use toml::de::DeTable;

use crate::cli::VarArgs;
use crate::diagnose::{GivenBy, Refusal, VarsError};

/// Values that replace those of `[vars]`, those that win last.
#[derive(Default)]
pub struct Values {
    /// Each with the name of its variable.
    pub overrides: Vec<(String, Value)>,
    /// Where each was said.
    pub given: Vec<GivenBy>,
}

impl Values {
    /// From the command line, and the files that it names.
    ///
    /// # Errors
    /// A file cannot be read, or is no TOML.
    pub fn of(args: &VarArgs) -> Result<Self, Refusal> {
        let mut values = Self::default();
        for file in &args.vars {
            values.read(file).map_err(|source| Refusal::BadVars { file: file.clone(), source })?;
        }
        for var in &args.var {
            values.overrides.push((var.name.clone(), Value::from(var.value.clone())));
            values.given.push(GivenBy { name: var.name.clone(), source: format!("--var {}={}", var.name, var.value) });
        }
        Ok(values)
    }

    fn read(&mut self, file: &Path) -> Result<(), VarsError> {
        let text = encoding::read(file)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| VarsError::no_toml(&text, &error))?;
        let places = DeTable::parse(&text).map_err(|error| VarsError::no_toml(&text, &error))?;
        for (name, value) in table {
            let start = places.get_ref().get_key_value(name.as_str()).map_or(0, |(key, _)| key.span().start);
            let line = text[..start].matches('\n').count() + 1;
            self.given.push(GivenBy { name: name.clone(), source: format!("{}:{line}", file.display()) });
            self.overrides.push((name, serde_json::to_value(value)?));
        }
        Ok(())
    }
}
