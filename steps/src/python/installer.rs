//! What puts packages into an environment: pip, or uv where it is found, which does the same in a tenth of the time.
//!
//! uv reads pip's lists, but none of pip's configuration: indexes, certificates and the like are handed over. Its files are copied out of
//! its cache: with hard links, whoever changes a file in one environment changes it in all of them.

use std::path::{Path, PathBuf};

use almaplan_engine::context::Context;

use super::wanted::Form;
use super::{Aim, Python, PythonError, Unsaid, Wanted, printed, run};
use crate::process;

/// What would lead uv to another environment than the one that is named.
const MISLEADING_UV: [&str; 8] =
    ["VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_WORKING_DIR", "UV_PROJECT", "UV_EDITABLE", "UV_DRY_RUN"];
/// What sends packages elsewhere where pip's files say it: the environment cannot take it back.
const ELSEWHERE: [&str; 8] = ["target", "prefix", "root", "python", "requirement", "editable", "platform", "no-deps"];
/// What uv calls a setting of pip.
const HANDED_OVER: [(&str, &str); 9] = [
    ("index-url", "UV_DEFAULT_INDEX"),
    ("extra-index-url", "UV_INDEX"),
    ("find-links", "UV_FIND_LINKS"),
    ("trusted-host", "UV_INSECURE_HOST"),
    ("constraint", "UV_CONSTRAINT"),
    ("cert", "SSL_CERT_FILE"),
    ("client-cert", "SSL_CLIENT_CERT"),
    ("proxy", "ALL_PROXY"),
    ("timeout", "UV_HTTP_TIMEOUT"),
];

/// What installs packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installer {
    /// The pip of the environment itself.
    Pip,
    /// This program.
    Uv(PathBuf),
}

impl Installer {
    /// uv, where it is: a program as the system finds it, or one beside the interpreter `base`.
    pub(crate) fn uv(cx: &Context, base: &Python) -> Option<Self> {
        let folder = &cx.run().plan_dir;
        let found = process::resolve("uv", folder, folder, &[]).ok();
        let name = format!("uv{}", std::env::consts::EXE_SUFFIX);
        let beside = base.program.parent().into_iter().flat_map(|bin| [bin.join(&name), bin.join("Scripts").join(&name)]);
        found.or_else(|| beside.into_iter().find(|path| path.is_file())).map(Self::Uv)
    }

    /// What it is called in the key of an environment.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv(_) => "uv",
        }
    }

    /// Installs what is `wanted` in the environment `env` of `python`, from `wheels` alone where there are some.
    ///
    /// # Errors
    /// It fails; the error has its own words.
    pub(crate) async fn install(
        &self,
        cx: &Context,
        (env, python): (&Path, &Python),
        wanted: &Wanted,
        wheels: Option<&Path>,
    ) -> Result<(), PythonError> {
        let file = match wanted.as_list() {
            None => wanted.file.clone(),
            // In the environment: whoever looks into it sees what was asked for.
            Some(list) => {
                let file = env.join("requirements.txt");
                std::fs::write(&file, list).map_err(|reason| PythonError::Requirements { file: file.clone(), reason })?;
                file
            }
        };
        match self {
            Self::Pip => {
                if wanted.form == Form::Lock {
                    python.learn_lock_files(cx, &wanted.file, wheels).await?;
                }
                python.install(cx, &file, Some(wanted.cwd()), wheels, &[]).await
            }
            Self::Uv(program) => uv(cx, program, python, &file, wanted.cwd(), wheels).await,
        }
    }

    /// What in pip's own files sends packages elsewhere, said after an environment turned out to be without them.
    pub(crate) async fn explain(&self, cx: &Context, python: &Python, error: PythonError) -> PythonError {
        let (Self::Pip, PythonError::Unproved { env, problems }) = (self, &error) else { return error };
        let Ok(settings) = python.settings(cx).await else { return error };
        let Some((name, _)) = settings.iter().find(|(name, _)| ELSEWHERE.contains(&name.as_str())) else { return error };
        PythonError::Misconfigured { env: env.clone(), problems: problems.clone(), name: name.clone() }
    }
}

impl Python {
    /// Makes sure that the pip of this environment can read a lock file: pip 26 and later can.
    async fn learn_lock_files(&self, cx: &Context, file: &Path, wheels: Option<&Path>) -> Result<(), PythonError> {
        if self.reads_lock_files(cx).await? {
            return Ok(());
        }
        let offline = wheels.map(|wheels| wheels.to_string_lossy().into_owned());
        let offline = offline.as_ref().map_or(Vec::new(), |wheels| vec!["--no-index", "--find-links", wheels.as_str()]);
        let upgraded = self.pip(cx, Aim::UpgradePip, &[&["install", "--upgrade"], offline.as_slice(), &["pip"]].concat(), None).await;
        if let Err(error @ PythonError::Run(_)) = upgraded {
            return Err(error);
        }
        if upgraded.is_ok() && self.reads_lock_files(cx).await? {
            return Ok(());
        }
        let reason = upgraded.err().map_or(Unsaid::LockForOldPip, |why| Unsaid::LockForThisPip { why: Box::new(why) });
        Err(PythonError::NotRead { file: file.to_owned(), reason })
    }

    async fn reads_lock_files(&self, cx: &Context) -> Result<bool, PythonError> {
        let help = printed(self.run(cx, &["-m", "pip", "install", "--help"], None, false).await?, Aim::TellAbilities)?;
        Ok(help.contains("pylock"))
    }
}

async fn uv(cx: &Context, program: &Path, python: &Python, file: &Path, cwd: &Path, wheels: Option<&Path>) -> Result<(), PythonError> {
    let (interpreter, name) = (python.program.to_string_lossy(), file.to_string_lossy());
    let wheels = wheels.map(|wheels| wheels.to_string_lossy());
    let settings = python.settings(cx).await?;
    let mut args = vec!["pip", "install", "--python", &*interpreter, "--link-mode", "copy", "--compile-bytecode", "--no-progress"];
    args.extend(["--color", "never", "--no-python-downloads"]);
    if wheels.is_some() || settings.iter().any(|(name, value)| name == "no-index" && is_on(value)) {
        args.push("--no-index");
    }
    if let Some(wheels) = &wheels {
        args.extend(["--find-links", &**wheels]);
    }
    args.extend(["-r", &*name]);
    let unset = MISLEADING_UV.iter().map(|name| ((*name).to_owned(), None));
    let env = unset.chain(handed_over(&settings, |name| std::env::var_os(name).is_some())).collect();
    printed(run(cx, program, &args, Some(cwd), env, true).await?, Aim::InstallWithUv { list: name.to_string() }).map(drop)
}

/// Variables for uv that say what pip is configured with; those that are set for uv itself stay.
fn handed_over(settings: &[(String, String)], is_set: impl Fn(&str) -> bool) -> Vec<(String, Option<String>)> {
    let own_index = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"].into_iter().any(&is_set);
    let mut env = Vec::new();
    for (name, variable) in HANDED_OVER {
        let Some((_, value)) = settings.iter().rev().find(|(setting, _)| setting == name) else { continue };
        if is_set(variable) || (own_index && name.ends_with("index-url")) {
            continue;
        }
        let separator = if variable == "UV_FIND_LINKS" { "," } else { " " };
        env.push((variable.to_owned(), Some(value.split_whitespace().collect::<Vec<_>>().join(separator))));
        if name == "extra-index-url" && !is_set("UV_INDEX_STRATEGY") {
            // As pip does: the best version of all indexes.
            env.push(("UV_INDEX_STRATEGY".to_owned(), Some("unsafe-best-match".to_owned())));
        }
    }
    env
}

fn is_on(value: &str) -> bool {
    ["1", "true", "yes", "on", "y", "t"].contains(&value.to_ascii_lowercase().as_str())
}

/// What `pip config list` prints: `section.name='value'` a line, values as Python writes them. The environment comes last, as the strongest.
pub(super) fn settings(list: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        let (section, name) = key.rsplit_once('.')?;
        let strength = ["global", "install", ":env:"].iter().position(|known| *known == section)?;
        let value = value.strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
        Some((strength, name.to_owned(), value.replace(r"\n", " ").replace(r"\'", "'").replace(r"\\", r"\")))
    };
    let mut found: Vec<(usize, String, String)> = list.lines().filter_map(setting).collect();
    found.sort_by_key(|(strength, ..)| *strength);
    found.into_iter().map(|(_, name, value)| (name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_is_configured_with_is_handed_over_to_uv() {
        let list = ":env:.cert='/etc/ca.pem'\nglobal.index-url='https://u:p@h/simple'\ninstall.index-url='https://h/other'\n\
                    global.extra-index-url='https://a/simple\\nhttps://b/simple'\nglobal.find-links='/w one\\n/w2'\nfreeze.user='true'\n";
        let settings = settings(list);
        let value = |settings: Vec<(String, Option<String>)>, name: &str| {
            settings.into_iter().find(|(variable, _)| variable == name).and_then(|(_, value)| value)
        };
        let over = |name: &str| value(handed_over(&settings, |_| false), name);
        assert_eq!(over("UV_DEFAULT_INDEX").as_deref(), Some("https://h/other"));
        assert_eq!(over("UV_INDEX").as_deref(), Some("https://a/simple https://b/simple"));
        assert_eq!(over("SSL_CERT_FILE").as_deref(), Some("/etc/ca.pem"));
        assert_eq!(over("UV_INDEX_STRATEGY").as_deref(), Some("unsafe-best-match"));
        assert_eq!(value(handed_over(&settings, |name| name == "UV_INDEX_URL"), "UV_DEFAULT_INDEX"), None);
    }
}
