//! Plans that somebody wrote to break almaplan: whatever they say, it tells what is wrong with them, soon, in little memory.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod shapes;
mod watched;

#[test]
fn explore() {
    let folder = tempfile::tempdir().unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, shape) in shapes::SHAPES.iter().filter(|(name, _)| name.contains(&only)) {
        for command in ["check", "check --json", "graph"] {
            let mut line = format!("{name:50} {command:12}");
            for bytes in [1 << 19, 1 << 20] {
                let plan = folder.path().join("plan.toml");
                std::fs::write(&plan, shape(bytes)).unwrap();
                let out = folder.path().join("out");
                let mut args: Vec<&str> = command.split(' ').collect();
                args.push(plan.to_str().unwrap());
                let ended = watched::almaplan(&args, &out);
                line += &format!(
                    " | {:?} {:5} MB {:6.2}s out {:9}",
                    ended.code,
                    ended.peak_bytes >> 20,
                    ended.worked.as_secs_f64(),
                    out.metadata().unwrap().len()
                );
            }
            println!("{line}");
        }
    }
}
