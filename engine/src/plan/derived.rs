//! What templates make of secrets is as secret as they are: `{{ secrets.token | upper }}` is masked, too.
//!
//! What depends on a secret is found by rendering the template once more with other ones: what comes out otherwise was made of them.

use std::sync::{Arc, Mutex};

use minijinja::Environment;
use serde_json::Value;

use super::refer::{Parsed, Root};
use super::template::{ENVIRONMENT, Room, Scope, Templates, caught, fits, to_json};
use crate::redact::SHORTEST_PIECE;

const NO_PANIC: &str = "no code panics while it holds this lock";

impl Templates {
    /// Masks what `text` gives that depends on a secret, from now on. A secret as it is needs no more.
    pub(super) fn mask_derived(&self, text: &str, parsed: &Parsed, scope: &Scope<'_>) {
        let has_secrets = parsed.references.iter().any(|reference| reference.root == Root::Secrets);
        if !has_secrets || parsed.bare {
            return;
        }
        let given = self.texts_of(text, parsed, scope);
        let otherwise = self.with_other_secrets().texts_of(text, parsed, scope);
        let depends = |at: usize, given: &String| otherwise.get(at) != Some(given);
        let derived = given.iter().enumerate().filter(|(at, given)| depends(*at, given)).map(|(_, given)| given.as_str());
        self.mask().add(derived.filter(|text| text.chars().count() >= SHORTEST_PIECE));
    }

    /// The texts that a template gives: what each of its expressions does and all of it together, or those in the value that it is.
    /// None where it cannot be rendered.
    fn texts_of(&self, text: &str, parsed: &Parsed, scope: &Scope<'_>) -> Vec<String> {
        let context = self.context(&parsed.references, scope);
        let mut texts = Vec::new();
        if let Some(whole) = &parsed.whole {
            let value = caught(|| ENVIRONMENT.compile_expression_owned(text[whole.clone()].to_owned())?.eval(context));
            if let Some(value) = value.ok().and_then(|value| to_json(&value, &mut Room::default(), 0).ok()) {
                collect(&value, &mut texts);
            }
            return texts;
        }
        let (listening, heard) = listening();
        let all = caught(|| listening.render_str(text, context));
        texts.append(&mut heard.lock().expect(NO_PANIC));
        texts.extend(all.ok().filter(|_| texts.iter().any(|text| text.chars().count() < SHORTEST_PIECE)));
        texts
    }

    /// The same with each character of each secret another one.
    fn with_other_secrets(&self) -> Self {
        let mut inputs = self.inputs().clone();
        for secret in inputs.secrets.values_mut().flatten() {
            *secret = secret.chars().map(|c| if c == 'x' { 'y' } else { 'x' }).collect();
        }
        Self::new(inputs)
    }
}

/// An environment that notes the text of each expression.
fn listening() -> (Environment<'static>, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    let mut environment = ENVIRONMENT.clone();
    environment.set_formatter(move |out, state, value| {
        fits(value)?;
        notes.lock().expect(NO_PANIC).push(value.to_string());
        minijinja::escape_formatter(out, state, value)
    });
    (environment, heard)
}

/// Every text in `value`.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            texts.push(name.clone());
            collect(field, texts);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::super::ValueInputs;
    use super::*;

    /// What is shown of `shown` after `with` was rendered, where the secret is `Kanarienvogel-Z7`.
    fn shown(with: &Value, shown: &str) -> String {
        let secrets = [("pw".to_owned(), Some("Kanarienvogel-Z7".to_owned()))].into();
        let templates = Templates::new(ValueInputs { secrets, ..ValueInputs::default() });
        templates.render(with, &Scope::NO_OUTPUTS).unwrap();
        templates.mask().text(shown).into_owned()
    }

    #[test]
    fn what_is_made_of_a_secret_is_masked() {
        for (template, made) in [
            ("U {{ secrets.pw | upper }}", "KANARIENVOGEL-Z7"),
            ("{{ secrets.pw | upper }}", "KANARIENVOGEL-Z7"),
            ("{{ secrets.pw | reverse }} R", "7Z-legovneiranaK"),
            ("{{ secrets.pw[:12] }}", "Kanarienvoge"),
            ("J {{ secrets.pw | list | join(' ') }}", "K a n a r i e n v o g e l - Z 7"),
            ("{{ secrets.pw | replace('-', '_') }}", "Kanarienvogel_Z7"),
            ("{{ [secrets.pw | lower] }}", "kanarienvogel-z7"),
            ("{% for c in secrets.pw %}{{ c }}.{% endfor %}", "K.a.n.a.r.i.e.n.v.o.g.e.l.-.Z.7."),
            ("{% if secrets.pw %}{{ secrets.pw | title }}{% endif %}", "Kanarienvogel-Z7"),
            ("{{ secrets.pw | lower }}:{{ plan.name }}", "kanarienvogel-z7"),
        ] {
            assert_eq!(shown(&json!({ "args": [template] }), &format!("it says {made} here")), "it says *** here", "{template}");
        }
    }

    // A word that a plan chooses where there is a secret is no secret, and is on every other line.
    #[test]
    fn what_does_not_depend_on_what_a_secret_is_stays_readable() {
        for template in ["{{ 'production' if secrets.pw else 'staging' }}", "a {{ 'production' if secrets.pw }} {{ secrets.pw | upper }}"] {
            assert_eq!(shown(&json!(template), "in production"), "in production", "{template}");
        }
        assert_eq!(shown(&json!("{{ secrets.pw | length }}"), "16 files"), "16 files");
        assert_eq!(shown(&json!("{{ secrets.pw[:2] }}"), "Ka"), "Ka");
    }
}
