use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

/// Conversations and what goes with them; `tests/golden/templates/README.md` says where they are from.
#[derive(Deserialize)]
struct Given {
    now: u64,
    tokens: BTreeMap<String, String>,
    conversations: BTreeMap<String, Vec<Message>>,
}

/// A template and what Jinja makes of it.
#[derive(Deserialize)]
struct Golden {
    name: String,
    template: String,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    conversation: String,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/templates"))
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn templates_of_many_models_render_as_jinja_does() {
    let given: Given = read(&folder().join("conversations.json"));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(given.now);
    let mut differences = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") || file.ends_with("conversations.json") {
            continue;
        }
        let golden: Golden = read(&file);
        count += 1;
        let template = match ChatTemplate::new(&golden.template, SpecialTexts(given.tokens.clone())) {
            Ok(template) => template,
            Err(error) => {
                differences.push(format!("{}: {error}", golden.name));
                continue;
            }
        };
        for output in &golden.outputs {
            let prompting = if output.add_generation_prompt { Prompting::Reply } else { Prompting::Nothing };
            let rendered = template.render(&given.conversations[&output.conversation], prompting, now);
            if let Some(difference) = difference(output, rendered) {
                differences.push(format!("{}, {}: {difference}", golden.name, output.conversation));
            }
        }
    }
    assert!(count >= 20, "only {count} templates in {}", folder().display());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Where one raises an exception of its own the other must refuse in the same words; where one fails otherwise, the other
/// must fail.
fn difference(output: &Output, rendered: Result<String, TemplateError>) -> Option<String> {
    match (rendered, &output.text, &output.error) {
        (Ok(ours), Some(theirs), _) => (ours != *theirs).then(|| format!("\n  {ours:?}\n  {theirs:?}")),
        (Err(TemplateError::Refused(ours)), None, Some(theirs)) => (ours != *theirs).then(|| format!("{ours:?}, {theirs:?}")),
        (Err(TemplateError::Failed(_)), None, Some(_)) => None,
        (ours, ..) => Some(format!("\n  {ours:?}\n  {:?}{:?}", output.text, output.error)),
    }
}

fn render(source: &str) -> Result<String, TemplateError> {
    let tokens = SpecialTexts([("bos_token".into(), "<s>".into())].into());
    let messages = [Message { role: "user".into(), content: "Zoë said \"<hi>\"".into() }];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_127_506);
    ChatTemplate::new(source, tokens)?.render(&messages, Prompting::Reply, now)
}

#[track_caller]
fn assert_renders(cases: &[(&str, &str)]) {
    for (source, text) in cases {
        assert_eq!(render(source).unwrap(), *text, "{source}");
    }
}

/// The right sides are Python 3.11's and Jinja 3.1.6's.
#[test]
fn values_are_spelled_as_in_python() {
    assert_renders(&[
        (
            "{{ none }} {{ true }} {{ [1, 'a', none, false] }} {{ {'k': 1.0} }} {{ (1, 2) }}",
            "None True [1, 'a', None, False] {'k': 1.0} (1, 2)",
        ),
        ("{{ 7 / 2 }} {{ 7 // 2 }} {{ 6 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }}", "3.5 3 3.0 -4 2 8"),
        ("{{ undefined_name }}|{{ bos_token }}|{{ eos_token is defined }}|{{ tools is none }}", "|<s>|False|True"),
        ("{{ 'ab' * 2 ~ 1 ~ none }} {{ 'abc'[::-1] }} {{ [1, 2, 3][1:] }}", "abab1None cba [2, 3]"),
        ("{{ '' is sequence }} {{ {} is iterable }} {{ tools is iterable }} {{ 3 is sequence }}", "True True False False"),
    ]);
}

/// The right sides are those of Python 3.11's `json.dumps`.
#[test]
fn json_is_spelled_as_python_spells_it() {
    assert_renders(&[
        ("{{ messages | tojson }}", r#"[{"role": "user", "content": "Zoë said \"<hi>\""}]"#),
        ("{{ {'b': [1, 2.5, none, true], 'a': {}} | tojson(sort_keys=true) }}", r#"{"a": {}, "b": [1, 2.5, null, true]}"#),
        ("{{ {'a': [1, {}], 'b': []} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"),
        ("{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}", r#"[1,{"a":2}]"#),
        ("{{ 'é👋\x7f\t\u{1}/' | tojson(ensure_ascii=true) }}", r#""\u00e9\ud83d\udc4b\u007f\t\u0001/""#),
        ("{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}", r#"{"1": 4, "null": 3, "1.5": 5}"#),
        ("{{ [1e16, 1e-5, 0.1, 100.0, -1.5e22, 1e-4, 0.0] | tojson }}", "[1e+16, 1e-05, 0.1, 100.0, -1.5e+22, 0.0001, 0.0]"),
    ]);
}

#[test]
fn methods_and_functions_are_pythons() {
    assert_renders(&[
        (
            "{{ 'a-b-c'.split('-', 1) }} {{ ' a  b '.split() }} {{ 'a-b-c'.rsplit('-', 1) }}",
            "['a', 'b-c'] ['a', 'b'] ['a-b', 'c']",
        ),
        (
            "{{ 'xaxx'.strip('x') }} {{ 'aXb'.replace('X', 'YY') }} {{ ', '.join(['a', 'b']) }} {{ 'aaa'.replace('a', 'b', 2) }}",
            "a aYYb a, b bba",
        ),
        (
            "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.rs'.removesuffix('.rs') }} {{ '{} {:>4}'.format('a', 'b') }}",
            "x x a    b",
        ),
        ("{{ messages[0].get('x', 'none') }} {% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "none a1"),
        ("{{ strftime_now('%d %b %Y %H:%M:%S %-d %A %Q %%') }}", "03 Feb 2026 14:05:06 3 Tuesday %Q %"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "3",
        ),
    ]);
}

#[test]
fn generation_blocks_are_their_content_in_a_scope_of_their_own() {
    let source = "{% set x = 1 %}\n  {% generation %}\n{% set x = 2 %}a{{ x }}{%- endgeneration %}\n{{ x }}";
    assert_renders(&[(source, "a21")]);
}

#[test]
fn what_a_template_raises_is_told_also_from_within_a_macro() {
    for source in ["{{ raise_exception('No!') }}", "{% macro m() %}{{ raise_exception('No!') }}{% endmacro %}{{ m() }}"] {
        let error = render(source).unwrap_err();
        assert!(matches!(&error, TemplateError::Refused(message) if message == "No!"), "{error:?}");
        assert!(error.to_string().ends_with(": No!"));
    }
}

#[test]
fn what_is_no_template_is_refused() {
    for source in ["{% if %}", "{{ 'a' | no_such_filter }}{%", "{% include 'x' %}", &"x".repeat(SOURCE_BYTES_MAX + 1)] {
        assert!(matches!(ChatTemplate::new(source, SpecialTexts::default()), Err(TemplateError::Malformed(_))));
    }
    for source in
        ["{{ messages.append(1) }}", "{{ messages[0].nothing.at_all }}", "{{ 'x' | no_such_filter }}", "{{ [[]] | tojson(1) }}"]
    {
        assert!(!matches!(render(source), Ok(_) | Err(TemplateError::Exhausted)), "{source}");
    }
}

#[test]
fn hostile_templates_end_soon() {
    let doubling =
        |step: &str| format!("{{% set ns = namespace(x='x', l=[1]) %}}{{% for i in range(99) %}}{{% {step} %}}{{% endfor %}}");
    let sources = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".into(),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(),
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}".into(),
        doubling("set ns.x = ns.x ~ ns.x"),
        doubling("set ns.x = ns.x + ns.x"),
        doubling("set ns.x = ns.x.replace('x', 'xx')"),
        doubling("set ns.x = ('x' ~ ns.x).replace('x', ns.x ~ 'x')"),
        doubling("set ns.x = ns.x.join([ns.x, ns.x])"),
        doubling("set ns.x = (ns.x * 99).split('x') | join('xx')"),
        doubling("set ns.x = '%s%s' | format(ns.x, ns.x)"),
        doubling("set ns.x = '{}{}'.format(ns.x, ns.x)"),
        doubling("set ns.x = [ns.x, ns.x] | tojson"),
        doubling("set ns.l = [ns.l, ns.l]") + "{{ ns.l }}",
        doubling("set ns.l = [ns.l, ns.l]") + "{{ ns.l | tojson }}",
        "{{ 'x' * 9999999999 }}".into(),
        "{{ ([1] * 99999999) | tojson }}".into(),
        "{{ 'x'.join(['xxxxxxxx'] * 99999999) }}".into(),
        "{{ [1] | tojson(indent=9999999999) }}".into(),
        "{{ '{:>9999999999}'.format('x') }}".into(),
        "{{ '%9999999999d' | format(1) }}".into(),
        "{{ 'x' | indent(9999999999) }}{{ 'x\nx' | indent(9999999999) }}".into(),
        "{{ 'x' | center(9999999999) }}".into(),
        "{{ strftime_now('%c' * 9999999) }}".into(),
    ];
    for source in &sources {
        let error = render(source).expect_err(source);
        assert!(matches!(error, TemplateError::Exhausted | TemplateError::Failed(_)), "{source}: {error}");
    }
}

#[test]
fn values_in_values_in_values_do_no_harm() {
    for (open, close) in [("[", "]"), ("{'a': ", "}"), ("(", ",)")] {
        let step = format!("{{% set ns.x = {}ns.x{} %}}", open.repeat(50), close.repeat(50)).repeat(20);
        // 400 times makes two of them and compares them; the other runs out of fuel at the deepest place.
        for count in [200, 99_999] {
            let steps = format!("{{% set ns.x = 1 %}}{{% for i in range({count}) %}}{step}{{% endfor %}}");
            let last = "{% set ns.y = ns.x %}";
            let result = render(&format!("{{% set ns = namespace() %}}{steps}{last}{steps}{{{{ ns.x == ns.y }}}}"));
            let is_text = matches!(&result, Ok(text) if text == "True");
            assert!(
                if count == 200 { is_text } else { matches!(result, Err(TemplateError::Exhausted)) },
                "{open} {count}: {result:?}"
            );
        }
    }
}

#[test]
fn a_folder_has_its_template_in_one_of_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let read = || ChatTemplate::read(folder.path());
    let rendered = || read().unwrap().unwrap().render(&[], Prompting::Nothing, SystemTime::UNIX_EPOCH).unwrap();

    assert!(read().unwrap().is_none());
    write("tokenizer_config.json", r#"{"bos_token": {"content": "<b>"}, "eos_token": "<e>", "pad_token": null}"#);
    assert!(read().unwrap().is_none());

    write(
        "special_tokens_map.json",
        r#"{"bos_token": "<other>", "pad_token": {"content": "<p>"}, "additional_special_tokens": ["x"]}"#,
    );
    let source = "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ additional_special_tokens }}";
    let config =
        |template: &str| format!(r#"{{"bos_token": {{"content": "<b>"}}, "eos_token": "<e>", "chat_template": {template}}}"#);
    write("tokenizer_config.json", &config(&format!("\"{source}\"")));
    assert_eq!(rendered(), "<b><e><p>");
    write(
        "tokenizer_config.json",
        &config(r#"[{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]"#),
    );
    assert_eq!(rendered(), "yes");
    write("chat_template.jinja", "its own file {{ eos_token }}\n");
    assert_eq!(rendered(), "its own file <e>");
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (config, words) in [
        ("{", "EOF"),
        (r#"{"chat_template": 3}"#, "neither a text nor a list"),
        (r#"{"chat_template": [{"name": "rag", "template": ""}]}"#, "without one called `default`"),
    ] {
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let error = ChatTemplate::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json") && error.contains(words), "{error}");
    }
}
