//! What this program is asked for: its own options, and those that every test program is given.

use std::ops::Range;

use crate::sample;

/// The one test, as `--list` tells it and a filter finds it.
pub const NAME: &str = "every_seed_keeps_the_rules_of_a_run";

/// How many seeds are run where everything is to be tried.
const WHOLE: u64 = 20_000;
/// How many are run where nobody says.
const SAMPLE: u64 = 5_000;

#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    List,
    /// The test was filtered out.
    Nothing,
    Seed(u64),
    Seeds(Range<u64>),
}

/// # Errors
/// An option without its number.
pub fn asked(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut from, mut count, mut seed) = (None, None, None);
    let (mut list, mut ignored, mut exact) = (false, false, false);
    let (mut filters, mut skips) = (Vec::new(), Vec::new());
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, given) = arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let mut value = || given.clone().or_else(|| args.next()).ok_or_else(|| format!("`{name}` needs a value"));
        match name {
            "--seed" => seed = Some(number(name, &value()?)?),
            "--seeds" => count = Some(number(name, &value()?)?),
            "--from" => from = Some(number(name, &value()?)?),
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--exact" => exact = true,
            "--skip" => skips.push(value()?),
            "--format" | "--test-threads" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => drop(value()?),
            _ if name.starts_with('-') => {}
            _ => filters.push(arg),
        }
    }
    let fits = |filter: &String| if exact { NAME == filter } else { NAME.contains(filter.as_str()) };
    let wanted = !ignored && (filters.is_empty() || filters.iter().any(fits)) && !skips.iter().any(fits);
    Ok(match seed {
        _ if !wanted => Asked::Nothing,
        _ if list => Asked::List,
        Some(seed) => Asked::Seed(seed),
        None => Asked::Seeds(seeds(from, count)),
    })
}

/// The seeds that are asked for. Who does not say which gets a sample: other seeds each time, in blocks that do not overlap.
fn seeds(from: Option<u64>, count: Option<u64>) -> Range<u64> {
    let is_sample = from.is_none() && count.is_none() && !sample::is_whole();
    let count = count.unwrap_or(if is_sample { SAMPLE } else { WHOLE });
    let from = from.unwrap_or(if is_sample { sample::seed().saturating_mul(SAMPLE) } else { 0 });
    from..from.saturating_add(count)
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.replace('_', "").parse().map_err(|_| format!("`{name}` needs a number, not `{value}`"))
}
