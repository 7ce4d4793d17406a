//! `almaplan report [RUN] [-o FILE.html]`: one self-contained page of a run, for people who were not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::plan::Plan;
use almaplan_engine::runs::Runs;
use almaplan_steps::files::write_atomically;

use crate::cli::{GraphFormat, ReportArgs};
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::machine;
use crate::models::graph::GraphView;
use crate::models::report::ReportView;
use crate::page;
use crate::terminal::{Terminal, print};
use crate::view::format::Formatter;

/// Writes the page of a run. Nothing is written where it is refused.
///
/// # Errors
/// There is no such run, its journal is damaged, its logs cannot be read, or the file cannot be written.
pub fn run(args: &ReportArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let found = runs.find_or_newest(args.run.as_ref())?;
    // Whoever opens the page has no terminal.
    let fmt = Formatter { color: false, ..terminal.formatter() };
    let graph = |plan: &Plan| GraphView::of(plan).draw(&fmt, GraphFormat::Svg);
    let page = page::draw(&ReportView::of(runs, &found, graph)?, &fmt);
    let file = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("almaplan-{}.html", found.row.run)));
    if file == Path::new("-") {
        print(&page);
        return Ok(Exit::Ok);
    }
    write(&file, &page).map_err(|source| Refusal::FileUnwritable { file: file.clone(), source })?;
    terminal.tell("report-written", &[("file", file.display().to_string().into())]);
    Ok(Exit::Ok)
}

/// Writes `page`, so that whoever looks sees the old file or the new one.
fn write(path: &Path, page: &str) -> io::Result<()> {
    match fs::metadata(path) {
        // A terminal or a pipe (`/dev/stdout`) is written to, never replaced.
        Ok(there) if !there.is_file() && !there.is_dir() => fs::write(path, page),
        // A link stays, and what it leads to is replaced.
        Ok(_) => write_atomically(&fs::canonicalize(path)?, page.as_bytes()),
        Err(_) => write_atomically(&machine::absolute(path), page.as_bytes()),
    }
}
