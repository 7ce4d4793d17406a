//! What an environment is asked to hold: a requirements file, a `pylock.toml`, or the dependencies of a `pyproject.toml`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::{Table, Value};

use super::requirements::{Asks, Requirement, listed, requirements};
use super::{Interpreter, PythonError, Unsaid, content};

/// Everything that decides what is in an environment, but for the interpreter and the installer.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The file that says it.
    pub(crate) file: PathBuf,
    /// How it says so.
    pub(crate) form: Form,
    /// Everything that it asks for.
    pub(crate) requirements: Vec<Requirement>,
    /// The versions of Python that it is for, where it says.
    pub(crate) python: Option<String>,
}

/// How a file says what is to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As pip's requirements files do.
    List,
    /// As a lock file (PEP 751): all packages with their versions and hashes.
    Lock,
    /// As the metadata of a project (PEP 621): its own dependencies.
    Project,
}

/// One thing that must be in an environment, for the proof.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Item {
    Package {
        r#where: String,
        requirement: String,
    },
    Path {
        r#where: String,
        path: PathBuf,
        /// Its condition may not be met here, or it only limits.
        optional: bool,
    },
    Address {
        r#where: String,
        url: String,
        optional: bool,
    },
    Checkout {
        r#where: String,
        commit: String,
        optional: bool,
    },
    Python {
        r#where: String,
        versions: String,
    },
}

impl Wanted {
    /// What `file` asks for.
    ///
    /// # Errors
    /// It, or a file that it includes, cannot be read or understood.
    pub(crate) fn read(file: &Path) -> Result<Self, PythonError> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_lock = name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml"));
        // Paths in a requirements file are relative to the folder that pip runs in.
        let cwd = file.parent().unwrap_or(Path::new(""));
        let (form, requirements, python) = match name.as_str() {
            "pyproject.toml" => {
                let (requirements, python) = project(file, &table(file)?)?;
                (Form::Project, requirements, python)
            }
            _ if is_lock => {
                let table = table(file)?;
                let python = table.get("requires-python").and_then(Value::as_str).map(str::to_owned);
                (Form::Lock, locked(file, &table), python)
            }
            _ => (Form::List, requirements(file, cwd)?, None),
        };
        Ok(Self { file: file.to_owned(), form, requirements, python })
    }

    /// What it asks for that may be something else tomorrow, although it is asked for in the same words.
    ///
    /// # Errors
    /// There is some.
    pub(crate) fn refuse_what_moves(&self) -> Result<(), PythonError> {
        match self.requirements.iter().find_map(|line| Some((line.moves()?, line))) {
            None => Ok(()),
            Some((why, line)) => Err(PythonError::Moves { line: line.to_string(), why }),
        }
    }

    /// The folder that an installer runs in.
    pub(crate) fn cwd(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// What names an environment with this in it: 64 hexadecimal digits. The content of files and folders is part of it, where they are
    /// is not.
    ///
    /// # Errors
    /// A file or folder that is asked for cannot be read.
    pub(crate) fn key(&self, interpreter: &Interpreter, installer: &str) -> Result<String, PythonError> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        let Interpreter { version, executable, base, platform, abi } = interpreter;
        // Another number for each change of what an environment is.
        ["2", installer, version, executable, base, platform, abi].into_iter().for_each(&mut add);
        add(self.python.as_deref().unwrap_or_default());
        let is_include = |line: &&Requirement| line.asks == Asks::Include;
        for line in self.requirements.iter().filter(|line| !is_include(line)) {
            add(if line.constraint { "constraint" } else { "requirement" });
            match &line.asks {
                Asks::Package { requirement, options } => [requirement, options].into_iter().for_each(|text| add(text)),
                Asks::Address { url, rest } | Asks::Checkout { url, rest, .. } => [url, rest].into_iter().for_each(|text| add(text)),
                Asks::Path { path, rest } => {
                    let hash = content::hash(path);
                    let hash = hash.map_err(|reason| PythonError::Requirements { file: path.clone(), reason })?;
                    [hash.to_hex().as_str(), rest].into_iter().for_each(&mut add);
                }
                Asks::Setting => add(&line.text),
                Asks::Editable | Asks::Include | Asks::IncludeAddress => {}
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The names and versions of a list that an installer of this form does not read itself.
    pub(crate) fn as_list(&self) -> Option<String> {
        let package = |line: &Requirement| match &line.asks {
            Asks::Package { requirement, .. } => Some(requirement.clone()),
            _ => Some(line.text.clone()),
        };
        (self.form == Form::Project).then(|| self.requirements.iter().filter_map(package).map(|line| line + "\n").collect())
    }

    /// What must be in the environment.
    pub(crate) fn items(&self) -> Vec<Item> {
        let python = self.python.clone().map(|versions| Item::Python { r#where: self.file.display().to_string(), versions });
        self.requirements.iter().filter_map(Requirement::item).chain(python).collect()
    }
}

impl Requirement {
    fn item(&self) -> Option<Item> {
        let r#where = self.to_string();
        let optional = |rest: &str| self.constraint || rest.contains(';');
        match &self.asks {
            Asks::Package { .. } if self.constraint => None,
            Asks::Package { requirement, .. } => Some(Item::Package { r#where, requirement: requirement.clone() }),
            Asks::Path { path, rest } => Some(Item::Path { r#where, path: path.clone(), optional: optional(rest) }),
            Asks::Address { url, rest } => Some(Item::Address { r#where, url: url.clone(), optional: optional(rest) }),
            Asks::Checkout { revision, rest, .. } => {
                Some(Item::Checkout { r#where, commit: revision.clone().unwrap_or_default(), optional: optional(rest) })
            }
            Asks::Editable | Asks::Include | Asks::IncludeAddress | Asks::Setting => None,
        }
    }

    /// The name and the version of the package that it asks for, where it says exactly one (`==`).
    pub(crate) fn pinned(&self) -> Option<(String, String)> {
        let Asks::Package { requirement, .. } = &self.asks else { return None };
        let version = requirement.split(';').next()?.split_once("==")?.1.trim();
        let is_one = !version.is_empty() && !version.contains([',', '*', '=', ' ']) && !self.constraint;
        Some((self.name()?, version.to_owned())).filter(|_| is_one)
    }

    /// The name of the package that it asks for, as an index writes it; `None` where the line does not name one.
    pub(crate) fn name(&self) -> Option<String> {
        let text = match &self.asks {
            Asks::Package { requirement, .. } => requirement.as_str(),
            // `name @ …`, or the file name of a wheel.
            Asks::Path { path, rest } => match rest.split_once('@') {
                Some((name, _)) => name,
                None => path.file_name()?.to_str().filter(|name| name.ends_with(".whl"))?.split('-').next()?,
            },
            Asks::Address { rest, .. } | Asks::Checkout { rest, .. } => rest.split_once('@').map(|(name, _)| name)?,
            Asks::Editable | Asks::Include | Asks::IncludeAddress | Asks::Setting => return None,
        };
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
        Some(normal(&text[..end])).filter(|name| !name.is_empty())
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            0 => write!(f, "{}: `{}`", self.file.display(), self.text),
            number => write!(f, "{}:{number}: `{}`", self.file.display(), self.text),
        }
    }
}

/// A package's name as an index compares it.
pub(crate) fn normal(name: &str) -> String {
    let words: Vec<&str> = name.split(['-', '_', '.']).filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

fn table(file: &Path) -> Result<Table, PythonError> {
    let bytes = std::fs::read(file).map_err(|reason| PythonError::Requirements { file: file.to_owned(), reason })?;
    let text = String::from_utf8_lossy(&bytes);
    let refused = |error: toml::de::Error| Unsaid::NoToml { reason: error.message().to_owned() };
    text.trim_start_matches('\u{feff}').parse().map_err(|error| PythonError::NotRead { file: file.to_owned(), reason: refused(error) })
}

/// The dependencies of a project, and the versions of Python that it is for.
fn project(file: &Path, table: &Table) -> Result<(Vec<Requirement>, Option<String>), PythonError> {
    let refused = |reason| PythonError::NotRead { file: file.to_owned(), reason };
    let Some(project) = table.get("project").and_then(Value::as_table) else {
        return Err(refused(Unsaid::NoDependencies));
    };
    let dynamic = project.get("dynamic").and_then(Value::as_array);
    if dynamic.is_some_and(|dynamic| dynamic.iter().any(|field| field.as_str() == Some("dependencies"))) {
        return Err(refused(Unsaid::Dynamic));
    }
    let dependencies = project.get("dependencies").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let cwd = file.parent().unwrap_or(Path::new(""));
    let one = |text: &str| listed(text, cwd).into_iter().map(|line| Requirement { file: file.to_owned(), number: 0, ..line });
    let requirements: Vec<Requirement> = dependencies.flat_map(one).collect();
    let sources = table.get("tool").and_then(|tool| tool.get("uv")).and_then(|uv| uv.get("sources")).and_then(Value::as_table);
    let sources: Vec<String> = sources.into_iter().flatten().map(|(name, _)| normal(name)).collect();
    if let Some(name) = requirements.iter().filter_map(Requirement::name).find(|name| sources.contains(name)) {
        return Err(refused(Unsaid::OwnSource { name }));
    }
    let python = project.get("requires-python").and_then(Value::as_str).map(str::to_owned);
    Ok((requirements, python))
}

/// The packages of a lock file. Each whole entry is part of what it asks for, as its hashes are.
fn locked(file: &Path, table: &Table) -> Vec<Requirement> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let packages = table.get("packages").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
    packages.map(|package| locked_package(file, folder, package)).collect()
}

fn locked_package(file: &Path, folder: &Path, package: &Table) -> Requirement {
    let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
    let part = |key: &str| package.get(key).and_then(Value::as_table);
    let name = text(package, "name").unwrap_or_default();
    let condition = text(package, "marker").map_or_else(String::new, |marker| format!("; {marker}"));
    let options = serde_json::to_string(package).unwrap_or_default();
    let rest = format!("{name} @ {condition} --hash {options}");
    let asks = if let Some(vcs) = part("vcs") {
        let address = text(vcs, "url").or_else(|| text(vcs, "path")).unwrap_or_default();
        Asks::Checkout { url: format!("{}+{address}", text(vcs, "type").unwrap_or_default()), revision: text(vcs, "commit-id"), rest }
    } else if let Some(directory) = part("directory") {
        match directory.get("editable").and_then(Value::as_bool) {
            Some(true) => Asks::Editable,
            _ => Asks::Path { path: folder.join(text(directory, "path").unwrap_or_default()), rest },
        }
    } else if let Some(archive) = part("archive") {
        match text(archive, "path") {
            Some(path) => Asks::Path { path: folder.join(path), rest },
            None => Asks::Address { url: text(archive, "url").unwrap_or_default(), rest },
        }
    } else {
        let version = text(package, "version").map_or_else(String::new, |version| format!("=={version}"));
        Asks::Package { requirement: format!("{name}{version}{condition}"), options }
    };
    Requirement { file: file.to_owned(), number: 0, text: name, constraint: false, asks }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use super::*;

    fn python(version: &str) -> Interpreter {
        Interpreter {
            version: version.to_owned(),
            executable: "/usr/bin/python3".to_owned(),
            base: "/usr".to_owned(),
            platform: "linux-x86_64".to_owned(),
            abi: "cpython".to_owned(),
        }
    }

    fn key(folder: &Path, list: &str) -> String {
        write(folder.join("requirements.txt"), list).unwrap();
        Wanted::read(&folder.join("requirements.txt")).unwrap().key(&python("3.14.0"), "pip").unwrap()
    }

    #[test]
    fn the_key_is_of_what_is_asked_for_of_the_interpreter_and_of_the_installer() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let one = key(folder.path(), "almasample==1.0\n");
        assert_eq!(one, key(folder.path(), "# as before\n\nalmasample==1.0   # pinned\n"));
        assert_ne!(one, key(folder.path(), "almasample==2.0\n"));
        write(path("base.txt"), "almasample==1.0\n").unwrap();
        assert_eq!(one, key(folder.path(), "-r 'base.txt'\n"));
        assert_ne!(one, key(folder.path(), "-c base.txt\n"));
        key(folder.path(), "almasample==1.0\n");
        let wanted = Wanted::read(&path("requirements.txt")).unwrap();
        assert_eq!(one, wanted.key(&python("3.14.0"), "pip").unwrap());
        assert_ne!(one, wanted.key(&python("3.14.1"), "pip").unwrap());
        assert_ne!(one, wanted.key(&python("3.14.0"), "uv").unwrap());
    }

    /// The second deploy ran the code of the first: the line was the same.
    #[test]
    fn the_key_is_of_the_content_of_files_and_folders_wherever_they_are() {
        for line in ["./lib", "lib/", "file:lib", "x @ file:./lib", "-r base.txt"] {
            let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for folder in [&folder, &other] {
                create_dir_all(folder.path().join("lib")).unwrap();
                write(folder.path().join("lib/a.py"), "1").unwrap();
                write(folder.path().join("base.txt"), "./lib\n").unwrap();
            }
            let before = key(folder.path(), line);
            assert_eq!(before, key(other.path(), line), "{line}");
            write(folder.path().join("lib/a.py"), "2").unwrap();
            assert_ne!(before, key(folder.path(), line), "{line}");
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path().join("x-1.0-py3-none-any.whl"), "1").unwrap();
        let before = key(folder.path(), "./x-1.0-py3-none-any.whl");
        write(folder.path().join("x-1.0-py3-none-any.whl"), "2").unwrap();
        assert_ne!(before, key(folder.path(), "./x-1.0-py3-none-any.whl"));
        write(folder.path().join("requirements.txt"), "./nothing.whl").unwrap();
        let missing = Wanted::read(&folder.path().join("requirements.txt")).unwrap().key(&python("3"), "pip").unwrap_err();
        assert!(missing.to_string().contains("nothing.whl"), "{missing}");
    }

    #[test]
    fn the_dependencies_of_a_project_are_what_it_names_or_it_is_said_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pyproject.toml");
        let read = |text: &str| {
            write(&file, text).unwrap();
            Wanted::read(&file)
        };
        let wanted =
            read("[project]\nname='x'\nrequires-python = '>=3.9'\ndependencies = ['Flask>=3', \"y; sys_platform == 'win32'\"]\n").unwrap();
        assert_eq!(wanted.as_list().unwrap(), "Flask>=3\ny; sys_platform == 'win32'\n");
        assert_eq!((wanted.form, wanted.python.as_deref()), (Form::Project, Some(">=3.9")));
        assert!(read("[project]\nname='x'\n").unwrap().requirements.is_empty());
        for (text, says) in [
            ("[tool.poetry.dependencies]\nflask = '3'\n", "has no `dependencies`"),
            ("[project]\ndynamic = ['dependencies']\n", "are `dynamic`"),
            ("[project]\ndependencies = ['My_Lib']\n[tool.uv.sources]\nmy-lib = { path = 'x' }\n", "`my-lib` comes from a source"),
            ("[project\n", "mend it"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("pyproject.toml"), "{error}");
        }
    }

    #[test]
    fn a_lock_file_asks_for_its_packages_from_where_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pylock.prod.toml");
        let lock = r#"
            lock-version = "1.0"
            created-by = "hand"
            requires-python = ">=3.9"
            [[packages]]
            name = "flask"
            version = "3.1.0"
            marker = "sys_platform != 'win32'"
            wheels = [{ name = "flask-3.1.0-py3-none-any.whl", url = "https://h/flask-3.1.0-py3-none-any.whl", hashes = { sha256 = "00" } }]
            [[packages]]
            name = "mine"
            archive = { url = "https://h/mine.zip", hashes = { sha256 = "00" } }
            [[packages]]
            name = "ours"
            vcs = { type = "git", url = "https://h/ours", commit-id = "0123456789012345678901234567890123456789" }
        "#;
        write(&file, lock).unwrap();
        let wanted = Wanted::read(&file).unwrap();
        wanted.refuse_what_moves().unwrap();
        let names: Vec<Option<String>> = wanted.requirements.iter().map(Requirement::name).collect();
        assert_eq!(names, ["flask", "mine", "ours"].map(|name| Some(name.to_owned())));
        assert!(
            matches!(&wanted.requirements[0].asks, Asks::Package { requirement, .. } if requirement == "flask==3.1.0; sys_platform != 'win32'")
        );
        let before = wanted.key(&python("3"), "pip").unwrap();
        write(&file, lock.replace("sha256 = \"00\"", "sha256 = \"01\"")).unwrap();
        assert_ne!(before, Wanted::read(&file).unwrap().key(&python("3"), "pip").unwrap());
        let editable = "[[packages]]\nname = 'mine'\ndirectory = { path = 'lib', editable = true }\n";
        write(&file, editable).unwrap();
        let error = Wanted::read(&file).unwrap().refuse_what_moves().unwrap_err().to_string();
        assert!(error.contains("pylock.prod.toml: `mine` is editable"), "{error}");
    }
}
