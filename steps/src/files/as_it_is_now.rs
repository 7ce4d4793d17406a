//! Where a file that earlier steps copy is before they ran.

use std::path::{Path, PathBuf};

use almaplan_engine::preview::{Before, Found, Preview};

use super::Patterns;

/// Copies of copies that are followed.
pub(crate) const MOST_COPIES: usize = 8;

/// Where the content is that `path` will have once the steps `before` have run; a preview that says after which step it can be told where
/// that cannot be now.
pub(crate) fn as_it_is_now(before: &Before, path: &Path) -> Result<PathBuf, Box<Preview>> {
    let mut at = path.to_owned();
    for _ in 0..MOST_COPIES {
        match before.find(&at) {
            Found::Here => return Ok(at),
            Found::After(step) => return Err(Preview::after(step).into()),
            Found::Made(_) => return Err(Preview::default().into()),
            Found::Copied { from, rest, exclude } => {
                let name = rest.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
                let copied = from.join(&rest);
                let is_brought = Patterns::new(exclude).is_ok_and(|exclude| !exclude.covers(&name, copied.is_dir()));
                if !is_brought || (before.find(&copied) == Found::Here && copied.symlink_metadata().is_err()) {
                    return Ok(at);
                }
                at = copied;
            }
        }
    }
    Err(Preview::default().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use almaplan_engine::event::StepId;
    use almaplan_engine::preview::{Becomes, Change};

    use super::*;

    #[test]
    fn what_is_copied_is_where_it_is_now_unless_it_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("list"), "").unwrap();
        std::fs::write(from.join("app.db"), "").unwrap();
        let (freeze, copy) = (StepId::new("freeze"), StepId::new("copy"));
        let becomes = Becomes::CopyOf { from: from.clone(), exclude: vec!["*.db".to_owned()] };
        let copied = Change { path: to.clone(), becomes };
        let mut before = Before::default();
        before.add(&copy, [copied.clone()]);
        for (name, now) in [("list", &from), ("app.db", &to), ("not there", &to)] {
            assert_eq!(as_it_is_now(&before, &to.join(name)), Ok(now.join(name)), "{name}");
        }
        // What another step writes first cannot be told through the copy either.
        let mut before = Before::default();
        before.add(&freeze, [Change { path: from.join("list"), becomes: Becomes::Unknown }]);
        before.add(&copy, [copied]);
        assert_eq!(as_it_is_now(&before, &to.join("list")), Err(Preview::after(&freeze).into()));
    }
}
