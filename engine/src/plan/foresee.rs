//! Conditions before the run, when not every output that they name is known: decided where what is known is enough.
//!
//! `a and b` is false where one of them is, `a or b` true where one is, and an output that is never null is not null before it is known.

use super::fault::TemplateError;
use super::refer::{self, Joined, Root};
use super::template::{Scope, Templates};

/// What is known of an output before the step that leaves it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Its value.
    Known,
    /// That it will be there, and not null.
    NotNull,
    /// Nothing.
    Unknown,
}

/// What is known of the output of a step.
pub(crate) type Known<'a> = &'a dyn Fn(&str, &str) -> Knowledge;

/// Parts within parts that are looked into.
const MOST_DEPTH: usize = 16;

/// Whether the condition `when` holds; `None` where that depends on what is not known. `scope` gives the outputs that are.
///
/// # Errors
/// It cannot be evaluated.
pub(crate) fn decide(templates: &Templates, when: &str, scope: &Scope<'_>, known: Known<'_>) -> Result<Option<bool>, TemplateError> {
    decide_within(templates, when, scope, known, MOST_DEPTH)
}

fn decide_within(
    templates: &Templates,
    when: &str,
    scope: &Scope<'_>,
    known: Known<'_>,
    depth: usize,
) -> Result<Option<bool>, TemplateError> {
    if unknown_outputs(when, known).is_empty() {
        return templates.truth(when, scope).map(Some);
    }
    if let Some((step, output, is_null)) = refer::null_test(when)
        && known(&step, &output) == Knowledge::NotNull
    {
        return Ok(Some(!is_null));
    }
    let Some((joined, parts)) = refer::joined(when).filter(|_| depth > 0) else { return Ok(None) };
    // One part that has this value decides.
    let decisive = joined == Joined::Or;
    let mut all = Some(!decisive);
    for part in parts {
        match decide_within(templates, part, scope, known, depth - 1)? {
            Some(value) if value == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => all = None,
        }
    }
    Ok(all)
}

/// The outputs that a condition names and that are not known, each once, as they are written.
pub(crate) fn unknown_outputs(when: &str, known: Known<'_>) -> Vec<String> {
    unknown(refer::parse_when(when).references, known)
}

/// The outputs that the templates in `with` name and that are not known, each once, as they are written.
pub(crate) fn unknown_in(with: &serde_json::Value, known: Known<'_>) -> Vec<String> {
    unknown(refer::templates_in(with).flat_map(|parsed| parsed.references).collect(), known)
}

fn unknown(references: Vec<refer::Reference>, known: Known<'_>) -> Vec<String> {
    let of_steps = references.into_iter().filter(|reference| reference.root == Root::Steps);
    let unknown = of_steps.filter(|reference| known(&reference.path[0], &reference.path[1]) != Knowledge::Known);
    let mut names: Vec<String> =
        unknown.map(|reference| format!("steps{}{}", refer::step_of(&reference.path[0]), refer::step_of(&reference.path[1]))).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::super::ValueInputs;
    use super::*;

    /// What is known of `when`, where `steps.a.yes` is true, `steps.a.n` is 3, `steps.b.pid` will be there, and `steps.b.maybe` is not known.
    fn decided(when: &str) -> Option<bool> {
        let templates = Templates::new(ValueInputs::default());
        let outputs = |id: &str| if id == "a" { json!({ "yes": true, "n": 3 }) } else { Value::Null };
        let scope = Scope { outputs: &outputs, outcome: None };
        let known = |step: &str, output: &str| match (step, output) {
            ("a", _) => Knowledge::Known,
            (_, "pid") => Knowledge::NotNull,
            _ => Knowledge::Unknown,
        };
        decide(&templates, when, &scope, &known).unwrap()
    }

    #[test]
    fn a_condition_is_decided_where_what_is_known_is_enough() {
        assert_eq!(decided("steps.a.yes and steps.a.n == 3"), Some(true));
        assert_eq!(decided("steps.a.yes or steps.b.maybe"), Some(true));
        assert_eq!(decided("not steps.a.yes and steps.b.maybe"), Some(false));
        assert_eq!(decided("steps.b.maybe and steps.a.n == 4"), Some(false));
        assert_eq!(decided("(steps.b.maybe or steps.a.yes) and steps.a.n > 2"), Some(true));
        assert_eq!(decided("steps.a.n > 5 or (steps.b.maybe and steps.a.n > 5)"), Some(false));
    }

    #[test]
    fn nothing_is_guessed() {
        for when in ["steps.b.maybe", "steps.a.yes and steps.b.maybe", "steps.b.maybe == 1 or steps.a.n > 5", "not steps.b.maybe"] {
            assert_eq!(decided(when), None, "{when}");
        }
        // Null counts as missing: it is not known whether it is.
        assert_eq!(decided("steps.b.maybe | default(false, true)"), None);
        assert_eq!(decided("steps.b.maybe is none"), None);
        assert_eq!(decided("steps.b.pid == 7"), None);
    }

    #[test]
    fn what_will_be_there_is_not_null() {
        assert_eq!(decided("steps.b.pid is not none"), Some(true));
        assert_eq!(decided("steps.b.pid is none"), Some(false));
        assert_eq!(decided("steps.a.n == 3 and steps.b.pid is not none"), Some(true));
        assert_eq!(decided("not steps.b.pid is none"), Some(true));
        assert_eq!(decided("steps.b.pid | default(1) is not none"), None);
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let known = |_: &str, output: &str| if output == "n" { Knowledge::Known } else { Knowledge::Unknown };
        let with = json!({ "a": "{{ steps.x.dir }}/{{ steps.x.n }}", "b": ["{{ steps['a b'].c }}", "{{ steps.x.dir }}"] });
        assert_eq!(unknown_in(&with, &known), ["steps.x.dir", "steps[\"a b\"].c"]);
    }
}
