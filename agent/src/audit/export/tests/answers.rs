//! What HTTP sinks may say of what they are sent, and what follows from it.

use std::sync::atomic::AtomicUsize;

use super::*;

/// The log records of bodies that were taken.
fn records(bodies: &mpsc::Receiver<(u16, String)>) -> Vec<Value> {
    let taken = bodies.try_iter().filter(|(status, _)| *status == 200);
    taken
        .flat_map(|(_, body)| {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].clone();
            records.as_array().expect("records").clone()
        })
        .collect()
}

fn requests(records: &[Value]) -> usize {
    let asked = records
        .iter()
        .filter(|record| record["eventName"] == "weir.request");
    asked.count()
}

#[test]
fn a_collector_that_refuses_at_first_gets_every_log_record_when_it_wants_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 200);
    let tries = AtomicUsize::new(0);
    let (address, bodies) = http_sink(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => (503, "", ""),
        1 => (429, "retry-after: 2\r\n", ""),
        _ => (200, "", "{\"partialSuccess\":{}}"),
    });
    let began = Instant::now();
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert!(began.elapsed() > Duration::from_secs(2), "it was to wait");
    assert_eq!(exports.status()[0].refused, 0);
    let records = records(&bodies);
    assert_eq!(requests(&records), 200);
    for record in records {
        assert!(
            record["timeUnixNano"]
                .as_str()
                .is_some_and(|time| time.len() == 19),
            "{record}"
        );
        assert!(record["body"]["stringValue"].is_string() && record["severityNumber"].is_u64());
    }
}

#[test]
fn a_sink_that_takes_little_at_a_time_gets_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 600);
    let (address, bodies) = http_sink(|body| {
        let status = if body.len() > 100_000 { 413 } else { 200 };
        (status, "", "")
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert_eq!(exports.status()[0].refused, 0);
    assert_eq!(requests(&records(&bodies)), 600);
}

#[test]
fn a_record_that_a_sink_never_takes_holds_up_no_other_and_is_counted_over_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 40);
    journal
        .event(&Event::Incident {
            what: "poison".to_owned(),
        })
        .expect("recorded");
    record(&journal, 40);
    let (address, bodies) = http_sink(|body| {
        let status = if body.contains("poison") { 400 } else { 200 };
        (status, "", "")
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert_eq!(exports.status()[0].refused, 1);
    assert_eq!(requests(&records(&bodies)), 80);
    drop(exports);
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    assert_eq!(exports.status()[0].refused, 1);
}

/// On a quiet host nothing lies behind it that would show whether the sink takes anything.
#[test]
fn a_record_that_a_sink_never_takes_is_passed_over_once_others_come() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let incident = |what: &str| {
        let what = what.to_owned();
        journal.event(&Event::Incident { what }).expect("recorded");
        journal.sync().expect("synced");
    };
    // More than are tried at a time.
    for _ in 0..60 {
        incident("poison");
    }
    let (address, bodies) = http_sink(|body| {
        let status = if body.contains("poison") { 413 } else { 200 };
        (status, "", "")
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    wait("nothing is wrong", || exports.status()[0].problem.is_some());
    assert_eq!((exports.confirmed(), exports.status()[0].refused), (0, 0));
    incident("something else");
    caught_up(&exports, &journal);
    assert_eq!(exports.status()[0].refused, 60);
    // Not all of them again and again.
    let tries = bodies.try_iter().count();
    assert!(tries < 500, "{tries}");
}

/// Of these nothing is sent in this form: they say nothing of the sink.
#[test]
fn what_a_form_does_not_tell_is_no_sign_that_a_sink_takes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    // One span in the end, behind many records that make none.
    record(&journal, 1);
    for _ in 0..60 {
        let what = "no span".to_owned();
        journal.event(&Event::Incident { what }).expect("recorded");
    }
    record(&journal, 1);
    let refused = std::sync::Mutex::new(None);
    let (address, bodies) = http_sink(move |body| {
        let mut refused = refused.lock().expect("not poisoned");
        let first = refused.get_or_insert_with(|| span(body));
        let status = if body.contains(first.as_str()) {
            400
        } else {
            200
        };
        (status, "", "")
    });
    let settings = [sink(
        Form::OtlpTraces,
        &format!("http://{address}/v1/traces"),
    )];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert_eq!(exports.status()[0].refused, 1);
    drop(bodies);
}

/// The id of a body's first span.
fn span(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"];
    span.as_str().expect("an id").to_owned()
}

#[test]
fn a_sink_that_takes_nothing_at_all_makes_weir_wait_and_not_pass_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 3);
    let (address, bodies) = http_sink(|_| (400, "", ""));
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/metrics"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    wait("nothing is wrong", || exports.status()[0].problem.is_some());
    let said = exports.status()[0].problem.clone().unwrap_or_default();
    assert!(said.contains("400"), "{said}");
    assert_eq!((exports.confirmed(), exports.status()[0].refused), (0, 0));
    drop(exports);
    // The address is mended.
    drop(bodies);
    let (address, bodies) = http_sink(|_| (200, "", ""));
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert_eq!(requests(&records(&bodies)), 3);
}

#[test]
fn what_a_collector_takes_in_part_is_not_sent_again_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 10);
    let (address, bodies) = http_sink(|_| {
        let said =
            "{\"partialSuccess\":{\"rejectedLogRecords\":\"2\",\"errorMessage\":\"too old\"}}";
        (200, "content-type: application/json\r\n", said)
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    let bodies = bodies.try_iter().count() as u64;
    assert_eq!(exports.status()[0].refused, 2 * bodies);
}

#[test]
fn a_collector_cannot_refuse_more_than_it_was_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let (address, bodies) = http_sink(|_| {
        let said = "{\"partialSuccess\":{\"rejectedLogRecords\":\"18446744073709551615\"}}";
        (200, "content-type: application/json\r\n", said)
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    for _ in 0..3 {
        record(&journal, 3);
        caught_up(&exports, &journal);
    }
    let refused = exports.status()[0].refused;
    assert!(refused > 0 && refused <= journal.health().seq, "{refused}");
    drop(bodies);
}

#[test]
fn an_export_whose_thread_has_ended_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let path = dir.path().join("events.jsonl");
    let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    assert_eq!(exports.status()[0].problem, None);
    let ended = std::thread::spawn(|| {});
    wait("it does not end", || ended.is_finished());
    exports.threads.lock().expect("not poisoned")[0] = ended;
    let said = exports.status()[0].problem.clone().unwrap_or_default();
    assert!(said.contains("thread has ended"), "{said}");
}
