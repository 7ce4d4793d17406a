//! The characters of a page, from its bytes.

use std::sync::LazyLock;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use regex::bytes::Regex;

/// How much of a page is searched for what it says of itself, in bytes: what browsers search (HTML, "prescan a byte stream").
const SEARCHED: usize = 1024;

/// The text of a body, as browsers read it: a byte order mark says most, then the `charset` of its `Content-Type`, then what the page
/// says of itself, then UTF-8; what is not even that is taken for Windows-1252, which ISO-8859-1 means on the web.
pub(super) fn text(body: &[u8], content_type: Option<&str>) -> String {
    match content_type.and_then(labelled).or_else(|| says_itself(body)) {
        Some(encoding) => encoding.decode(body).0.into_owned(),
        None => match UTF_8.decode(body) {
            (text, _, false) => text.into_owned(),
            (_, _, true) => WINDOWS_1252.decode(body).0.into_owned(),
        },
    }
}

/// The encoding that a `Content-Type` names.
fn labelled(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, label) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes())
}

/// The encoding that a page names in its own `<meta>` or XML declaration.
fn says_itself(body: &[u8]) -> Option<&'static Encoding> {
    static NAMED: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?i)<(?:meta\s[^>]*charset|\?xml\s[^>]*encoding)\s*=\s*["']?\s*([a-z0-9_:-]+)"#;
        Regex::new(pattern).expect("the pattern is constant")
    });
    let found = NAMED.captures(&body[..body.len().min(SEARCHED)])?;
    Encoding::for_label(&found[1]).map(Encoding::output_encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_says_that_it_is_written() {
        let latin = b"<p>Sa\xedda</p>";
        for (body, content_type) in [
            ("<p>Saída</p>".as_bytes().to_vec(), None),
            ("\u{feff}<p>Saída</p>".as_bytes().to_vec(), Some("text/html; charset=iso-8859-1")),
            (latin.to_vec(), Some("text/html; charset=iso-8859-1")),
            (latin.to_vec(), Some("text/html;Charset=\"ISO-8859-1\"")),
            (latin.to_vec(), Some("text/html")),
            (almaplan_engine::encoding::encode("\u{feff}<p>Saída</p>", encoding_rs::UTF_16LE), None),
        ] {
            assert_eq!(text(&body, content_type), "<p>Saída</p>", "{content_type:?}");
        }
        let own = b"<html><meta charset=\"iso-8859-15\"><p>1 \xa4</p>";
        assert!(text(own, None).ends_with("<p>1 €</p>"));
        let own = b"<?xml version=\"1.0\" encoding='iso-8859-15'?><p>1 \xa4</p>";
        assert!(text(own, Some("text/xml")).ends_with("<p>1 €</p>"));
    }
}
