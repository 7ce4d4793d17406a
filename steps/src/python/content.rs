//! What is in a file or folder that packages are built from, as one hash: the same content, wherever it is, has the same one.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that belong to tools, not to a package.
const FOLDERS_OF_TOOLS: [&str; 10] =
    ["__pycache__", ".git", ".hg", ".svn", ".bzr", ".tox", ".nox", ".pytest_cache", ".mypy_cache", ".ruff_cache"];
/// What is in every virtual environment: one inside of a package is no part of it.
const ENVIRONMENT: &str = "pyvenv.cfg";

/// The hash of the file or folder `path`. What building a package leaves in its folder does not count.
///
/// # Errors
/// Something cannot be read.
pub(super) fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    if fs::metadata(path)?.is_dir() {
        add_folder(&mut hasher, path, true, &mut HashSet::new())?;
    } else {
        add_file(&mut hasher, path)?;
    }
    Ok(hasher.finalize())
}

fn add_file(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
    let content = fs::read(path)?;
    hasher.update(&(content.len() as u64).to_le_bytes());
    hasher.update(&content);
    Ok(())
}

/// Links are followed, as building a package follows them; `above` are the folders that this one is in, so that none is entered twice.
fn add_folder(hasher: &mut blake3::Hasher, folder: &Path, is_top: bool, above: &mut HashSet<PathBuf>) -> io::Result<()> {
    let real = fs::canonicalize(folder)?;
    if !above.insert(real.clone()) {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { continue };
        let is_folder = path.is_dir();
        if is_left_by_tools(&path, &name, is_folder, is_top) {
            continue;
        }
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&[u8::from(is_folder)]);
        if is_folder {
            add_folder(hasher, &path, false, above)?;
        } else if path.is_file() {
            add_file(hasher, &path)?;
        }
    }
    // Where a folder ends: `a/b` and `c` is not `a/b/c`.
    hasher.update(&u64::MAX.to_le_bytes());
    above.remove(&real);
    Ok(())
}

fn is_left_by_tools(path: &Path, name: &str, is_folder: bool, is_top: bool) -> bool {
    if !is_folder {
        return name.ends_with(".pyc");
    }
    // setuptools builds there, and finds it again next time.
    let is_build = is_top && name == "build" && ["lib", "bdist.", "temp."].iter().any(|begin| has_entry(path, begin));
    FOLDERS_OF_TOOLS.contains(&name) || name.ends_with(".egg-info") || is_build || path.join(ENVIRONMENT).is_file()
}

fn has_entry(folder: &Path, begin: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(begin))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn a_folder_is_known_by_its_content_and_not_by_what_tools_leave_in_it() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            create_dir_all(folder.path().join("lib/sub")).unwrap();
            write(folder.path().join("lib/sub/a.py"), "1").unwrap();
        }
        let same = hash(one.path()).unwrap();
        assert_eq!(same, hash(two.path()).unwrap());
        for left in
            ["lib/__pycache__/a.cpython-314.pyc", "build/lib/a.py", "x.egg-info/PKG-INFO", ".git/HEAD", ".venv/pyvenv.cfg", "lib/b.pyc"]
        {
            create_dir_all(two.path().join(left).parent().unwrap()).unwrap();
            write(two.path().join(left), "left").unwrap();
            assert_eq!(same, hash(two.path()).unwrap(), "{left}");
        }
        for part in ["lib/build/a.py", "lib/sub/b.py", "c.txt", "lib/sub/a.py"] {
            let before = hash(two.path()).unwrap();
            create_dir_all(two.path().join(part).parent().unwrap()).unwrap();
            write(two.path().join(part), "part").unwrap();
            assert_ne!(before, hash(two.path()).unwrap(), "{part}");
        }
        assert_ne!(hash(&one.path().join("lib/sub/a.py")).unwrap(), hash(&two.path().join("lib/sub/a.py")).unwrap());
        assert!(hash(&one.path().join("nothing")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_a_circle_of_them_ends() {
        let folder = tempfile::tempdir().unwrap();
        create_dir_all(folder.path().join("lib")).unwrap();
        write(folder.path().join("shared.py"), "1").unwrap();
        std::os::unix::fs::symlink("../shared.py", folder.path().join("lib/shared.py")).unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("lib/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("lib/dangling")).unwrap();
        let before = hash(&folder.path().join("lib")).unwrap();
        write(folder.path().join("shared.py"), "2").unwrap();
        assert_ne!(before, hash(&folder.path().join("lib")).unwrap());
    }
}
