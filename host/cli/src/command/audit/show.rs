//! Records for people: a line each.

use policy::audit::{Entry, Kind, Record};

/// A record in one line: what is not known is left out.
pub(super) fn line(entry: &Entry) -> String {
    let Entry { seq, time, record, .. } = entry;
    let mut words = vec![format!("{seq:>7}"), time.clone(), kind(record.kind).into()];
    let mut add = |name: &str, value: Option<&str>| words.extend(value.map(|value| format!("{name}{value}")));
    add("", record.decision.map(policy::audit::Decision::as_str));
    add("", record.action.as_deref());
    add("", record.target.as_deref());
    let status = record.status.map(|status| status.to_string());
    add("-> ", status.as_deref());
    add("component=", record.component.as_deref());
    add("caller=", record.caller.as_deref());
    add("tenant=", record.tenant.as_deref());
    add("client=", record.client.as_deref());
    add("request=", record.request.as_deref());
    add("rule=", record.rule.as_deref());
    let detail = detail(record);
    add("", detail.as_deref());
    add("— ", record.reason.as_deref());
    // A name may hold what a terminal takes for a command.
    words.join("  ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn detail(record: &Record) -> Option<String> {
    let detail = record.detail.as_ref()?;
    let shown = detail.iter().filter(|(key, _)| *key != "signature" && *key != "log");
    Some(shown.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Genesis => "genesis",
        Kind::Request => "request",
        Kind::End => "end",
        Kind::Decision => "decision",
        Kind::Server => "server",
        Kind::Component => "component",
        Kind::Policy => "policy",
        Kind::Key => "key",
        Kind::Guard => "guard",
        Kind::Erase => "erase",
        Kind::Checkpoint => "checkpoint",
        Kind::Lost => "lost",
        Kind::Recovered => "recovered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_is_known_and_nothing_that_a_terminal_obeys() {
        let text = r#"{"v":1,"seq":7,"time":"2026-01-02T03:04:05.000000Z","kind":"decision","tenant":"t","action":"embed",
            "target":"m\u001b[2J","decision":"would_deny","reason":"why","prev":"00"}"#;
        let shown = line(&Entry::parse(text.as_bytes()).expect("a record"));
        let expected = "      7  2026-01-02T03:04:05.000000Z  decision  would_deny  embed  m\u{fffd}[2J  tenant=t  — why";
        assert_eq!(shown, expected);
    }
}
