//! Every type: what is sent comes back.

use serde_json::{Value, json};

use super::{call, everything};

#[track_caller]
fn assert_round_trip(function: &str, value: &Value) {
    let reply = call(function, &json!({"value": value}));
    assert_eq!((reply.status, reply.text()), (200, value.to_string()), "{function}"); // as text, to the last digit
}

#[test]
fn each_type_comes_back_as_it_was() {
    for (function, values) in [
        ("bool", json!([true, false])),
        ("s8", json!([-128, 0, 127])),
        ("u8", json!([0, 255])),
        ("s16", json!([-32768, 32767])),
        ("u16", json!([0, 65535])),
        ("s32", json!([i32::MIN, i32::MAX])),
        ("u32", json!([0, u32::MAX])),
        ("s64", json!([i64::MIN, -1, i64::MAX])),
        ("u64", json!([0, 1_u64 << 53, u64::MAX])),
        ("f32", json!([0.0, -0.5, 1e30])),
        ("f64", json!([0.0, 0.1, -1e-300, 1.797_693_134_862_315_7e308])),
        ("char", json!(["a", "é", "😀", "\u{0}"])),
        ("text", json!(["", "a\nb\u{0}\"\\é😀\u{2028}"])),
        ("bytes", json!(["", "AA==", "AAEC", "/+//"])),
        ("numbers", json!([[], [1, 2, 3]])),
        ("pair", json!([["x", 1]])),
        ("points", json!([[], [{"x": 1.0, "y": 2.0}, {"x": -1.0, "y": 0.5}]])),
        ("paint", json!(["deep_blue", "red"])),
        ("rights", json!([[], ["run"], ["may_read", "may_write", "run"]])),
        ("figure", json!(["empty", {"circle": 1.5}, {"poly_line": [{"x": 1.0, "y": 2.0}]}])),
        ("maybe", json!([null, 7])),
        ("nested", json!([null, {"some": null}, {"some": 7}])),
        ("results", json!([[{"ok": 1}, {"err": "no"}]])),
    ] {
        for value in values.as_array().expect("a list") {
            assert_round_trip(&format!("echo/{function}"), value);
        }
    }
}

#[test]
fn all_types_at_once_come_back_from_sync_and_async_functions() {
    assert_round_trip("echo/all", &everything());
    assert_round_trip("echo/later", &everything());
}

#[test]
fn what_may_be_written_in_two_ways_is_read_in_both() {
    for (function, sent, comes) in [
        ("u64", json!("18446744073709551615"), json!(u64::MAX)),
        ("s64", json!("-9223372036854775808"), json!(i64::MIN)),
        ("u32", json!(3.0), json!(3)),
        ("u64", json!(2_251_799_813_685_247.0), json!(2_251_799_813_685_247_u64)),
        ("f32", json!(3), json!(3.0)),
        ("paint", json!("deep-blue"), json!("deep_blue")),
        ("rights", json!(["run", "may-read"]), json!(["may_read", "run"])),
        ("figure", json!({"empty": null}), json!("empty")),
        ("figure", json!({"poly-line": []}), json!({"poly_line": []})),
        ("maybe", Value::Null, Value::Null),
    ] {
        let reply = call(&format!("echo/{function}"), &json!({"value": sent}));
        assert_eq!((reply.status, reply.json()), (200, comes), "{function}");
    }
    assert_eq!(call("echo/maybe", &json!({})).text(), "null", "an option may be left out");
}

#[test]
fn floats_that_json_has_no_numbers_for_are_words() {
    let reply = call("calls/odd-floats", &json!({}));
    assert_eq!(reply.text(), r#"["NaN","Infinity","-Infinity",-0.0,2.2250738585072014e-308]"#);
}

/// Random values by a fixed seed: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn number(&mut self) -> u64 {
        self.below(u64::MAX) >> self.below(64)
    }

    fn text(&mut self) -> String {
        let pool = ['a', 'Z', '0', ' ', '"', '\\', '\n', '\u{0}', '\u{7f}', 'é', '\u{2028}', '中', '😀', '\u{10ffff}'];
        (0..self.below(12)).map(|_| pool[usize::try_from(self.below(14)).expect("small")]).collect()
    }

    fn list(&mut self, item: impl Fn(&mut Random) -> Value) -> Value {
        (0..self.below(5)).map(|_| item(self)).collect()
    }

    fn option(&mut self, item: impl Fn(&mut Random) -> Value) -> Value {
        if self.below(2) == 0 { Value::Null } else { item(self) }
    }

    #[expect(clippy::cast_precision_loss, reason = "any float will do")]
    fn float(&mut self) -> f64 {
        (self.number() as f64 - 1e6) / 1024.0
    }

    fn signed(&mut self) -> i64 {
        self.number().cast_signed()
    }

    fn everything(&mut self) -> Value {
        use base64::Engine as _;
        let point = |random: &mut Random| json!({"x": random.float(), "y": random.float()});
        let bytes: Vec<u8> = (0..self.below(9)).map(|_| self.number().to_le_bytes()[0]).collect();
        let flags = ["may_read", "may_write", "run"].into_iter().filter(|_| self.below(2) == 0).collect::<Vec<_>>();
        let figure = |random: &mut Random| match random.below(3) {
            0 => json!("empty"),
            1 => json!({"circle": 0.25}),
            _ => json!({"poly_line": random.list(point)}),
        };
        json!({
            "flag": self.below(2) == 0, "tiny": self.signed() % 128, "byte": self.number() % 256,
            "short": self.signed() % 32768, "word": self.number() % 65536, "int": self.signed() % (1 << 31),
            "natural": self.number() % (1 << 32), "long": self.signed(), "count_of_all": self.number(), "ratio": 1.5,
            "exact": self.float(), "letter": self.text().chars().next().unwrap_or('x'), "text": self.text(),
            "data": base64::prelude::BASE64_STANDARD.encode(bytes),
            "numbers": self.list(|random| json!(random.signed() % 32768)), "pair": [self.text(), self.number() % 256],
            "place": point(self), "paint": if self.below(2) == 0 { "red" } else { "deep_blue" }, "rights": flags,
            "figures": self.list(figure), "maybe": self.option(|random| json!(random.text())),
            "nested": self.option(|random| json!({"some": random.option(|random| json!(random.number() % 256))})),
            "checked": if self.below(2) == 0 { json!({"ok": self.number() % (1 << 32)}) } else { json!({"err": self.text()}) },
            "bare": if self.below(2) == 0 { json!({"ok": null}) } else { json!({"err": null}) },
        })
    }
}

#[test]
fn random_values_of_all_types_come_back() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200 {
        assert_round_trip("echo/all", &random.everything());
    }
}
