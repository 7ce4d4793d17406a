//! What application is in a folder, as its files tell.

use std::fs;
use std::path::Path;

use almaplan_engine::encoding;

use crate::cli::InitTemplate;

/// More than this is no source that somebody wrote, in bytes.
const MOST: u64 = 1 << 20;

/// What is in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// How it can be deployed.
    pub template: InitTemplate,
    /// The file that told so.
    pub evidence: &'static str,
}

/// What starts an application.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// `app:app` of Python, `server.js` of Node; empty where there is none.
    pub name: String,
    /// Whether a file says so; else it is what most are called.
    pub found: bool,
}

/// The application in `folder`, if it is one that there is a template for.
pub fn find(folder: &Path) -> Option<Found> {
    let found = |template, evidence| Some(Found { template, evidence });
    if is_file(folder, "manage.py") {
        return found(InitTemplate::Django, "manage.py");
    }
    for evidence in ["requirements.txt", "pyproject.toml"] {
        if lists(folder, evidence, "fastapi") {
            return found(InitTemplate::Uvicorn, evidence);
        }
        if lists(folder, evidence, "flask") {
            // Whoever has chosen a server keeps it.
            let gunicorn = lists(folder, evidence, "gunicorn") && !lists(folder, evidence, "waitress");
            return found(if gunicorn { InitTemplate::Gunicorn } else { InitTemplate::FlaskWaitress }, evidence);
        }
    }
    if python_name(folder, "FastAPI(").is_some() {
        return found(InitTemplate::Uvicorn, "*.py");
    }
    if python_name(folder, "Flask(").is_some() {
        return found(InitTemplate::FlaskWaitress, "*.py");
    }
    if is_file(folder, "package.json") {
        return found(InitTemplate::Node, "package.json");
    }
    if is_file(folder, "index.html") {
        return found(InitTemplate::Static, "index.html");
    }
    None
}

/// The compose file in `folder`: there is no template for it.
pub fn compose_file(folder: &Path) -> Option<&'static str> {
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"].into_iter().find(|name| is_file(folder, name))
}

/// What starts the application in `folder`.
pub fn entry(folder: &Path, template: InitTemplate) -> Entry {
    let (found, usual) = match template {
        InitTemplate::FlaskWaitress | InitTemplate::Gunicorn => (python_name(folder, "Flask("), "app:app"),
        InitTemplate::Uvicorn => (python_name(folder, "FastAPI("), "main:app"),
        InitTemplate::Django => (django_name(folder), "project.wsgi:application"),
        InitTemplate::Node => (node_script(folder), "server.js"),
        InitTemplate::Static => (Some(String::new()), ""),
    };
    Entry { found: found.is_some(), name: found.unwrap_or_else(|| usual.to_owned()) }
}

/// The list of packages in `folder`; the usual one where there is none.
pub fn requirements(folder: &Path) -> &'static str {
    let lists = ["requirements.txt", "pyproject.toml"];
    lists.into_iter().find(|name| is_file(folder, name)).unwrap_or("requirements.txt")
}

/// Whether the list of packages `file` has `package`.
pub fn lists(folder: &Path, file: &str, package: &str) -> bool {
    let text = read(folder, file).to_lowercase();
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))).any(|word| word == package)
}

/// `app:app` for a line `app = Flask(…)` of `app.py`; `app:create_app()` where a function makes it.
fn python_name(folder: &Path, call: &str) -> Option<String> {
    let mut names: Vec<String> = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.strip_suffix(".py").is_some_and(is_identifier));
    let usual = ["app.py", "main.py", "wsgi.py", "application.py"];
    names.sort_by_key(|name| (usual.iter().position(|usual| usual == name).unwrap_or(usual.len()), name.clone()));
    let in_file = |name: &String| {
        let text = read(folder, name);
        let module = name.trim_end_matches(".py");
        let assigned = text.lines().find_map(|line| {
            let (variable, value) = line.split_once('=')?;
            let made =
                value.trim().strip_prefix(call).is_some() || value.trim().rsplit('.').next().is_some_and(|end| end.starts_with(call));
            (made && is_identifier(variable.trim_end())).then(|| format!("{module}:{}", variable.trim_end()))
        });
        let factory = || {
            let makes = text.contains(call) && text.lines().any(|line| line.starts_with("def create_app("));
            makes.then(|| format!("{module}:create_app()"))
        };
        assigned.or_else(factory)
    };
    names.iter().find_map(in_file)
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// `shop.wsgi:application`, where `manage.py` says that the settings are `shop.settings`.
fn django_name(folder: &Path) -> Option<String> {
    let text = read(folder, "manage.py");
    let (_, after) = text.split_once("DJANGO_SETTINGS_MODULE")?;
    // The rest of that name's own quotes, then the quotes of the value.
    let settings = after.get(1..)?.split(['"', '\'']).nth(1)?;
    let (package, _) = settings.split_once(".settings")?;
    package.split('.').all(is_identifier).then(|| format!("{package}.wsgi:application"))
}

/// The script that `package.json` starts, or that is usual and there.
fn node_script(folder: &Path) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(&read(folder, "package.json")).unwrap_or_default();
    let start = package["scripts"]["start"].as_str().and_then(|start| start.strip_prefix("node "));
    let said = [start, package["main"].as_str()].into_iter().flatten().map(|name| name.trim().trim_start_matches("./"));
    said.chain(["server.js", "index.js", "app.js"]).find(|name| !name.contains(' ') && is_file(folder, name)).map(str::to_owned)
}

fn is_file(folder: &Path, name: &str) -> bool {
    fs::metadata(folder.join(name)).is_ok_and(|meta| meta.is_file() && meta.len() <= MOST)
}

/// The text of a file; empty where it is none that can be read.
fn read(folder: &Path, name: &str) -> String {
    if !is_file(folder, name) {
        return String::new();
    }
    encoding::read(folder.join(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn an_application_is_known_by_its_files() {
        type Case = (&'static [(&'static str, &'static str)], InitTemplate, &'static str);
        let cases: [Case; 9] = [
            (&[("requirements.txt", "Flask==3\nwaitress"), ("app.py", "app = Flask(__name__)\n")], InitTemplate::FlaskWaitress, "app:app"),
            (
                &[("requirements.txt", "flask\ngunicorn>=21"), ("web.py", "shop = flask.Flask(__name__)")],
                InitTemplate::Gunicorn,
                "web:shop",
            ),
            (
                &[("requirements.txt", "flask"), ("app.py", "def create_app():\n    app = Flask(__name__)\n")],
                InitTemplate::FlaskWaitress,
                "app:create_app()",
            ),
            (
                &[("pyproject.toml", "dependencies = [\"fastapi[standard]>=0.1\"]"), ("main.py", "api = FastAPI()")],
                InitTemplate::Uvicorn,
                "main:api",
            ),
            (&[("app.py", "app = Flask(__name__)")], InitTemplate::FlaskWaitress, "app:app"),
            (
                &[("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')"), ("requirements.txt", "django")],
                InitTemplate::Django,
                "shop.wsgi:application",
            ),
            (&[("package.json", r#"{"scripts": {"start": "node ./web.js"}}"#), ("web.js", "")], InitTemplate::Node, "web.js"),
            (&[("package.json", "{}"), ("index.js", "")], InitTemplate::Node, "index.js"),
            (&[("index.html", "")], InitTemplate::Static, ""),
        ];
        for (files, template, name) in cases {
            let folder = folder(files);
            assert_eq!(find(folder.path()).unwrap().template, template, "{files:?}");
            assert_eq!(entry(folder.path(), template), Entry { name: name.to_owned(), found: true }, "{files:?}");
        }
    }

    #[test]
    fn nothing_is_made_of_what_is_no_application() {
        let folder = folder(&[("requirements.txt", "flask-like\nnumpy"), ("compose.yaml", "services: {}"), ("x.py", "print('Flask(')")]);
        assert_eq!(find(folder.path()), None);
        assert_eq!(compose_file(folder.path()), Some("compose.yaml"));
    }
}
