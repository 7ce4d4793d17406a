//! Small plans whose templates would become large.

/// A plan by name. Each needs a secret that nobody has, so that it is refused in any case before a step starts.
pub type Growing = (&'static str, fn() -> String);

/// All of them.
pub const PLANS: &[Growing] = &[
    ("a text that doubles forty times", || vars((1..=40).map(|n| format!("v{n} = \"{{{{ vars.v{0} }}}}{{{{ vars.v{0} }}}}\"", n - 1)))),
    ("a list that doubles forty times", || vars((1..=40).map(|n| format!("v{n} = \"{{{{ [vars.v{0}, vars.v{0}] }}}}\"", n - 1)))),
    ("a long text in a long list", || {
        let long = (1..=18).map(|n| format!("v{n} = \"{{{{ vars.v{0} }}}}{{{{ vars.v{0} }}}}\"", n - 1));
        vars(long.chain([many(std::iter::repeat_n("\"{{ vars.v18 }}\",".to_owned(), 20_000))]))
    }),
    ("a long text in many variables", || {
        let long = (1..=18).map(|n| format!("v{n} = \"{{{{ vars.v{0} }}}}{{{{ vars.v{0} }}}}\"", n - 1));
        vars(long.chain((0..20_000).map(|n| format!("w{n} = \"{{{{ vars.v18 }}}}\""))))
    }),
    ("a variable of many variables", || {
        vars(
            (0..20_000)
                .map(|n| format!("w{n} = \"{{{{ vars.v0 }}}}\""))
                .chain([many((0..20_000).map(|n| format!("\"{{{{ vars.w{n} }}}}\",")))]),
        )
    }),
    ("a text times a number", || template("{{ 'x' * 1000000000 }}")),
    ("a text times a number in a text", || template("a{{ 'x' * 1000000000 }}")),
    ("a list times a number", || template("{{ [1] * 1000000000 }}")),
    ("a list times a number, joined", || template("{{ ([1] * 1000000000) | join(',') }}")),
    ("a text times a number, and so on", || template("{{ ('x' * 10000) * 10000 }}")),
    ("a range", || template("{{ range(1000000000) }}")),
    ("a range, joined", || template("{{ range(99999) | join('xxxxxxxxxxxxxxxxxxxx' * 1000) }}")),
    ("loops in loops", || {
        template("{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}")
    }),
    ("lists of lists", || template("a{{ [[[[[[1] * 999] * 999] * 999] * 999] * 999] * 999 }}")),
    ("lists of lists as JSON", || template("{{ [[[[[[1] * 999] * 999] * 999] * 999] * 999] * 999 | tojson }}")),
    ("lists of lists as a value", || template("{{ [[[[[[1] * 999] * 999] * 999] * 999] * 999] * 999 }}")),
    ("a replacement of every letter", || template("{{ ('a' * 50000) | replace('a', 'b' * 50000) }}")),
    ("replacements of replacements", || {
        template(
            "{{ 'a' | replace('a', 'bbbbbbbbbb') | replace('b', 'cccccccccc') | replace('c', 'dddddddddd') | replace('d', 'e' * 10000) | replace('e', 'f' * 10000) }}",
        )
    }),
    ("an indent of every line", || template("{{ ('\\n' * 50000) | indent(50000, true, true) }}")),
    ("a list, joined by a long text", || template("{{ ([1] * 10000) | join('x' * 50000) }}")),
    ("a wide number", || template("{{ '%1000000000d' | format(1) }}")),
    ("a precise number", || template("{{ '%.1000000000f' | format(1.5) }}")),
    ("batches", || template("{{ [1] | batch(1000000000, 0) | list }}")),
    ("slices", || template("{{ [1] | slice(1000000000, 0) | list }}")),
    ("a round number", || template("{{ 1.5 | round(1000000000) }}")),
    ("a large power", || template("{{ 10 ** 1000000000 }}")),
    ("a split of every letter", || template("{{ ('a,' * 50000) | split(',') | map('replace', '', 'x' * 50000) | list }}")),
    ("JSON that is indented", || template("{{ [[1, 2]] | tojson(indent=1000000000) }}")),
];

fn vars(vars: impl Iterator<Item = String>) -> String {
    let vars: String = vars.map(|var| var + "\n").collect();
    format!(
        "format = 1\n[plan]\nname = \"p\"\n[vars]\nv0 = \"ha\"\n{vars}[secrets]\ns = {{ env = \"ALMAPLAN_NOBODY_HAS_THIS\" }}\n\
         [steps.s]\nuses = \"watch\"\nwith = {{ url = \"{{{{ secrets.s }}}}\" }}\n"
    )
}

fn many(items: impl Iterator<Item = String>) -> String {
    format!("v = [{}]", items.collect::<String>())
}

fn template(text: &str) -> String {
    vars([format!("v = '''{text}'''")].into_iter())
}
