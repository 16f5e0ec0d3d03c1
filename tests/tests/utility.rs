//! A masked analyst's ordinary SQL keeps working: each statement of the corpus gives, through weir, what it gives on a
//! database whose masked columns hold the mask's constants, or it is refused with a reason.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::verdicts::{self, Program, Verdict, count};
use tests::{Governed, Identity};

#[test]
fn ordinary_statements_give_the_masked_result() -> Result<()> {
    works_on(None)
}

#[test]
fn ordinary_statements_give_the_masked_result_on_postgresql_18() -> Result<()> {
    works_on(Some(18))
}

fn works_on(server_version: Option<u16>) -> Result<()> {
    let site = Governed::shop_and_twin(server_version)?;
    let program = Program::python("../utility/utility.py").patience(Duration::from_mins(8));
    let verdicts = verdicts::run(program.governed(site.lab(), Identity::Bob))?;
    report(&verdicts);
    verdicts::all_well(&verdicts)?;
    let equal = count(&verdicts, "equal");
    let denied = count(&verdicts, "denied");
    ensure!(equal >= 930, "only {equal} statements ran");
    ensure!(
        denied * 100 <= (equal + denied) * 3,
        "{denied} of {} statements were denied",
        equal + denied
    );
    Ok(())
}

/// Prints the numbers, and what was denied by its reason.
fn report(verdicts: &[Verdict]) {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for verdict in verdicts.iter().filter(|v| v.got["verdict"] == "denied") {
        let said = &verdict.got["why"];
        let reason = format!(
            "{} ({})",
            said["M"].as_str().unwrap_or_default(),
            said["H"].as_str().unwrap_or("no hint")
        );
        reasons.entry(reason).or_default().push(&verdict.case);
    }
    println!(
        "{} equal, {} denied, {} different",
        count(verdicts, "equal"),
        count(verdicts, "denied"),
        count(verdicts, "differs")
    );
    for (reason, cases) in reasons {
        println!("denied: {reason}\n    {}", cases.join("\n    "));
    }
}
