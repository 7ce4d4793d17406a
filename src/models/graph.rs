//! The graph of a plan, for a terminal, Graphviz, Markdown or a browser.
//!
//! Steps are laid out in levels: a step is one level below the lowest of those that it needs.

use std::collections::HashMap;

use almaplan_engine::event::StepId;
use almaplan_engine::graph::Graph;
use almaplan_engine::plan::{Plan, PlannedStep};
use console::measure_text_width;

use crate::cli::GraphFormat;
use crate::view::format::{Formatter, Style, pad, sanitize};

/// What is drawn.
#[derive(Debug, Clone)]
pub struct GraphView {
    /// `[plan] name`.
    pub plan: String,
    /// The steps, each behind all that it needs.
    pub steps: Vec<GraphStep>,
    /// The `finally` steps.
    pub finally: Vec<GraphStep>,
}

/// A step of it.
#[derive(Debug, Clone)]
pub struct GraphStep {
    /// Its name.
    pub id: StepId,
    /// Its kind.
    pub uses: String,
    /// What it needs, by `needs` or by reference.
    pub needs: Vec<StepId>,
    /// `pivot`.
    pub pivot: bool,
    /// `irreversible`.
    pub irreversible: bool,
    /// The kinds that make up for it.
    pub compensate: Vec<String>,
    /// How deep it lies, from 0.
    pub level: usize,
}

impl GraphView {
    /// The graph of `plan`.
    pub fn of(plan: &Plan) -> Self {
        let step = |steps: &[PlannedStep], graph: &Graph, levels: &[usize], i: usize| {
            let step = &steps[i];
            GraphStep {
                id: step.id.clone(),
                uses: step.action.uses.clone(),
                needs: graph.needs(i).map(|needed| steps[needed].id.clone()).collect(),
                pivot: step.pivot,
                irreversible: step.irreversible,
                compensate: step.compensate.iter().map(|compensation| compensation.action.uses.clone()).collect(),
                level: levels[i],
            }
        };
        let drawn = |steps: &[PlannedStep], graph: &Graph| {
            let levels = graph.levels();
            graph.order().iter().map(|&i| step(steps, graph, &levels, i)).collect()
        };
        Self { plan: plan.name.clone(), steps: drawn(&plan.steps, &plan.graph), finally: drawn(&plan.finally, &plan.finally_graph) }
    }

    /// It in `format`.
    pub fn draw(&self, fmt: &Formatter, format: GraphFormat) -> String {
        match format {
            GraphFormat::Text => self.text(fmt),
            GraphFormat::Dot => self.dot(),
            GraphFormat::Mermaid => self.mermaid(),
            GraphFormat::Svg => self.svg(),
        }
    }

    fn text(&self, fmt: &Formatter) -> String {
        let lang = &fmt.lang;
        let all = || self.steps.iter().chain(&self.finally);
        let name_width = all().map(|step| measure_text_width(step.id.as_str())).max().unwrap_or(0);
        let kind_width = all().map(|step| measure_text_width(&step.uses)).max().unwrap_or(0);
        let mut text = format!("{}\n", fmt.paint(Style::Strong, &self.plan));
        let line = |level: String, step: &GraphStep| {
            let sign = if step.pivot { fmt.paint(Style::Good, "◆") } else { "●".to_owned() };
            let name = fmt.paint(Style::Strong, pad(step.id.as_str(), name_width));
            let mut line = format!("{level} {sign} {name}  {}", fmt.paint(Style::Faint, pad(&step.uses, kind_width)));
            if !step.needs.is_empty() {
                line.push_str(&format!("  ← {}", names(&step.needs)));
            }
            if step.pivot {
                line.push_str(&format!("  [{}]", lang.text("graph-pivot")));
            }
            if step.irreversible {
                line.push_str(&format!("  [{}]", lang.text("graph-irreversible")));
            }
            if !step.compensate.is_empty() {
                line.push_str(&fmt.paint(Style::Undo, format!("  ↩ {}", step.compensate.join(", "))));
            }
            format!("{}\n", line.trim_end())
        };
        let mut ordered: Vec<_> = self.steps.iter().collect();
        ordered.sort_by_key(|step| step.level);
        let mut last = None;
        for step in ordered {
            let level = step.level;
            // The number is shown where it changes: what stands below it runs beside it.
            let shown = if last == Some(level) { "   ".to_owned() } else { format!("{:>3}", level + 1) };
            last = Some(level);
            text.push_str(&line(shown, step));
        }
        if !self.finally.is_empty() {
            text.push_str(&format!("{}\n", fmt.paint(Style::Faint, lang.text("graph-finally"))));
            text.extend(self.finally.iter().map(|step| line("   ".to_owned(), step)));
        }
        text
    }

    fn dot(&self) -> String {
        let mut text =
            format!("digraph {} {{\n  rankdir=TB;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n", quoted(&self.plan));
        for step in &self.steps {
            let style = if step.pivot { ", penwidth=2, color=\"#1a7f37\"" } else { "" };
            text.push_str(&format!("  {} [label={}{style}];\n", quoted(step.id.as_str()), quoted(&format!("{}\n{}", step.id, step.uses))));
        }
        for (from, to) in self.edges() {
            text.push_str(&format!("  {} -> {};\n", quoted(from.as_str()), quoted(to.as_str())));
        }
        if !self.finally.is_empty() {
            text.push_str("  subgraph cluster_finally {\n    label=\"finally\";\n    style=dashed;\n");
            for step in &self.finally {
                // Its name may also be that of a step.
                let id = quoted(&format!("finally.{}", step.id));
                text.push_str(&format!("    {id} [label={}];\n", quoted(&format!("{}\n{}", step.id, step.uses))));
            }
            text.push_str("  }\n");
        }
        text + "}\n"
    }

    fn mermaid(&self) -> String {
        let index: HashMap<_, _> = self.steps.iter().enumerate().map(|(n, step)| (&step.id, n)).collect();
        let label = |step: &GraphStep| format!("{}<br/>{}", html(step.id.as_str()), html(&step.uses));
        let mut text = "flowchart TD\n".to_owned();
        for (n, step) in self.steps.iter().enumerate() {
            text.push_str(&format!("  s{n}[\"{}\"]\n", label(step)));
        }
        for (from, to) in self.edges() {
            text.push_str(&format!("  s{} --> s{}\n", index[from], index[to]));
        }
        for (n, _) in self.steps.iter().enumerate().filter(|(_, step)| step.pivot) {
            text.push_str(&format!("  style s{n} stroke:#1a7f37,stroke-width:3px\n"));
        }
        if !self.finally.is_empty() {
            text.push_str("  subgraph finally\n");
            text.extend(self.finally.iter().enumerate().map(|(n, step)| format!("    f{n}[\"{}\"]\n", label(step))));
            text.push_str("  end\n");
        }
        text
    }

    fn svg(&self) -> String {
        let boxes = self.boxes();
        let width = boxes.iter().map(|placed| placed.x + placed.width).max().unwrap_or(0) + GAP;
        let height = boxes.iter().map(|placed| placed.y + BOX_HEIGHT).max().unwrap_or(0) + GAP;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\">\n<title>{}</title>\n",
            html(&self.plan)
        );
        text.push_str("<defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#57606a\"/></marker></defs>\n");
        let of: HashMap<_, _> = boxes.iter().filter(|placed| !placed.finally).map(|placed| (&placed.step.id, placed)).collect();
        for (from, to) in self.edges() {
            let (from, to) = (of[from], of[to]);
            let (x1, y1, x2, y2) = (from.x + from.width / 2, from.y + BOX_HEIGHT, to.x + to.width / 2, to.y);
            let bend = (y2 - y1) / 2;
            text.push_str(&format!(
                "<path d=\"M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}\" fill=\"none\" stroke=\"#57606a\" marker-end=\"url(#to)\"/>\n",
                y1 + bend,
                y2 - bend
            ));
        }
        text.extend(boxes.iter().map(Placed::svg));
        text + "</svg>\n"
    }

    /// Where each step is drawn.
    fn boxes(&self) -> Vec<Placed<'_>> {
        let mut right = HashMap::<usize, i64>::new();
        let below = self.steps.iter().map(|step| step.level + 1).max().unwrap_or(0);
        let steps = self.steps.iter().map(|step| (step, step.level, false));
        let finally = self.finally.iter().map(|step| (step, below, true));
        steps
            .chain(finally)
            .map(|(step, level, finally)| {
                let x = *right.get(&level).unwrap_or(&GAP);
                let letters = measure_text_width(step.id.as_str()).max(measure_text_width(&step.uses));
                let width = letters as i64 * 9 + 24;
                right.insert(level, x + width + GAP);
                Placed { step, x, y: GAP + level as i64 * (BOX_HEIGHT + 2 * GAP), width, finally }
            })
            .collect()
    }

    fn edges(&self) -> impl Iterator<Item = (&StepId, &StepId)> {
        self.steps.iter().flat_map(|step| step.needs.iter().map(move |need| (need, &step.id)))
    }
}

const GAP: i64 = 24;
const BOX_HEIGHT: i64 = 44;

struct Placed<'a> {
    step: &'a GraphStep,
    x: i64,
    y: i64,
    width: i64,
    finally: bool,
}

impl Placed<'_> {
    fn svg(&self) -> String {
        let Self { step, x, y, width, finally } = self;
        let (stroke, thick) = if step.pivot { ("#1a7f37", 3) } else { ("#57606a", 1) };
        let dashes = if *finally { " stroke-dasharray=\"4 3\"" } else { "" };
        let middle = x + width / 2;
        format!(
            "<g><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"#ffffff\" stroke=\"{stroke}\" stroke-width=\"{thick}\"{dashes}/>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-size=\"14\" font-weight=\"bold\" fill=\"#1f2328\">{}</text>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-size=\"12\" fill=\"#57606a\">{}</text></g>\n",
            y + 19,
            html(step.id.as_str()),
            y + 35,
            html(&step.uses),
        )
    }
}

fn names(ids: &[StepId]) -> String {
    ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn html(text: &str) -> String {
    sanitize(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    fn step(level: usize, id: &str, uses: &str, needs: &[&str], compensate: &[&str]) -> GraphStep {
        GraphStep {
            id: StepId::new(id),
            uses: uses.to_owned(),
            needs: needs.iter().map(StepId::new).collect(),
            pivot: id == "health",
            irreversible: false,
            compensate: compensate.iter().map(|kind| (*kind).to_owned()).collect(),
            level,
        }
    }

    fn view() -> GraphView {
        GraphView {
            plan: "almareia \"produção\" <1>".to_owned(),
            steps: vec![
                step(0, "preflight", "preflight", &[], &[]),
                step(1, "backup", "backup", &["preflight"], &[]),
                step(1, "stage", "stage", &["preflight"], &[]),
                step(2, "stop", "stop-service", &["backup", "stage"], &["start-service"]),
                step(3, "update", "sync", &["stop", "stage"], &["restore", "pip-restore"]),
                step(4, "health", "http-check", &["update"], &[]),
            ],
            finally: vec![step(0, "health", "notify", &[], &[])],
        }
    }

    #[test]
    fn the_same_plan_is_drawn_in_every_format() {
        let fmt = sample::fmt(Language::PtBr);
        let formats = [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid, GraphFormat::Svg];
        insta::assert_snapshot!(formats.map(|format| view().draw(&fmt, format)).join("=====\n"));
    }

    #[test]
    fn a_plan_without_steps_is_drawn_too() {
        let empty = GraphView { plan: "empty".to_owned(), steps: vec![], finally: vec![] };
        for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid, GraphFormat::Svg] {
            assert!(!empty.draw(&sample::fmt(Language::En), format).is_empty());
        }
    }
}
