//! Templates as authors write them, and as attackers do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use activities::content::Part;
use activities::content::body::Footer;
use activities::content::step::{BodySource, CompiledStep, RenderFault, Rendered, Values};
use activities::content::template::Template;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

fn sending() -> Map<String, Value> {
    map(json!({
        "sender": { "name": "Grace Hopper", "address": "1 Navy Way, Arlington" },
        "campaign": { "name": "Harbour hotels" },
        "unsubscribe_url": "https://mail.example.com/u/t0k3n",
    }))
}

const FOOTER: Footer<'static> = Footer {
    address: "Hopper & Sons\n1 Navy Way\nArlington VA",
    unsubscribe_url: "https://mail.example.com/u/t0k3n?a=1&b=2",
    unsubscribe_text: "Unsubscribe",
};

fn render(
    subject: Option<&str>,
    body: BodySource<'_>,
    lead: Value,
) -> Result<Rendered, RenderFault> {
    let step = CompiledStep::compile(subject, body).unwrap();
    step.render(Values::new(&map(lead), &sending()), None)
}

/// Prints one text, without the line end that closes a part.
fn text(source: &str, lead: Value) -> Result<String, RenderFault> {
    let rendered = render(None, BodySource::Text(source), lead)?;
    Ok(rendered.text.trim_end().to_owned())
}

fn missing(fields: &[&str]) -> RenderFault {
    RenderFault::Missing { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

#[test]
fn fields_conditions_and_filters_print() {
    let lead = json!({
        "first_name": "ada", "company": { "name": "Analytical ENGINES", "address": { "city": "London" } },
        "stars": "4", "price": "1234.5", "tags": ["vip", "spa"], "renewal": "2027-03-31",
        "custom": { "job title": "countess" }, "vip": true, "rooms": 120, "empty": "", "gone": null,
    });
    for (source, printed) in [
        ("Hi {{ first_name | capitalize }}", "Hi Ada"),
        (
            "{{ company.name | title }} of {{ company.address.city }}",
            "Analytical Engines of London",
        ),
        ("{{ custom[\"job title\"] | upper }}", "COUNTESS"),
        ("{% if stars >= 4 %}top{% elif stars == 3 %}good{% else %}ok{% endif %}", "top"),
        ("{% if stars == 4 and vip %}yes{% endif %}", "yes"),
        ("{% if 3 < stars < 5 %}four{% endif %}", "four"),
        ("{{ price | round(2) }} {{ price | round }} {{ rooms | round(1) }}", "1234.50 1235 120.0"),
        (
            "{{ tags }} {{ tags | first }} {{ tags | last }} {{ tags | length }}",
            "vip, spa vip spa 2",
        ),
        ("{% if 'vip' in tags and 'x' not in tags %}in{% endif %}", "in"),
        ("{% if company.address.city in ['Paris', 'London'] %}in{% endif %}", "in"),
        ("{{ renewal | date }}, {{ renewal | date('%d.%m.%Y') }}", "31 March 2027, 31.03.2027"),
        ("{{ 'yes' if vip else 'no' }}{{ 'x' if not vip }}!", "yes!"),
        ("{{ nick or first_name }}", "ada"),
        ("{{ gone | default('there') }}", "there"),
        (
            "[{{ empty }}] {{ empty | default('x') }}{{ empty | default('there', true) }}",
            "[] there",
        ),
        ("{{ missing | upper | default(first_name) }}", "ada"),
        ("{{ \"a b/c&d\" | urlencode }}", "a%20b/c%26d"),
        ("{{ '  x ' | trim }}|{{ 'ab' | last }}|{{ -3 }}", "x|b|-3"),
        (
            "{% if gone is none and gone is not defined and vip is defined %}right{% endif %}",
            "right",
        ),
        ("{{ sender.name }}, {{ campaign.name }}", "Grace Hopper, Harbour hotels"),
        ("{# a note #}{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
    ] {
        assert_eq!(text(source, lead.clone()).as_deref(), Ok(printed), "{source}");
    }
}

#[test]
fn absence_in_a_condition_is_lawful_and_never_true() {
    for test in [
        "x",
        "x.y",
        "x > 1",
        "x < 1",
        "x == 1",
        "x == ''",
        "'a' in x",
        "x in ['a']",
        "x | length > 0",
        "x | length < 5",
        "x is defined",
        "x | round(1) > 0",
        "x and y",
        "'' in x",
    ] {
        let source = format!("{{% if {test} %}}yes{{% else %}}no{{% endif %}}");
        assert_eq!(text(&source, json!({})).as_deref(), Ok("no"), "{test}");
    }
    for test in ["not x", "x != 'DE'", "x is none", "x == none", "'a' not in x"] {
        let source = format!("{{% if {test} %}}yes{{% else %}}no{{% endif %}}");
        assert_eq!(text(&source, json!({})).as_deref(), Ok("yes"), "{test}");
    }
}

#[test]
fn all_missing_fields_of_all_parts_are_named() {
    let step = CompiledStep::compile(
        Some("{{ company.name }} and {{ first_name }}"),
        BodySource::Both {
            text: "{{ stars | upper }} {% if vip %}{{ room }}{% endif %} {% if city %}{{ town }}{% endif %}",
            html: "<p>{{ custom['job title'] }} {{ last_name }} {{ nick | default('x') }} {{ tags | first }}",
        },
    )
    .unwrap();
    let lead = map(json!({ "vip": true, "last_name": null, "company": "Acme", "tags": [] }));
    assert_eq!(
        step.render(Values::new(&lead, &sending()), None),
        Err(missing(&[
            "company.name",
            "custom.job title",
            "first_name",
            "last_name",
            "room",
            "stars",
            "tags"
        ]))
    );
    assert!(step.fields().contains("town") && step.fields().contains("custom.job title"));
}

#[test]
fn an_empty_text_is_present() {
    assert_eq!(text("Hi {{ first_name }}.", json!({ "first_name": "" })).as_deref(), Ok("Hi ."));
}

#[test]
fn what_cannot_be_used_is_named_unless_there_is_a_default() {
    let lead = json!({ "price": "on request", "company": { "name": "x" }, "renewal": "soon" });
    let unusable = |source: &str| match text(source, lead.clone()) {
        Err(RenderFault::Unusable { field, needs }) => format!("{field}: {needs}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(unusable("{{ price | round(2) }}"), "price: a number");
    assert_eq!(unusable("{{ renewal | trim | date }}"), "renewal: a date such as 2027-03-31");
    assert_eq!(unusable("{{ company }}"), "company: one of the fields it groups");
    assert_eq!(text("{{ price | round(2) | default('?') }}", lead.clone()).as_deref(), Ok("?"));
}

#[test]
fn what_we_know_of_the_sending_cannot_be_overwritten_by_an_import() {
    let lead = json!({ "unsubscribe_url": "https://evil.example", "sender": { "name": "Eve" } });
    assert_eq!(
        text("{{ sender.name }} {{ unsubscribe_url }}", lead).as_deref(),
        Ok("Grace Hopper https://mail.example.com/u/t0k3n")
    );
}

#[test]
fn lead_data_is_never_read_as_a_template_nor_as_html() {
    let evil = "{{ sender.name }}{% for x in y %}<script>alert('1')</script>\" onload=\"x";
    let rendered = render(
        Some("Hi {{ first_name }}"),
        BodySource::Html("<p title=\"{{ first_name }}\">{{ first_name }}</p>"),
        json!({ "first_name": evil }),
    )
    .unwrap();
    assert_eq!(rendered.subject.unwrap().as_str(), format!("Hi {evil}"));
    assert!(!rendered.html.contains("<script") && !rendered.html.contains("\" onload"));
    assert!(rendered.html.contains("{{ sender.name }}"));

    let from_text =
        render(None, BodySource::Text("{{ first_name }}"), json!({ "first_name": evil }));
    let from_text = from_text.unwrap();
    assert!(from_text.text.contains("<script>") && !from_text.html.contains("<script"));
}

#[test]
fn a_line_break_from_a_lead_does_not_reach_the_subject() {
    for evil in ["Ada\r\nBcc: eve@example.com", "Ada\nx", "Ada\0", "Ada\u{2028}x"] {
        let rendered = render(
            Some("Hi {{ first_name }}, you"),
            BodySource::Text("x"),
            json!({ "first_name": evil }),
        );
        assert!(matches!(rendered, Err(RenderFault::Subject(_))), "{evil:?}");
    }
    let empty = render(Some("{{ x | default('') }}"), BodySource::Text("x"), json!({}));
    assert!(matches!(empty, Err(RenderFault::Subject(_))));
}

#[test]
fn attacks_and_blow_ups_are_refused_with_a_line_and_a_way_out() {
    let sources = [
        "line one\n{{ 'a' * 10**9 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ 1 + 1 }}",
        "{{ '%0900000000d' | format(1) }}",
        "{{ '%0900000000d' % 1 }}",
        "{{ x | replace('a', 'aaaaaaaa') }}",
        "{{ x | indent(100000) }}",
        "{{ x | join('aaaa') }}",
        "{{ x | safe }}",
        "{{ x | tojson }}",
        "{% for i in range(1000000) %}x{% endfor %}",
        "{{ range(1000000) }}",
        "{{ range(9) | join(',') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{% call m() %}x{% endcall %}",
        "{% set x = 'a' %}",
        "{% set x %}a{% endset %}",
        "{% with x = 1 %}{% endwith %}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% autoescape false %}x{% endautoescape %}",
        "{% do x() %}",
        "{{ x() }}",
        "{{ x.items() }}",
        "{{ x.__class__.__mro__ }}",
        "{{ a.b.c.d }}",
        "{{ self.x }}",
        "{{ loop.index }}",
        "{{ x[0] }}",
        "{{ x[y] }}",
        "{{ x[:3] }}",
        "{{ {'a': 1} }}",
        "{{ [x, y] }}",
        "{{ -x }}",
        "{{ 'abc'.upper }}",
        "{{ x is odd }}",
        "{% if x is eq('a') %}{% endif %}",
        "{{ x | default }}",
        "{{ x | default(*y) }}",
        "{{ x | default(a='b') }}",
        "{{ x | round(99999) }}",
        "{{ x | upper('y') }}",
        "{{ x | date('%Q') }}",
        "{{ x | date('%H:%M') }}",
        "{{ x | date(y) }}",
        "{% if x %}never closed",
        "{{ never closed",
        "{{ }}",
        "{% nonsense %}",
        "{% for x in y %}{{ x * 2 }}{% endfor %}{{ a ~ b }}",
    ];
    let mut told = String::new();
    for source in sources {
        let faults = Template::check(Part::Text, source).expect_err(source);
        told.push_str(&format!("{source}\n"));
        for fault in faults {
            told.push_str(&format!("    {fault}\n"));
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn all_faults_of_all_parts_are_told_at_once() {
    let faults = CompiledStep::compile(
        Some("{{ a ~ b }}"),
        BodySource::Both { text: "{% set x = 1 %}\n{{ y() }}", html: "{{ z | safe }}" },
    )
    .unwrap_err();
    let parts: Vec<_> = faults.iter().map(|fault| (fault.part, fault.line)).collect();
    assert_eq!(parts, [(Part::Subject, 1), (Part::Text, 1), (Part::Text, 2), (Part::Html, 1)]);
}

#[test]
fn sources_that_would_exhaust_the_parser_are_refused() {
    let chain = |link: &str| format!("{{{{ a{} }}}}", link.repeat(5_000));
    let nested = |open: &str, close: &str| {
        format!("{{{{ {}a{} }}}}", open.repeat(5_000), close.repeat(5_000))
    };
    for source in [
        chain(" and a"),
        chain("|upper"),
        chain(".a"),
        chain(" if a else a"),
        chain(" == a"),
        nested("(", ")"),
        nested("[", "]"),
        nested("not ", ""),
        nested("-", ""),
        nested("{1:", "}"),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(5_000)),
        format!("{}{}", "{% if a %}".repeat(3_000), "{% endif %}".repeat(3_000)),
        "{% for a in b %}".repeat(3_000),
        "x".repeat(100_000),
    ] {
        assert!(Template::check(Part::Text, &source).is_err(), "{}", &source[..60]);
    }
    // As deep as is allowed, on the stack of a test thread.
    let deep = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}b".repeat(90));
    assert_eq!(text(&deep, json!({ "a": 1 })), Err(RenderFault::EmptyBody));
    let wide = format!("{{{{ a{} }}}}", "|upper".repeat(50));
    assert_eq!(text(&wide, json!({ "a": "x" })).as_deref(), Ok("X"));
}

#[test]
fn output_is_bounded() {
    let source = "{{ big }}".repeat(100);
    let lead = json!({ "big": "x".repeat(10_000) });
    assert_eq!(text(&source, lead), Err(RenderFault::TooLong { part: Part::Text }));
}

#[test]
fn a_body_without_words_is_not_sent() {
    let empty = text("{% if vip %}Hello{% endif %}\n", json!({}));
    assert_eq!(empty, Err(RenderFault::EmptyBody));
    let empty = render(None, BodySource::Html("<p> </p>{% if vip %}Hi{% endif %}"), json!({}));
    assert_eq!(empty, Err(RenderFault::EmptyBody));
}

#[test]
fn a_plain_body_becomes_clean_html() {
    let step = CompiledStep::compile(
        Some("A question, {{ first_name }}\n"),
        BodySource::Text(
            "Hi {{ first_name }},\r\n\r\n{% if stars > 3 %}\nyour {{ stars }} stars <3\nmade me write.\n{% endif %}\n\n\n\
             Book here: https://example.com/book?a=1&b=(2). Or (see http://example.com/x), or https:// alone.\n\n\
             Grace",
        ),
    )
    .unwrap();
    let lead = map(json!({ "first_name": "Ada & Co", "stars": 4 }));
    let rendered = step.render(Values::new(&lead, &sending()), Some(&FOOTER)).unwrap();
    insta::assert_snapshot!(format!(
        "{}\n--- text\n{}--- html\n{}",
        rendered.subject.unwrap(),
        rendered.text,
        rendered.html
    ));
}

#[test]
fn an_html_body_gets_a_readable_plain_part() {
    let long = "https://example.com/a/very/long/path/that/is/longer/than/seventy-two/columns/and/must/not/be/broken?x=1&y=2";
    let source = format!(
        "<html><head><title>no</title><style>p {{ color: red }}</style></head><BODY><h1>Hello {{{{ first_name }}}}</h1>\
         <p>Some <b>bold</b> and <i>slanted</i> words in a paragraph that is long enough to be wrapped at some point.</p>\
         <ul><li>one</li><li><a href=\"{long}\">two</a></li></ul><blockquote>quoted</blockquote>\
         <p><a href=\"https://example.com\">https://example.com</a> <a href=\"mailto:grace@example.com\">write</a> <a href=\"#x\">up</a></p>\
         <p>{long}</p><table><tr><td>a</td><td>b</td></tr></table><img src=\"x.png\" alt=\"our house\"><img src=\"https://t.example/p.gif\">\
         <script>alert(1)</script></BODY></html>"
    );
    let step = CompiledStep::compile(None, BodySource::Html(&source)).unwrap();
    let lead = map(json!({ "first_name": "Ada" }));
    let rendered = step.render(Values::new(&lead, &sending()), Some(&FOOTER)).unwrap();
    assert!(rendered.text.matches(long).count() == 2, "{}", rendered.text);
    insta::assert_snapshot!(format!("--- text\n{}--- html\n{}", rendered.text, rendered.html));
}

#[test]
fn the_footer_does_not_repeat_a_link_the_author_placed() {
    let source = "Bye: {{ unsubscribe_url }}";
    let step = CompiledStep::compile(None, BodySource::Text(source)).unwrap();
    let footer = Footer { unsubscribe_url: "https://mail.example.com/u/t0k3n", ..FOOTER };
    let rendered = step.render(Values::new(&Map::new(), &sending()), Some(&footer)).unwrap();
    assert_eq!(rendered.text.matches("/u/t0k3n").count(), 1);
    assert_eq!(rendered.html.matches("href=\"https://mail.example.com/u/t0k3n\"").count(), 1);
    assert!(rendered.text.contains("Arlington") && rendered.html.contains("Hopper &amp; Sons"));
}

#[test]
fn html_that_would_stall_the_plain_part_is_refused() {
    for source in
        ["<div>".repeat(12_000), "<table><tr><td>".repeat(3_000), "<a href=x>".repeat(5_000)]
    {
        assert!(Template::check(Part::Html, &source).is_err());
    }
    // Elements that close themselves are not nested, however many there are.
    for source in
        ["<p>x".repeat(5_000), "<br>x<img src=a>".repeat(2_000), "<div>x</div>".repeat(4_000)]
    {
        assert!(render(None, BodySource::Html(&source), json!({})).is_ok());
    }
}

#[test]
fn a_step_renders_thousands_of_times_a_second() {
    fn shared<T: Send + Sync>(_: &T) {}
    let step = CompiledStep::compile(
        Some("Hi {{ first_name }}"),
        BodySource::Text("Hi {{ first_name | title }},\n\n{% if stars > 3 %}{{ stars }}{% endif %} https://example.com\n\nBye"),
    )
    .unwrap();
    shared(&step);
    let lead = map(json!({ "first_name": "Ada", "stars": 4 }));
    let context = sending();
    for _ in 0..5_000 {
        step.render(Values::new(&lead, &context), Some(&FOOTER)).unwrap();
    }
}

/// A template of the allowed language over text fields that are all there.
fn template() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec!["a", "b", "c.d", "'lit'", "'Two words'"]);
    let filter = prop::sample::select(vec![
        "",
        "|upper",
        "|lower",
        "|title",
        "|capitalize",
        "|trim",
        "|length",
        "|first|default('-')",
        "|last|default('-')",
        "|urlencode",
        "|default('x')",
        "|default('x', true)",
    ]);
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "in", "not in"]);
    let either = prop::sample::select(vec!["and", "or"]);
    let test = (field.clone(), comparison, field.clone(), either.clone(), 0..4).prop_map(
        |(left, comparison, right, either, shape)| match shape {
            0 => left.to_owned(),
            1 => format!("{left} {comparison} {right}"),
            2 => format!("not {left} {comparison} {right}"),
            _ => format!("{left} {comparison} {right} {either} not {right}"),
        },
    );
    // Truth values are left out: minijinja prints `True`, we print what JSON says.
    let printed = (field.clone(), filter, either, field, test.clone(), 0..3).prop_map(
        |(left, filter, either, right, test, shape)| match shape {
            0 => format!("{left}{filter}"),
            1 => format!("{left} {either} {right}{filter}"),
            _ => format!("{left}{filter} if {test} else {right}"),
        },
    );
    let leaf = prop_oneof!["[a-z <&\n]{0,8}", printed.prop_map(|it| format!("{{{{ {it} }}}}")),];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let inner = prop::collection::vec(inner, 0..3).prop_map(|parts| parts.concat());
        (test.clone(), inner.clone(), inner).prop_map(|(test, then, other)| {
            format!("{{% if {test} %}}{then}{{% else %}}{other}{{% endif %}}")
        })
    })
}

proptest! {
    /// The language is minijinja's: where fields are texts that are there, it prints the same.
    #[test]
    fn printing_agrees_with_minijinja(source in template(), a in "[ a-zA-Z]{0,6}", b in "[ -%'-~À-ž]{0,6}", d in "[0-9x]{1,3}") {
        let lead = json!({ "a": &a, "b": &b, "c": { "d": &d } });
        // The closing sign keeps white space at the end in place.
        let source = format!("{source}.");
        let mut oracle = minijinja::Environment::new();
        oracle.set_formatter(|out, _, value| Ok(write!(out, "{}", value)?));
        let expected = oracle.render_str(&source, minijinja::context! { a => a, b => b, c => minijinja::context! { d => d } }).unwrap();
        let step = CompiledStep::compile(
            None,
            BodySource::Both { text: "x", html: &format!("<html>{source}") },
        ).unwrap();
        let printed = step.render(Values::new(&map(lead), &Map::new()), None).unwrap().html;
        let unescaped = printed.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
            .replace("&#39;", "'").replace("&amp;", "&");
        prop_assert_eq!(unescaped, format!("<html>{expected}"), "{}", source);
    }

    #[test]
    fn no_source_panics(source in "(\\{\\{|\\}\\}|\\{%|%\\}|if |endif|else|elif |for |in |[a-c.|()\\[\\]~*%+,'\" ]|default|upper|not |and |\\PC){0,60}") {
        if let Ok(step) = CompiledStep::compile(Some(&source), BodySource::Html(&source)) {
            let _either = step.render(Values::new(&map(json!({ "a": "1", "b": ["x"] })), &Map::new()), None);
        }
    }
}
