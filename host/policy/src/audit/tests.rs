//! What a log tells of itself: whatever was changed, and after whatever crash.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::faulty::Memory;
use super::tail::lines;
use super::*;

const START: SystemTime = SystemTime::UNIX_EPOCH;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }
}

fn record(number: u64) -> Record {
    Record {
        request: Some(format!("r-{number}").into()),
        tenant: Some("t".into()),
        caller: Some("c".into()),
        client: Some("127.0.0.1".into()),
        component: Some("chat".into()),
        digest: Some("d1".into()),
        policy: Some("p1".into()),
        action: Some("generate".into()),
        target: Some("m".into()),
        decision: Some(Decision::Deny),
        reason: Some("because".into()),
        rule: Some("rules.cedar:3".into()),
        status: Some(403),
        args: Some("hmac-sha256:00".into()),
        usage: Some(Usage { cpu_ns: 5, ..Usage::default() }),
        ..Record::new(Kind::Decision).with_detail([("more", json!(number))])
    }
}

fn open(memory: &Memory, bytes_max: u64) -> Result<Log, LogError> {
    Log::open(Box::new(memory.clone()), bytes_max, START)
}

/// A log in some files, which ends with a checkpoint.
fn sample() -> Memory {
    sample_of(30)
}

fn sample_of(records: u64) -> Memory {
    let memory = Memory::default();
    let mut log = open(&memory, 4000).expect("begins");
    for number in 0..records {
        log.append(START + Duration::from_secs(number), &record(number));
        if number % 4 == 3 {
            log.checkpoint(START + Duration::from_secs(number)).expect("there is room");
        }
    }
    log.checkpoint(START).expect("there is room");
    memory
}

fn report(files: &dyn Files) -> Report {
    verify(files, &Checks::default()).expect("is read")
}

/// The report on a log with its files changed.
fn changed(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Report {
    let memory = Memory::of(sample().files());
    memory.change(change);
    report(&memory)
}

fn text(report: &Report) -> String {
    report.findings.iter().map(|found| format!("{}:{}: {}\n", found.file, found.line, found.what)).collect()
}

#[track_caller]
fn told(report: &Report, words: &str) {
    assert!(text(report).contains(words), "{words} is not in: {}", text(report));
}

/// All lines of all files, each with the name of its file.
fn all_lines(files: &BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let memory = Memory::of(files.clone());
    let names = super::files(&memory).expect("names");
    names.iter().flat_map(|name| lines(&files[name]).0.map(|(_, line)| (name.clone(), line.to_vec()))).collect()
}

/// Files that hold these lines.
fn with_lines(files: &mut BTreeMap<String, Vec<u8>>, all: &[(String, Vec<u8>)]) {
    files.retain(|name, _| !name.ends_with(".jsonl"));
    for (name, line) in all {
        files.entry(name.clone()).or_default().extend([line, &b"\n"[..]].concat());
    }
    files.entry(CURRENT.into()).or_default();
}

fn with_changed_lines(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Report {
    changed(|files| {
        let mut all = all_lines(files);
        change(&mut all);
        with_lines(files, &all);
    })
}

#[test]
fn a_log_as_it_was_written_is_clean_across_files_and_openings() {
    let memory = sample();
    let mut log = open(&memory, 4000).expect("goes on");
    log.append(START, &record(99));
    log.checkpoint(START).expect("there is room");
    let report = report(&memory);
    assert_eq!(text(&report), "");
    assert!(report.files > 3 && report.torn.is_none() && report.unsigned == 0, "{report:?}");
    assert_eq!((report.records, report.head), (log.seq(), report.checkpoints));
    let all = all_lines(&memory.files());
    let entries: Vec<Entry> = all.iter().map(|(_, line)| Entry::parse(line).expect("a record")).collect();
    let kinds = |kind| entries.iter().filter(|entry| entry.record.kind == kind).count();
    assert_eq!((kinds(Kind::Genesis), kinds(Kind::Decision)), (1, 31));
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    assert_eq!(entries.last().map(|entry| entry.record.kind), Some(Kind::Checkpoint));
}

#[test]
fn records_after_the_last_checkpoint_are_told_as_unsigned() {
    let memory = sample();
    let mut log = open(&memory, 4000).expect("goes on");
    (0..3).for_each(|number| log.append(START, &record(number)));
    log.sync().expect("there is room");
    let report = report(&memory);
    assert_eq!((text(&report).as_str(), report.unsigned), ("", 3));
}

#[test]
fn an_edit_of_any_field_is_told() {
    let fields = [
        "v",
        "seq",
        "time",
        "kind",
        "request",
        "tenant",
        "caller",
        "client",
        "component",
        "digest",
        "policy",
        "action",
        "target",
        "decision",
        "reason",
        "rule",
        "status",
        "args",
        "usage",
        "detail",
        "prev",
    ];
    let place = 12;
    let line = all_lines(&sample().files())[place].1.clone();
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).expect("JSON");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut known = fields;
    known.sort_unstable();
    assert_eq!(keys, known, "a field is not tested, or not written");
    for field in fields {
        let mut edited = object.clone();
        edited[field] = match &object[field] {
            serde_json::Value::String(text) if field == "kind" => json!(if text == "decision" { "request" } else { "" }),
            serde_json::Value::String(text) if field == "decision" => json!(if text == "deny" { "allow" } else { "" }),
            serde_json::Value::String(text) => json!(format!("{text}x")),
            serde_json::Value::Number(number) => json!(number.as_u64().expect("whole") + 1),
            _ => json!({}),
        };
        let report = with_changed_lines(|lines| lines[place].1 = serde_json::to_vec(&edited).expect("JSON"));
        assert!(!report.findings.is_empty(), "{field}");
        let is_near = |found: &Finding| (place as u64..=place as u64 + 2).contains(&found.seq);
        assert!(report.findings.iter().all(is_near), "{field}: {}", text(&report));
    }
}

#[test]
fn a_changed_byte_at_any_position_is_told() {
    let files = sample_of(9).files();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".jsonl") || *name == HEAD || *name == PUBLIC_KEY) {
        for at in 0..bytes.len() {
            // The blank at the end of the public key's file says nothing.
            let flips: &[u8] = if name == PUBLIC_KEY && at == bytes.len() - 1 { &[] } else { &[0x01, 0x80] };
            for flip in flips {
                let memory = Memory::of(files.clone());
                memory.change(|files| files.get_mut(name).expect("is there")[at] ^= flip);
                let report = report(&memory);
                assert!(!report.findings.is_empty() || report.torn.is_some(), "byte {at} of {name}");
            }
        }
    }
}

#[test]
fn a_record_that_is_taken_out_put_in_or_moved_is_told_with_its_number() {
    let count = all_lines(&sample().files()).len();
    for at in 0..count {
        let report = with_changed_lines(|lines| drop(lines.remove(at)));
        let words = if at + 1 < count { format!("record {} is missing", at + 1) } else { "is cut off".into() };
        told(&report, &words);
        let report = with_changed_lines(|lines| {
            let line = lines[at].clone();
            lines.insert(at, line);
        });
        told(&report, &format!("record {} stands after record {}: it was put in or moved", at + 1, at + 1));
        if at + 1 < count {
            let report = with_changed_lines(|lines| {
                let (one, other) = (lines[at].1.clone(), lines[at + 1].1.clone());
                (lines[at].1, lines[at + 1].1) = (other, one);
            });
            told(&report, &format!("record {} stands after record {}: it was put in or moved", at + 1, at + 2));
        }
    }
}

#[test]
fn a_log_that_is_cut_off_is_told() {
    let count = all_lines(&sample().files()).len();
    for left in 0..count {
        let report = with_changed_lines(|lines| lines.truncate(left));
        told(&report, &format!("it names record {count} and the log ends with record {left}: what followed is cut off"));
    }
}

#[test]
fn a_file_that_is_gone_is_told_with_the_records_in_it() {
    let memory = sample();
    let names = super::files(&memory).expect("names");
    for (at, name) in names.iter().enumerate().take(names.len() - 1) {
        let report = changed(|files| drop(files.remove(name)));
        let next: u64 = match names[at + 1].as_str() {
            CURRENT => continue,
            next => next[6..18].parse().expect("a number"),
        };
        let first: u64 = name[6..18].parse().expect("a number");
        told(&report, &format!("records {first} to {} are missing before record {next}", next - 1));
    }
    let report = changed(|files| files.retain(|name, _| !name.ends_with(".jsonl")));
    told(&report, "there are no records");
}

#[test]
fn a_head_that_is_gone_or_older_or_forged_is_told() {
    let memory = Memory::default();
    let mut log = open(&memory, u64::MAX).expect("begins");
    let mut heads = Vec::new();
    for number in 0..4 {
        log.append(START, &record(number));
        log.checkpoint(START).expect("there is room");
        heads.push(memory.files()[HEAD].clone());
    }
    let with_head = |head: Option<&[u8]>| {
        let memory = Memory::of(memory.files());
        memory.change(|files| match head {
            Some(head) => drop(files.insert(HEAD.into(), head.into())),
            None => drop(files.remove(HEAD)),
        });
        (report(&memory), open(&memory, u64::MAX).map(drop))
    };
    let (report, opened) = with_head(Some(&heads[3]));
    assert!(report.findings.is_empty() && opened.is_ok());
    for older in &heads[..2] {
        let (report, opened) = with_head(Some(older));
        told(&report, "an older one was put in its place");
        assert!(matches!(opened, Err(LogError::OldHead { .. })));
    }
    // Only a crash between a checkpoint and its head leaves the one before.
    assert!(with_head(Some(&heads[2])).0.findings.is_empty());
    let (report, opened) = with_head(None);
    told(&report, "it is gone");
    assert!(opened.is_err());
    let forged = String::from_utf8(heads[3].clone()).expect("text").replace("\"head\":5", "\"head\":6");
    let (report, opened) = with_head(Some(forged.as_bytes()));
    told(&report, "malformed or not signed");
    assert!(matches!(opened, Err(LogError::Head)));
}

#[test]
fn a_head_that_was_seen_before_is_asked_for() {
    let memory = sample();
    let head = report(&memory).head;
    let seen = |head_min| verify(&memory, &Checks { head_min, ..Checks::default() }).expect("is read");
    assert_eq!(text(&seen(head)), "");
    told(&seen(head + 1), &format!("the newest checkpoint is {head} and checkpoint {} was seen before", head + 1));
}

#[test]
fn a_log_that_was_written_again_with_another_key_is_told_by_who_kept_the_key() {
    let (ours, theirs) = (sample(), sample());
    let key = String::from_utf8(ours.files()[PUBLIC_KEY].clone()).expect("text").trim().to_owned();
    assert_eq!(text(&report(&theirs)), "");
    let checks = Checks { public_key: Some(key.clone()), ..Checks::default() };
    assert_eq!(text(&verify(&ours, &checks).expect("is read")), "");
    let report = verify(&theirs, &checks).expect("is read");
    told(&report, "the log began with another public key");
    told(&report, "is not signed by this log's key");
    // And where only the checkpoints are forged, by the log itself.
    let memory = Memory::of(ours.files());
    memory.change(|files| drop(files.insert(PUBLIC_KEY.into(), theirs.files()[PUBLIC_KEY].clone())));
    told(&super::tests::report(&memory), "the log began with another public key");
}

#[test]
fn some_files_alone_can_be_verified() {
    let memory = sample();
    let names = super::files(&memory).expect("names");
    for name in &names {
        let checks = Checks { only: vec![name.clone()], ..Checks::default() };
        let report = verify(&memory, &checks).expect("is read");
        let expected = if report.records == 0 { "audit.jsonl:0: there are no records\n" } else { "" };
        assert!(text(&report).is_empty() || text(&report).contains(expected), "{name}: {}", text(&report));
        assert_eq!(report.files, 1);
    }
}

#[test]
fn a_full_file_that_was_cut_is_told_when_it_is_verified_alone() {
    let whole = sample();
    let full: Vec<String> = super::files(&whole).expect("names").into_iter().filter(|name| name != CURRENT).collect();
    assert!(!full.is_empty());
    for name in full {
        let bytes = whole.files()[&name].clone();
        let last = lines(&bytes).0.last().expect("a line").0;
        for length in [last, last + 1, bytes.len() - 1] {
            let memory = Memory::of(whole.files());
            memory.change(|files| files.get_mut(&name).expect("is there").truncate(length));
            let report = verify(&memory, &Checks { only: vec![name.clone()], ..Checks::default() }).expect("is read");
            assert!(!report.findings.is_empty() && report.torn.is_none(), "{name} cut to {length}: {report:?}");
        }
    }
}

#[test]
fn a_file_that_is_none_of_a_logs_by_its_name_is_not_called_clean() {
    let checks = Checks { only: vec!["copy-of-audit.jsonl".into()], ..Checks::default() };
    told(&verify(&sample(), &checks).expect("is read"), "it was not read");
}

#[test]
fn a_torn_end_is_told_to_the_byte_and_recorded_when_the_log_goes_on() {
    let memory = sample();
    let mut log = open(&memory, u64::MAX).expect("goes on");
    log.append(START, &record(7));
    log.sync().expect("there is room");
    let (whole, seq) = (memory.files(), log.seq());
    let current = &whole[CURRENT];
    let line = current.len() - lines(current).0.last().expect("a line").0;
    for cut in 1..line {
        let memory = Memory::of(whole.clone());
        memory.change(|files| files.get_mut(CURRENT).expect("is there").truncate(current.len() - cut));
        let torn = report(&memory);
        let bytes = (line - cut) as u64;
        assert_eq!(text(&torn), "");
        assert_eq!(torn.torn, Some(Torn { file: CURRENT.into(), after: seq - 1, bytes }));
        open(&memory, u64::MAX).expect("goes on");
        let mended = report(&memory);
        assert_eq!((text(&mended).as_str(), &mended.torn), ("", &None));
        let recovered: Vec<(u64, u64)> = mended.recovered.iter().map(|one| (one.seq, one.bytes)).collect();
        assert_eq!(recovered, [(seq, bytes)]);
    }
}

#[test]
fn what_no_crash_leaves_keeps_a_log_from_going_on() {
    let memory = sample();
    let mut log = open(&memory, u64::MAX).expect("goes on");
    (0..3).for_each(|number| log.append(START, &record(number)));
    log.sync().expect("there is room");
    drop(log);
    let edited = Memory::of(memory.files());
    edited.change(|files| {
        let text = String::from_utf8(files[CURRENT].clone()).expect("text").replace("\"r-1\"", "\"r-2\"");
        files.insert(CURRENT.into(), text.into_bytes());
    });
    assert!(matches!(open(&edited, u64::MAX), Err(LogError::Changed { .. })));
    let short = Memory::of(sample().files());
    short.change(|files| files.get_mut(CURRENT).expect("is there").clear());
    let names = super::files(&short).expect("names");
    short.change(|files| drop(files.remove(&names[names.len() - 2])));
    assert!(matches!(open(&short, u64::MAX), Err(LogError::Short { .. })));
    let keyless = Memory::of(memory.files());
    keyless.change(|files| drop(files.remove("signing.key")));
    assert!(matches!(open(&keyless, u64::MAX), Err(LogError::NoKey)));
}

/// Writes records until the storage fails; gives the number of the last one that was said to be durable.
fn work(memory: &Memory, numbers: &mut Numbers) -> u64 {
    let Ok(mut log) = open(memory, 3000) else { return 0 };
    let mut durable = log.seq();
    for number in 0..12 {
        log.append(START, &record(number));
        let seq = log.seq();
        let done = match numbers.below(3) {
            0 => log.write().map(|()| durable),
            1 => log.sync().map(|()| seq),
            _ => log.checkpoint(START).map(|()| seq),
        };
        match done {
            Ok(done) => durable = done,
            Err(_) => return durable,
        }
    }
    durable
}

#[test]
fn after_a_power_loss_at_any_operation_what_was_durable_is_there_and_the_log_goes_on() {
    for seed in 1..=8 {
        let whole = Memory::default();
        work(&whole, &mut Numbers(seed));
        for operation in 0..whole.operations() {
            let memory = Memory::default();
            memory.dies_at(operation);
            let durable = work(&memory, &mut Numbers(seed));
            for kept in 0..4 {
                let disk = memory.after_power_loss(|lost| match kept {
                    0 => lost.clear(),
                    1 => lost.truncate(lost.len() / 2),
                    2 => lost.fill(0),
                    _ => {} // all of it
                });
                let place = format!("seed {seed}, operation {operation}, kept {kept}");
                let found = report(&disk);
                if durable > 0 {
                    assert_eq!(text(&found), "", "{place}");
                    assert!(found.records >= durable, "{place}: {} of {durable}", found.records);
                }
                let mut log = open(&disk, 3000).unwrap_or_else(|error| panic!("{place}: {error}"));
                log.append(START, &record(0));
                log.checkpoint(START).expect("there is room");
                let after = report(&disk);
                assert_eq!((text(&after).as_str(), &after.torn), ("", &None), "{place}");
                assert!(after.records > found.records, "{place}");
                assert_eq!(after.recovered.len(), usize::from(found.torn.is_some()), "{place}");
            }
        }
    }
}

#[test]
fn a_full_disk_and_a_failing_one_lose_nothing_that_is_still_in_memory() {
    let memory = Memory::default();
    let mut log = open(&memory, u64::MAX).expect("begins");
    for round in 0..20 {
        let used: usize = memory.files().values().map(Vec::len).sum();
        memory.room((round % 2 == 0).then_some(used + round * 40));
        memory.fails_to_sync(round % 2 == 1);
        log.append(START, &record(0));
        assert!(log.checkpoint(START).is_err(), "round {round}");
        assert!(log.sync().is_err(), "round {round}");
        memory.room(None);
        memory.fails_to_sync(false);
        log.checkpoint(START).expect("there is room again");
        let report = report(&memory);
        assert_eq!((text(&report).as_str(), report.records, report.unsigned), ("", log.seq(), 0), "round {round}");
    }
}

#[test]
fn digests_of_arguments_differ_by_log_and_by_where_parts_end() {
    let keys = [sample(), sample()].map(|memory| open(&memory, 1).expect("goes on").arguments_key().clone());
    let digest = |key: usize, parts: &[&[u8]]| keys[key].digest(parts);
    assert_eq!(digest(0, &[b"ab", b"c"]), digest(0, &[b"ab", b"c"]));
    assert_ne!(digest(0, &[b"ab", b"c"]), digest(0, &[b"a", b"bc"]));
    assert_ne!(digest(0, &[b"ab"]), digest(1, &[b"ab"]));
}
