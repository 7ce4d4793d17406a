//! What a template refers to, found without rendering it.
//!
//! Every reference must be written out (`vars.port`, `steps.backup.archive`, `steps["pre-check"].ok`): a name that is only known when
//! the template runs could not be checked, would make no edge (rule 16), and could smuggle a secret. So a whole root (`vars`) and a
//! computed name (`vars[x]`) are told as [`Fault::Vague`]. Whether what is referred to exists is `check`'s to say.
//!
//! Templates are bounded here, before minijinja compiles them: its compiler recurses with the depth of an expression. And they give no
//! names to values (`set`, `with`): a list that holds another one twice, forty times over, costs nothing to make and has no end to
//! whoever looks into it, and the fuel of minijinja does not count that.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use minijinja::machinery::{Token, ast, parse, parse_expr, tokenize};
use minijinja::syntax::SyntaxConfig;
use serde_json::Value;

use super::fault::{TemplateFault, Tool};
use super::{Action, MeasureCheck, Plan};

/// Bytes of one template.
const MOST_BYTES: usize = 60_000;
/// Tokens of one template; text between expressions is one token. The depth of what is compiled is at most this.
pub(crate) const MOST_TOKENS: usize = 1_000;

/// The names that a template may start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Root {
    Vars,
    Steps,
    Secrets,
    Env,
    Run,
    Plan,
}

impl Root {
    pub(crate) const ALL: [Self; 6] = [Self::Vars, Self::Steps, Self::Secrets, Self::Env, Self::Run, Self::Plan];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Vars => "vars",
            Self::Steps => "steps",
            Self::Secrets => "secrets",
            Self::Env => "env",
            Self::Run => "run",
            Self::Plan => "plan",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.as_str() == name)
    }
}

/// One name that a template starts from, with what follows: `steps` and `["backup", "archive"]`. Never without what must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) root: Root,
    pub(crate) path: Vec<String>,
    /// Where in the template.
    pub(crate) span: Range<usize>,
    /// The value goes into a longer text as it is, where null cannot go.
    pub(crate) as_text: bool,
}

impl Reference {
    /// How it would be written.
    pub(crate) fn text(&self) -> String {
        self.path.iter().fold(self.root.as_str().to_owned(), |text, name| text + &step_of(name))
    }
}

/// `.name`, or `["na-me"]` where a dot would not do.
pub(crate) fn step_of(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { format!(".{name}") } else { format!("[\"{name}\"]") }
}

/// What is wrong with a template by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not parse.
    Syntax(TemplateFault),
    /// It is longer than any honest template.
    TooLong,
    /// A name that nothing defines.
    UnknownName(String),
    /// A root or a step without the names that must follow, or with computed ones.
    Vague(String),
    /// A filter, test or function that does not exist, and its name.
    UnknownTool(Tool, String),
}

/// A template, parsed.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// In the order of the text.
    pub(crate) references: Vec<Reference>,
    pub(crate) faults: Vec<(Fault, Range<usize>)>,
    /// Where the expression is, if the template is exactly one `{{ … }}` and so keeps the value's type.
    pub(crate) whole: Option<Range<usize>>,
    /// Whether that expression is one bare reference.
    pub(crate) bare: bool,
}

impl Parsed {
    /// The reference, where the template is exactly one `{{ path }}`.
    pub(crate) fn bare(&self) -> Option<&Reference> {
        self.references.first().filter(|_| self.bare && self.faults.is_empty())
    }
}

/// Whether `text` is more than plain text.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// How templates are written here: a line end at the end of a text belongs to it.
pub(crate) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the delimiters are the default ones")
}

/// Parses the text of a value, which may have several `{{ … }}`.
pub(crate) fn parse_text(text: &str) -> Parsed {
    if let Err(fault) = within_bounds(text, false) {
        return Parsed { faults: vec![fault], ..Parsed::default() };
    }
    match parse(text, "", syntax()) {
        Err(error) => Parsed { faults: vec![fault_of(&error, text)], ..Parsed::default() },
        Ok(ast::Stmt::Template(template)) => {
            let whole = whole(text, &template.children);
            let mut walk = Walk::new(&template.children);
            match (&whole, &template.children[..]) {
                (Some(_), [ast::Stmt::EmitExpr(emit)]) => walk.open.push(Open::Expr(&emit.expr)),
                (_, children) => walk.open.extend(children.iter().map(Open::Stmt)),
            }
            let mut parsed = walk.all();
            parsed.bare &= whole.is_some();
            parsed.whole = whole;
            parsed
        }
        Ok(_) => Parsed::default(),
    }
}

/// Parses an expression, as in `when`.
pub(crate) fn parse_when(text: &str) -> Parsed {
    if let Err(fault) = within_bounds(text, true) {
        return Parsed { faults: vec![fault], ..Parsed::default() };
    }
    match parse_expr(text) {
        Err(error) => Parsed { faults: vec![fault_of(&error, text)], ..Parsed::default() },
        Ok(expr) => {
            let mut walk = Walk::new(&[]);
            walk.open.push(Open::Expr(&expr));
            Parsed { whole: Some(0..text.len()), ..walk.all() }
        }
    }
}

/// The parts of an expression that are joined by `and`: it is false where one of them is.
pub(crate) fn conjuncts(text: &str) -> Vec<&str> {
    let Some(expr) = within_bounds(text, true).ok().and_then(|()| parse_expr(text).ok()) else { return Vec::new() };
    let mut parts = Vec::new();
    let mut open = vec![&expr];
    while let Some(expr) = open.pop() {
        match expr {
            ast::Expr::BinOp(binary) if matches!(binary.op, ast::BinOpKind::ScAnd) => open.extend([&binary.right, &binary.left]),
            // All of it, as it is written: what is around it (brackets) does not matter then.
            _ if parts.is_empty() && open.is_empty() => return vec![text],
            other => parts.extend(text.get(range(other.span().start_offset, other.span().end_offset)).map(without_what_leads)),
        }
    }
    parts
}

/// The span of an expression may begin with what stands before it.
fn without_what_leads(part: &str) -> &str {
    if parse_expr(part).is_ok() {
        return part;
    }
    let part = part.strip_prefix("and").unwrap_or(part);
    part.trim_start_matches(|c: char| c == '(' || c.is_whitespace())
}

/// What joins the parts of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    And,
    Or,
}

/// How an expression is made up, brackets around all of it aside: parts that are joined, as they are written. `None` where it is no such
/// expression.
pub(crate) fn joined(text: &str) -> Option<(Joined, Vec<&str>)> {
    let text = without_brackets(text);
    // By its tokens, as the spans of minijinja's tree do not reach around the whole of a part.
    let tokens: Vec<(Token<'_>, Range<usize>)> = tokens(text)?;
    let mut depth = 0usize;
    let (mut ors, mut ands) = (Vec::new(), Vec::new());
    for (at, (token, span)) in tokens.iter().enumerate() {
        let is_name = at > 0 && matches!(tokens[at - 1].0, Token::Dot);
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.checked_sub(1)?,
            Token::Ident("if" | "else") if depth == 0 && !is_name => return None,
            Token::Ident("or") if depth == 0 && !is_name => ors.push(span.clone()),
            Token::Ident("and") if depth == 0 && !is_name => ands.push(span.clone()),
            _ => {}
        }
    }
    // `or` binds least.
    let (joined, at) = if ors.is_empty() { (Joined::And, ands) } else { (Joined::Or, ors) };
    let starts = std::iter::once(0).chain(at.iter().map(|word| word.end));
    let ends = at.iter().map(|word| word.start).chain([text.len()]);
    let parts: Option<Vec<&str>> = starts.zip(ends).map(|(start, end)| Some(text.get(start..end)?.trim())).collect();
    parts.filter(|parts| parts.len() > 1).map(|parts| (joined, parts))
}

/// An expression without the brackets around all of it.
fn without_brackets(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else { return text };
    // Those of `(a) and (b)` are not around all of it.
    if parse_expr(inner).is_ok() { without_brackets(inner) } else { text }
}

fn tokens(text: &str) -> Option<Vec<(Token<'_>, Range<usize>)>> {
    within_bounds(text, true).ok()?;
    let tokens = tokenize(text, true, syntax()).map(|token| token.map(|(token, span)| (token, range(span.start_offset, span.end_offset))));
    tokens.collect::<Result<_, _>>().ok()
}

/// The step and the output that an expression asks about, where it is nothing but `steps.<step>.<output> is none` (true) or `is not none`
/// (false).
pub(crate) fn null_test(text: &str) -> Option<(String, String, bool)> {
    let expr = within_bounds(text, true).ok().and_then(|()| parse_expr(text).ok())?;
    let (test, is_null) = match &expr {
        ast::Expr::Test(test) => (test, true),
        // `not x is none` reads like this, too, and means the same.
        ast::Expr::UnaryOp(unary) => match (&unary.op, &unary.expr) {
            (ast::UnaryOpKind::Not, ast::Expr::Test(test)) => (test, false),
            _ => return None,
        },
        _ => return None,
    };
    let mut walk = Walk::new(&[]);
    if test.name != "none" || !walk.reference(&test.expr, false) || !walk.parsed.faults.is_empty() {
        return None;
    }
    match walk.parsed.references.pop()? {
        Reference { root: Root::Steps, path, .. } if path.len() == 2 => Some((path[0].clone(), path[1].clone(), is_null)),
        _ => None,
    }
}

fn within_bounds(text: &str, expression: bool) -> Result<(), (Fault, Range<usize>)> {
    // Errors of the tokenizer come up again, better told, when the text is parsed.
    let tokens = || tokenize(text, expression, syntax()).take_while(Result::is_ok).take(MOST_TOKENS + 1).count();
    if text.len() > MOST_BYTES || tokens() > MOST_TOKENS { Err((Fault::TooLong, 0..text.len())) } else { Ok(()) }
}

fn fault_of(error: &minijinja::Error, text: &str) -> (Fault, Range<usize>) {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let span = error.range().filter(|range| text.get(range.clone()).is_some_and(|part| !part.is_empty()));
    (Fault::Syntax(TemplateFault::Parser(detail)), span.unwrap_or(0..text.len()))
}

/// Where the expression is, if `text` is exactly one `{{ … }}`.
fn whole(text: &str, children: &[ast::Stmt<'_>]) -> Option<Range<usize>> {
    let [ast::Stmt::EmitExpr(_)] = children else { return None };
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let start = text.len() - "}}".len() - inner.len();
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    Some(start..start + inner.len())
}

/// A walk over a syntax tree, without recursion.
struct Walk<'t, 'a> {
    open: Vec<Open<'t, 'a>>,
    locals: HashSet<&'a str>,
    parsed: Parsed,
    /// Expressions visited: one, if the whole is a bare reference.
    visited: usize,
}

enum Open<'t, 'a> {
    Stmt(&'t ast::Stmt<'a>),
    Expr(&'t ast::Expr<'a>),
    /// An expression whose value becomes text.
    Emit(&'t ast::Expr<'a>),
}

impl<'t, 'a> Walk<'t, 'a> {
    fn new(children: &'t [ast::Stmt<'a>]) -> Self {
        let locals = locals(children);
        Self { open: Vec::new(), locals, parsed: Parsed::default(), visited: 0 }
    }

    fn all(mut self) -> Parsed {
        while let Some(open) = self.open.pop() {
            match open {
                Open::Stmt(stmt) => self.stmt(stmt),
                Open::Expr(expr) => self.expr(expr, false),
                Open::Emit(expr) => self.expr(expr, true),
            }
        }
        self.parsed.references.sort_by_key(|reference| reference.span.start);
        self.parsed.faults.sort_by_key(|(_, span)| span.start);
        self.parsed.bare = self.visited == 1 && self.parsed.references.len() == 1;
        self.parsed
    }

    fn stmt(&mut self, stmt: &'t ast::Stmt<'a>) {
        match stmt {
            ast::Stmt::Template(template) => self.stmts(&template.children),
            ast::Stmt::EmitRaw(_) => {}
            ast::Stmt::EmitExpr(emit) => self.open.push(Open::Emit(&emit.expr)),
            ast::Stmt::ForLoop(each) if each.recursive => self.binds(each.span()),
            ast::Stmt::ForLoop(each) => {
                self.exprs([&each.iter].into_iter().chain(&each.filter_expr));
                self.stmts(&each.body);
                self.stmts(&each.else_body);
            }
            ast::Stmt::IfCond(branch) => {
                self.exprs([&branch.expr]);
                self.stmts(&branch.true_body);
                self.stmts(&branch.false_body);
            }
            ast::Stmt::WithBlock(with) => self.binds(with.span()),
            ast::Stmt::Set(set) => self.binds(set.span()),
            ast::Stmt::SetBlock(set) => self.binds(set.span()),
            ast::Stmt::Do(call) => self.binds(call.span()),
            ast::Stmt::AutoEscape(escape) => {
                self.exprs([&escape.enabled]);
                self.stmts(&escape.body);
            }
            ast::Stmt::FilterBlock(block) => {
                self.exprs([&block.filter]);
                self.stmts(&block.body);
            }
        }
    }

    fn binds(&mut self, span: minijinja::machinery::Span) {
        self.parsed.faults.push((Fault::Syntax(TemplateFault::NamesAValue), range(span.start_offset, span.end_offset)));
    }

    fn stmts(&mut self, stmts: &'t [ast::Stmt<'a>]) {
        self.open.extend(stmts.iter().map(Open::Stmt));
    }

    fn exprs(&mut self, exprs: impl IntoIterator<Item = &'t ast::Expr<'a>>) {
        self.open.extend(exprs.into_iter().map(Open::Expr));
    }

    fn args(&mut self, args: &'t [ast::CallArg<'a>]) {
        self.exprs(args.iter().map(|arg| match arg {
            ast::CallArg::Pos(expr) | ast::CallArg::Kwarg(_, expr) | ast::CallArg::PosSplat(expr) | ast::CallArg::KwargSplat(expr) => expr,
        }));
    }

    fn expr(&mut self, expr: &'t ast::Expr<'a>, as_text: bool) {
        self.visited += 1;
        if self.reference(expr, as_text) {
            return;
        }
        match expr {
            ast::Expr::Var(_) | ast::Expr::Const(_) => {}
            ast::Expr::Slice(slice) => {
                self.exprs([&slice.expr].into_iter().chain(&slice.start).chain(&slice.stop).chain(&slice.step));
            }
            ast::Expr::UnaryOp(unary) => self.exprs([&unary.expr]),
            ast::Expr::BinOp(binary) => self.exprs([&binary.left, &binary.right]),
            ast::Expr::Compare(compare) => self.exprs([&compare.expr].into_iter().chain(compare.ops.iter().map(|op| &op.expr))),
            ast::Expr::IfExpr(branch) => self.exprs([&branch.test_expr, &branch.true_expr].into_iter().chain(&branch.false_expr)),
            ast::Expr::Filter(filter) => {
                self.tool(Tool::Filter, filter.name, filter.span());
                self.exprs(&filter.expr);
                self.args(&filter.args);
            }
            ast::Expr::Test(test) => {
                self.tool(Tool::Test, test.name, test.span());
                self.exprs([&test.expr]);
                self.args(&test.args);
            }
            ast::Expr::GetAttr(get) => self.exprs([&get.expr]),
            ast::Expr::GetItem(get) => self.exprs([&get.expr, &get.subscript_expr]),
            ast::Expr::Call(call) => {
                match &call.expr {
                    ast::Expr::Var(function) => self.tool(Tool::Function, function.id, function.span()),
                    other => self.exprs([other]),
                }
                self.args(&call.args);
            }
            ast::Expr::List(list) => self.exprs(&list.items),
            ast::Expr::Tuple(tuple) => self.exprs(&tuple.items),
            ast::Expr::Map(map) => self.exprs(map.keys.iter().chain(&map.values)),
        }
    }

    /// Whether `expr` is a name and nothing but names after it; notes what that refers to.
    fn reference(&mut self, expr: &'t ast::Expr<'a>, as_text: bool) -> bool {
        let mut path = Vec::new();
        let mut at = expr;
        let name = loop {
            match at {
                ast::Expr::Var(var) => break var.id,
                ast::Expr::GetAttr(get) => {
                    path.push(get.name.to_owned());
                    at = &get.expr;
                }
                ast::Expr::GetItem(get) => {
                    let ast::Expr::Const(key) = &get.subscript_expr else { return false };
                    let Some(key) = key.value.as_str() else { return false };
                    path.push(key.to_owned());
                    at = &get.expr;
                }
                _ => return false,
            }
        };
        path.reverse();
        let span = range(at.span().start_offset, expr.span().end_offset);
        match Root::named(name) {
            Some(root) if path.len() < least(root) => {
                let vague = Reference { root, path, span: span.clone(), as_text };
                self.parsed.faults.push((Fault::Vague(vague.text()), span));
            }
            Some(root) => self.parsed.references.push(Reference { root, path, span, as_text }),
            None if self.locals.contains(name) => {}
            None => self.parsed.faults.push((Fault::UnknownName(name.to_owned()), span)),
        }
        true
    }

    fn tool(&mut self, what: Tool, name: &str, span: minijinja::machinery::Span) {
        if !super::template::knows(what, name) && !self.locals.contains(name) {
            self.parsed.faults.push((Fault::UnknownTool(what, name.to_owned()), range(span.start_offset, span.end_offset)));
        }
    }
}

/// How many names must follow a root.
fn least(root: Root) -> usize {
    if root == Root::Steps { 2 } else { 1 }
}

fn range(start: u32, end: u32) -> Range<usize> {
    start as usize..end as usize
}

/// Every name that the template itself defines anywhere: loop variables.
fn locals<'a>(children: &[ast::Stmt<'a>]) -> HashSet<&'a str> {
    let mut locals = HashSet::new();
    let mut open: Vec<&ast::Stmt<'a>> = children.iter().collect();
    while let Some(stmt) = open.pop() {
        match stmt {
            ast::Stmt::ForLoop(each) => {
                locals.insert("loop");
                assigned(&each.target, &mut locals);
                open.extend(each.body.iter().chain(&each.else_body));
            }
            ast::Stmt::IfCond(branch) => open.extend(branch.true_body.iter().chain(&branch.false_body)),
            ast::Stmt::AutoEscape(escape) => open.extend(&escape.body),
            ast::Stmt::FilterBlock(block) => open.extend(&block.body),
            ast::Stmt::Template(template) => open.extend(&template.children),
            ast::Stmt::EmitExpr(_) | ast::Stmt::EmitRaw(_) => {}
            ast::Stmt::WithBlock(_) | ast::Stmt::Set(_) | ast::Stmt::SetBlock(_) | ast::Stmt::Do(_) => {}
        }
    }
    locals
}

fn assigned<'a>(target: &ast::Expr<'a>, locals: &mut HashSet<&'a str>) {
    let mut open = vec![target];
    while let Some(target) = open.pop() {
        match target {
            ast::Expr::Var(var) => {
                locals.insert(var.id);
            }
            ast::Expr::List(list) => open.extend(&list.items),
            ast::Expr::Tuple(tuple) => open.extend(&tuple.items),
            _ => {}
        }
    }
}

/// Every template among the strings of `value`, parsed.
pub(crate) fn templates_in(value: &Value) -> impl Iterator<Item = Parsed> {
    let mut open = vec![value];
    std::iter::from_fn(move || {
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) if is_template(text) => return Some(parse_text(text)),
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
        None
    })
}

fn references_in<'a>(action: &'a Action, when: Option<&'a str>) -> impl Iterator<Item = Reference> {
    templates_in(&action.with).chain(when.map(parse_when)).flat_map(|parsed| parsed.references)
}

fn names(references: impl Iterator<Item = Reference>, root: Root) -> BTreeSet<String> {
    references.filter(|reference| reference.root == root).map(|mut reference| reference.path.swap_remove(0)).collect()
}

/// The secrets that an action and its `when` refer to, each once, so that a resume can refuse when one cannot be had (rule 12).
pub fn secrets_in(action: &Action, when: Option<&str>) -> Vec<String> {
    names(references_in(action, when), Root::Secrets).into_iter().collect()
}

/// The environment variables that a plan refers to, each once: what a run must be started with (rule 12). Not those of `[secrets]`.
pub fn env_references(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter().chain(&plan.finally);
    let in_steps = steps.flat_map(|step| {
        let compensations = step.compensate.iter().map(|compensation| (&compensation.action, compensation.when.as_deref()));
        [(&step.action, step.when.as_deref())]
            .into_iter()
            .chain(step.probe.iter().map(|probe| (probe, None)))
            .chain(compensations)
            .flat_map(|(action, when)| references_in(action, when))
    });
    let in_texts = [&plan.lock].into_iter().chain(plan.measure.iter().flat_map(MeasureCheck::texts)).map(|text| parse_text(text));
    let in_vars = plan.vars.values().flat_map(templates_in);
    let elsewhere = in_texts.chain(in_vars).flat_map(|parsed| parsed.references);
    names(in_steps.chain(elsewhere), Root::Env).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_joined_by_and_are_told_apart() {
        assert_eq!(conjuncts("a.b == 1"), ["a.b == 1"]);
        assert_eq!(conjuncts("vars.a == 1 and not vars.b and vars.c | length > 0"), ["vars.a == 1", "not vars.b", "vars.c | length > 0"]);
        assert_eq!(conjuncts("(vars.a or vars.b) and vars.c is not none").len(), 2);
        assert_eq!(conjuncts("vars.a and vars.b or vars.c"), ["vars.a and vars.b or vars.c"]);
        assert_eq!(conjuncts("not (vars.a and vars.b)"), ["not (vars.a and vars.b)"]);
        assert!(conjuncts("vars.a ==").is_empty());
    }

    #[test]
    fn parts_that_are_joined_are_whole() {
        let parts = |text| joined(text).map(|(_, parts)| parts);
        assert_eq!(parts("steps.a.yes or steps.b.no and vars.c"), Some(vec!["steps.a.yes", "steps.b.no and vars.c"]));
        assert_eq!(parts("(vars.a or vars.b) and (vars.c)"), Some(vec!["(vars.a or vars.b)", "(vars.c)"]));
        assert_eq!(parts("((vars.a or vars.b['or']))"), Some(vec!["vars.a", "vars.b['or']"]));
        assert_eq!(parts("vars.x.and and vars.y == 'a or b'"), Some(vec!["vars.x.and", "vars.y == 'a or b'"]));
        assert_eq!(parts("not (vars.a and vars.b)"), None);
        assert_eq!(parts("vars.a if vars.b or vars.c else vars.d"), None);
        assert_eq!(parts("vars.a and"), Some(vec!["vars.a", ""]));
    }
}
