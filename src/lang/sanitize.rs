//! What others wrote, as it may be put on a terminal.

use std::borrow::Cow;

use almaplan_engine::plan::is_invisible;

/// `text` as it may be put on a terminal: a step's output must not move the cursor, change colours or
/// seem to say something else.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in console::strip_ansi_codes(text).chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            c if c.is_control() => {}
            c if is_invisible(c) => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_prints_cannot_touch_the_terminal() {
        assert_eq!(sanitize("\u{1b}[2J\u{1b}[31mred\u{1b}[0m\rback\u{7}\tend"), "redback    end");
        assert_eq!(sanitize("\u{9b}2Jlot.\u{202e}piz"), "lot.\u{fffd}piz");
        assert_eq!(sanitize("ação"), "ação");
    }
}
