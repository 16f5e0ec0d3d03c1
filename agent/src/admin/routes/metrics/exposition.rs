//! Prometheus' text format, read as strictly as its documentation allows.

use std::collections::BTreeSet;

/// All samples of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    kind: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(super) struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads a whole exposition; what is wrong with it otherwise.
pub(super) fn read(text: &str) -> Result<Vec<Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or("HELP says nothing")?;
            let kind = lines.next().and_then(|it| it.strip_prefix("# TYPE "));
            let kind = kind
                .and_then(|it| it.strip_prefix(name)?.strip_prefix(' '))
                .ok_or_else(|| format!("no TYPE follows HELP of {name}"))?;
            if !is_name(name) || text.is_empty() || families.iter().any(|it| it.name == name) {
                return Err(format!("{name} is no name, says nothing, or comes twice"));
            }
            families.push(Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                samples: Vec::new(),
            });
        } else {
            let sample = sample(line).ok_or_else(|| format!("{line:?} is no sample"))?;
            let family = families.last_mut().ok_or("a sample of no family")?;
            family.samples.push(sample);
        }
    }
    families.iter().try_for_each(check)?;
    Ok(families)
}

fn check(family: &Family) -> Result<(), String> {
    let Family {
        name,
        kind,
        samples,
    } = family;
    let mut seen = BTreeSet::new();
    for sample in samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("{sample:?} comes twice"));
        }
    }
    match kind.as_str() {
        "counter" if !name.ends_with("_total") => Err(format!("{name} counts without saying so")),
        "counter" | "gauge" => match samples.iter().find(|it| it.name != *name) {
            Some(other) => Err(format!("{other:?} is not of {name}")),
            None => Ok(()),
        },
        "histogram" => buckets(name, samples),
        other => Err(format!("{name} is a {other}")),
    }
}

fn buckets(name: &str, samples: &[Sample]) -> Result<(), String> {
    let [buckets @ .., sum, count] = samples else {
        return Err(format!("{name} is not whole"));
    };
    let ends = [format!("{name}_sum"), format!("{name}_count")];
    if [&sum.name, &count.name] != [&ends[0], &ends[1]] || sum.value < 0.0 {
        return Err(format!("{name} has no sum or count"));
    }
    let mut before = (f64::NEG_INFINITY, 0.0);
    for bucket in buckets {
        let [(label, le)] = bucket.labels.as_slice() else {
            return Err(format!("{bucket:?} has other labels than its end"));
        };
        let le: f64 = le.replace("+Inf", "inf").parse().map_err(|_| "no end")?;
        let well = bucket.name == format!("{name}_bucket") && label == "le";
        if !well || le <= before.0 || bucket.value < before.1 {
            return Err(format!("{bucket:?} does not follow {before:?}"));
        }
        before = (le, bucket.value);
    }
    if before.0.is_infinite() && (before.1 - count.value).abs() < f64::EPSILON {
        Ok(())
    } else {
        Err(format!("{name} ends at {before:?} and counts {count:?}"))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok().filter(|it: &f64| it.is_finite())?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
    };
    is_name(name).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, character) in rest.char_indices() {
            match (std::mem::take(&mut escaped), character) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, _) | (true, '\\' | '"') => value.push(character),
                (true, 'n') => value.push('\n'),
                (true, _) => return None,
            }
        }
        labels.push((is_name(name).then(|| name.to_owned())?, value));
        let rest = rest.get(end? + 1..)?;
        match rest.strip_prefix(',') {
            Some(more) => text = more,
            None => return rest.is_empty().then_some(labels),
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let starts = characters
        .next()
        .is_some_and(|it| it.is_ascii_alphabetic() || it == '_');
    starts && characters.all(|it| it.is_ascii_alphanumeric() || it == '_')
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = "# HELP a_seconds A.\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.1\"} 1\na_seconds_bucket{le=\"+Inf\"} 2\n\
                 a_seconds_sum 0.5\na_seconds_count 2\n";
    assert!(read(whole).is_ok(), "{:?}", read(whole));
    for (right, wrong) in [
        ("+Inf\"} 2", "+Inf\"} 3"),
        ("0.1\"} 1", "0.1\"} 7"),
        ("le=\"+Inf\"", "le=\"0.05\""),
        ("# TYPE a_seconds histogram\n", ""),
        ("a_seconds_sum 0.5\n", ""),
        ("a_seconds_count 2\n", "a_seconds_count two\n"),
        ("le=\"0.1\"", "le=\"0.1"),
        ("HELP a_seconds A.", "HELP a-seconds A."),
    ] {
        assert!(
            whole.contains(right) && read(&whole.replacen(right, wrong, 1)).is_err(),
            "{wrong}"
        );
    }
    assert!(read(&format!("{whole}{whole}")).is_err());
}
