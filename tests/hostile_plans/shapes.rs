//! The worst plans of a given size: each one thing overdone.

use std::fmt::Write;

const HEADER: &str = "format = 1\n[plan]\nname = \"p\"\n";

/// A shape of plan, by name: a text of about so many bytes.
pub type Shape = (&'static str, fn(usize) -> String);

/// All of them.
pub const SHAPES: &[Shape] = &[
    ("steps", steps),
    ("a chain of steps", chain),
    ("a circle of steps", circle),
    ("a dense graph", dense),
    ("many circles", circles),
    ("needs that nobody has", unknown_needs),
    ("the same need again and again", double_needs),
    ("references to steps", references),
    ("compensations that refer to what need not have run", not_before),
    ("steps beside the pivot", beside_pivot),
    ("pivots", pivots),
    ("finally steps of the same names", same_names),
    ("lists in lists", nested_lists),
    ("lists in lists, closed", closed_lists),
    ("tables in tables", nested_tables),
    ("tables in tables, closed", closed_tables),
    ("a key of keys", dotted_key),
    ("a header of keys", dotted_header),
    ("many headers of many keys", dotted_headers),
    ("one template", one_template),
    ("one template of parentheses", parentheses),
    ("templates", templates),
    ("templates that fail to parse", broken_templates),
    ("template marks in one text", marks),
    ("a `when` of parentheses", when),
    ("one text", one_text),
    ("a text of escapes", escapes),
    ("one line", one_line),
    ("one name", one_name),
    ("names of keys", long_names),
    ("unknown keys", unknown_keys),
    ("unknown inputs", unknown_inputs),
    ("a chain of variables", var_chain),
    ("a circle of variables", var_circle),
    ("variables that double", doubling_vars),
    ("unknown variables", unknown_vars),
    ("variables that cannot be", bad_vars),
    ("secrets", secrets),
    ("mistakes in one line", mistakes_in_a_line),
    ("a list of small values", small_values),
    ("inputs of small values", small_inputs),
    ("a list of empty tables", empty_tables),
    ("the smallest steps", smallest_steps),
    ("the smallest tables", smallest_tables),
    ("alternatives that do not fit", alternatives),
    ("compensations", compensations),
    ("line ends", line_ends),
    ("comments", comments),
    ("carriage returns", carriage_returns),
    ("bytes that are nothing in TOML", noise),
    ("closing brackets", closing),
    ("equals signs", equals),
    ("quotes", quotes),
    ("commas", commas),
    ("headers twice", headers_twice),
    ("wide characters", wide),
];

/// Pieces after `start` until the text has `bytes`.
fn filled(start: &str, bytes: usize, mut piece: impl FnMut(&mut String, usize)) -> String {
    let mut text = start.to_owned();
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        piece(&mut text, n);
    }
    text
}

fn lines(start: &str, bytes: usize, line: impl Fn(usize) -> String) -> String {
    filled(start, bytes, |text, n| writeln!(text, "{}", line(n)).unwrap())
}

fn with_steps(bytes: usize, step: impl Fn(usize) -> String) -> String {
    lines(HEADER, bytes, |n| format!("[steps.s{n}]\n{}", step(n)))
}

fn steps(bytes: usize) -> String {
    with_steps(bytes, |_| "uses = \"watch\"\nwith = { url = \"u\" }".to_owned())
}

fn chain(bytes: usize) -> String {
    with_steps(bytes, |n| format!("uses = \"watch\"\nneeds = [{}]", if n == 0 { String::new() } else { format!("\"s{}\"", n - 1) }))
}

fn circle(bytes: usize) -> String {
    let last = bytes / 50;
    let step = |n: usize| format!("[steps.s{n}]\nuses = \"watch\"\nneeds = [\"s{}\"]\n", if n == 0 { last } else { n - 1 });
    HEADER.to_owned() + &(0..=last).map(step).collect::<String>()
}

/// Every step needs all before it.
fn dense(bytes: usize) -> String {
    let mut named = String::new();
    filled(HEADER, bytes, |text, n| {
        writeln!(text, "[steps.s{n}]\nuses = \"watch\"\nneeds = [{named}]").unwrap();
        write!(named, "'s{n}',").unwrap();
    })
}

fn circles(bytes: usize) -> String {
    with_steps(bytes, |n| format!("uses = \"watch\"\nneeds = [\"s{}\"]", n ^ 1))
}

fn unknown_needs(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps.s]\nuses = \"watch\"\nneeds = ["), bytes, |n| format!("'s{n}',")) + "]"
}

fn double_needs(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps.a]\nuses = \"watch\"\n[steps.s]\nuses = \"watch\"\nneeds = ["), bytes, |_| "'a',".to_owned()) + "]"
}

fn references(bytes: usize) -> String {
    with_steps(bytes, |n| {
        let of = n.saturating_sub(1);
        format!(
            "uses = \"command\"\ncompensate = \"none\"\nwith = {{ program = \"{{{{ steps.s{of}.stdout }}}}{{{{ steps.s{of}.stderr }}}}\" }}"
        )
    })
}

fn not_before(bytes: usize) -> String {
    with_steps(bytes, |n| {
        let step = "uses = \"command\"\nwith = { program = \"p\" }\ncompensate = { uses = \"command\", with = ";
        format!("{step}{{ program = \"x{{{{ steps.s{}.stdout }}}}\" }} }}", n * 7 % 1000)
    })
}

fn beside_pivot(bytes: usize) -> String {
    with_steps(bytes, |n| format!("uses = \"watch\"\npivot = {}", n == 0))
}

fn pivots(bytes: usize) -> String {
    with_steps(bytes, |_| "uses = \"watch\"\npivot = true\nirreversible = true".to_owned())
}

fn same_names(bytes: usize) -> String {
    lines(HEADER, bytes, |n| format!("[steps.s{n}]\nuses = \"watch\"\n[finally.s{n}]\nuses = \"watch\"\npivot = true"))
}

fn nested(bytes: usize, open: &str, close: &str) -> String {
    let levels = bytes / (open.len() + close.len());
    format!("{HEADER}[vars]\nx = {}{}", open.repeat(levels), close.repeat(levels))
}

fn nested_lists(bytes: usize) -> String {
    nested(bytes, "[", "")
}

fn closed_lists(bytes: usize) -> String {
    nested(bytes, "[", "]")
}

fn nested_tables(bytes: usize) -> String {
    nested(bytes, "{a=", "")
}

fn closed_tables(bytes: usize) -> String {
    nested(bytes, "{a=", "}")
}

fn dotted_key(bytes: usize) -> String {
    format!("{HEADER}[vars]\n{}a = 1", "a.".repeat(bytes / 2))
}

fn dotted_header(bytes: usize) -> String {
    format!("{HEADER}[{}a]", "a.".repeat(bytes / 2))
}

fn dotted_headers(bytes: usize) -> String {
    lines(HEADER, bytes, |n| format!("[steps.s.with.{}x{n}]", "a.".repeat(40)))
}

fn in_program(text: &str) -> String {
    format!("{HEADER}[steps.s]\nuses = \"command\"\nwith = {{ program = '''{text}''' }}")
}

fn one_template(bytes: usize) -> String {
    in_program(&filled("", bytes, |text, n| write!(text, "{{{{ vars.v{n} }}}}").unwrap()))
}

fn parentheses(bytes: usize) -> String {
    in_program(&format!("{{{{ {}1{} }}}}", "(".repeat(bytes / 2), ")".repeat(bytes / 2)))
}

fn templates(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps.s]\nuses = \"command\"\n[steps.s.with]\nprogram = \"p\"\nargs = ["), bytes, |n| {
        format!("'{{{{ vars.v{n} | upper }}}}',")
    }) + "]"
}

fn broken_templates(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps.s]\nuses = \"command\"\n[steps.s.with]\nprogram = \"p\"\nargs = ["), bytes, |_| "'{{ (',".to_owned())
        + "]"
}

fn marks(bytes: usize) -> String {
    in_program(&"{{".repeat(bytes / 2))
}

fn when(bytes: usize) -> String {
    format!("{HEADER}[steps.s]\nuses = \"watch\"\nwhen = '{}1{}'", "(".repeat(bytes / 2), ")".repeat(bytes / 2))
}

fn one_text(bytes: usize) -> String {
    in_program(&"x".repeat(bytes))
}

fn escapes(bytes: usize) -> String {
    format!("{HEADER}[steps.s]\nuses = \"{}\"", "\\u001b".repeat(bytes / 6))
}

/// A mistake at each end of a line that is all there is.
fn one_line(bytes: usize) -> String {
    format!("plan = {{ nam = 1, name = \"{}\", descripton = 2 }}", "x".repeat(bytes))
}

fn one_name(bytes: usize) -> String {
    format!("{HEADER}[steps.{}]\nuses = \"wach\"\nnot_a_key = 1", "x".repeat(bytes))
}

fn long_names(bytes: usize) -> String {
    lines(HEADER, bytes, |n| format!("[steps.{}{n}]\nuses = 7\nneed = [\"{}\"]", "é".repeat(2_000), "y".repeat(4_000)))
}

fn unknown_keys(bytes: usize) -> String {
    lines("", bytes, |n| format!("key{n}=1"))
}

fn unknown_inputs(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps.s]\nuses = \"command\"\n[steps.s.with]"), bytes, |n| format!("\nprogra{n}=1"))
}

fn var_chain(bytes: usize) -> String {
    lines(&format!("{HEADER}[vars]\nv0 = 1\n"), bytes, |n| format!("v{}='{{{{vars.v{n}}}}}'", n + 1))
}

fn var_circle(bytes: usize) -> String {
    var_chain(bytes).replace("v0 = 1", "v0 = '{{ vars.v9 }}'")
}

fn doubling_vars(bytes: usize) -> String {
    lines(&format!("{HEADER}[vars]\nv0 = 'ha'\n"), bytes, |n| format!("v{}='{{{{vars.v{n}}}}}{{{{vars.v{n}}}}}'", n + 1))
}

fn unknown_vars(bytes: usize) -> String {
    lines(&format!("{HEADER}[vars]\n"), bytes, |n| format!("v{n} = '{{{{ vars.w{n} }}}}'"))
}

/// Each of them is told where it stands, and looked for where it is used.
fn bad_vars(bytes: usize) -> String {
    lines(&format!("{HEADER}[vars]\n"), bytes, |n| format!("v{n}={{windows=1}}\nw{n}='{{{{vars.v{n}}}}}'"))
}

fn secrets(bytes: usize) -> String {
    lines(&format!("{HEADER}[secrets]\n"), bytes, |n| format!("s{n} = {{ env = 'A', file = '{{{{' }}"))
}

fn mistakes_in_a_line(bytes: usize) -> String {
    let start = format!("{HEADER}[steps.s]\nuses = \"watch\"\nneeds = [");
    filled(&start, bytes, |text, _| text.push_str("1,")) + "]"
}

fn small_values(bytes: usize) -> String {
    let start = format!("{HEADER}[vars]\nx = [");
    filled(&start, bytes, |text, _| text.push_str("0,")) + "]"
}

fn small_inputs(bytes: usize) -> String {
    let start = format!("{HEADER}[steps.s]\nuses = \"command\"\nwith = {{ program = \"p\", args = [");
    filled(&start, bytes, |text, _| text.push_str("0,")) + "] }"
}

fn empty_tables(bytes: usize) -> String {
    let start = format!("{HEADER}[steps.s]\nuses = \"http-check\"\nwith = {{ checks = [");
    filled(&start, bytes, |text, _| text.push_str("{},")) + "] }"
}

fn smallest_steps(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps]"), bytes, |n| format!("\n{n:x}={{uses='watch'}}"))
}

fn smallest_tables(bytes: usize) -> String {
    lines(&format!("{HEADER}[steps]"), bytes, |n| format!("\n{n:x}={{}}"))
}

fn alternatives(bytes: usize) -> String {
    let start = format!("{HEADER}[steps.s]\nuses = \"http-check\"\nwith = {{ checks = [");
    filled(&start, bytes, |text, _| text.push_str("{expect={status=''}},")) + "] }"
}

fn compensations(bytes: usize) -> String {
    let start = format!("{HEADER}[steps.s]\nuses = \"command\"\nwith = {{ program = \"p\" }}\n");
    lines(&start, bytes, |_| "[[steps.s.compensate]]\nuses = \"command\"".to_owned())
}

fn line_ends(bytes: usize) -> String {
    "\n".repeat(bytes) + "a ="
}

fn comments(bytes: usize) -> String {
    lines("", bytes, |_| "# ção".to_owned()) + "a ="
}

fn carriage_returns(bytes: usize) -> String {
    "\r".repeat(bytes)
}

fn noise(bytes: usize) -> String {
    "\u{1}=\u{7f}[\"\u{202e}\n".repeat(bytes / 9)
}

fn closing(bytes: usize) -> String {
    "]".repeat(bytes)
}

fn equals(bytes: usize) -> String {
    "=\n".repeat(bytes / 2)
}

fn quotes(bytes: usize) -> String {
    "\"\n".repeat(bytes / 2)
}

fn commas(bytes: usize) -> String {
    "a=[".to_owned() + &",".repeat(bytes)
}

fn headers_twice(bytes: usize) -> String {
    lines(HEADER, bytes, |_| "[steps.s]".to_owned())
}

fn wide(bytes: usize) -> String {
    format!("{HEADER}[steps.s]\nuses = \"{}\"\nneed = 1", "🏴\u{200d}☠\u{fe0f}\u{301}".repeat(bytes / 15))
}
