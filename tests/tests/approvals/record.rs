//! What is recorded of approvals.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::verdicts::Verdict;
use tests::{Lab, Places};

/// The numbers that a program says under a name.
pub(crate) fn numbers(verdicts: &[Verdict], name: &str) -> Result<Vec<u64>> {
    let found = verdicts.iter().find_map(|it| it.got.get(name));
    let found = found.with_context(|| format!("the program says no {name}"))?;
    let list = match found {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    list.iter()
        .map(|it| it.as_u64().context("no number"))
        .collect()
}

/// All records about approvals, by approval.
pub(crate) struct Cases(BTreeMap<u64, Vec<(String, Value)>>);

impl Cases {
    pub(crate) fn of(lab: &Lab) -> Result<Self> {
        let sql = "select event, body from events where event like 'approval%' order by seq";
        let rows = lab
            .agent()
            .json(&["audit", "query", "--format", "json", sql])?;
        let mut cases: BTreeMap<u64, Vec<(String, Value)>> = BTreeMap::new();
        for row in rows.as_array().context("no list")? {
            let event = row["event"].as_str().context("no event")?;
            let body: Value = serde_json::from_str(row["body"].as_str().context("no body")?)?;
            let approval = body["approval"].as_u64().context("no approval")?;
            cases
                .entry(approval)
                .or_default()
                .push((event.to_owned(), body));
        }
        Ok(Self(cases))
    }

    fn bodies<'a>(&'a self, approval: u64, event: &'a str) -> impl Iterator<Item = &'a Value> {
        let events = self.0.get(&approval).into_iter().flatten();
        events
            .filter(move |(name, _)| name == event)
            .map(|(_, body)| body)
    }

    fn ended_as(&self, approvals: &[u64], how: &str) -> Result<()> {
        for approval in approvals {
            let ends: Vec<&Value> = self.bodies(*approval, "approval_ended").collect();
            ensure!(
                ends.len() == 1 && ends[0]["how"] == how,
                "{approval} should have ended once, as {how}: {ends:?}"
            );
        }
        Ok(())
    }

    /// Every wait is recorded from its beginning to its end, and those that the programs name as they say.
    pub(crate) fn say_how_it_ended(&self, verdicts: &[Verdict], stopped: u64) -> Result<()> {
        self.ended_as(&numbers(verdicts, "disconnected")?, "disconnected")?;
        self.ended_as(&numbers(verdicts, "changed")?, "changed")?;
        self.ended_as(&[stopped], "agent_stopped")?;
        for (approval, events) in &self.0 {
            let counted = |name: &str| events.iter().filter(|(event, _)| event == name).count();
            ensure!(
                counted("approval_requested") == 1 && counted("approval_ended") == 1,
                "{approval} is not recorded whole: {events:?}"
            );
        }
        let emergency = numbers(verdicts, "emergency")?[0];
        let decided: Vec<&Value> = self.bodies(emergency, "approval_decided").collect();
        ensure!(
            decided.len() == 1
                && decided[0]["break_glass"] == true
                && decided[0]["approver"]["principal"]["display"] == "bob"
                && decided[0]["reason"] == "seen and agreed",
            "{decided:?}"
        );
        let shown: Vec<&Value> = self
            .bodies(numbers(verdicts, "shown")?[0], "approval_shown")
            .collect();
        ensure!(
            shown.len() == 1 && shown[0]["approver"]["principal"]["display"] == "alice",
            "{shown:?}"
        );
        let lasting = numbers(verdicts, "lasting")?[0];
        ensure!(
            self.bodies(lasting, "approval_used").count() == 3
                && self.bodies(lasting, "approval_revoked").count() == 1,
            "{:?}",
            self.0.get(&lasting)
        );
        Ok(())
    }
}

/// What an approval says that ran is a request for that statement, of that session.
pub(crate) fn what_ran_is_what_was_approved(lab: &Lab, cases: &Cases) -> Result<()> {
    let requests = requests(lab)?;
    let mut ran = 0_u64;
    for approval in cases.0.keys() {
        let asked = cases.bodies(*approval, "approval_requested").next();
        let asked = asked.with_context(|| format!("{approval} was never asked for"))?;
        let ends = cases.bodies(*approval, "approval_ended");
        let uses = cases.bodies(*approval, "approval_used");
        for ran_as in ends.filter(|end| end["how"] == "ran").chain(uses) {
            let seq = ran_as["request"].as_u64();
            let request = requests.get(&seq.context("no request is named")?);
            let request = request.with_context(|| format!("{ran_as} names no request"))?;
            ensure!(
                request["text"] == asked["text"],
                "{approval} was for {asked}, and {request} ran"
            );
            let once = ran_as.get("how").is_some();
            ensure!(
                !once || request["session"] == asked["session"],
                "{approval} was for {asked}, and {request} ran"
            );
            let (bound, hash) = (&asked["bound"]["to"], &ran_as["ran"]);
            ensure!(
                hash.as_str().is_some_and(|hash| hash.len() == 16) && (!once || hash == bound),
                "{approval} holds for {bound}, and {ran_as} is another"
            );
            ensure!(
                asked["bound"]["policy"]
                    .as_str()
                    .is_some_and(|it| !it.is_empty()),
                "{asked} says no policy"
            );
            ran += 1;
        }
    }
    ensure!(ran > 15, "only {ran} ran");
    let sql = "select count(*) as runs, sum(ran = bound_to) as equal, count(distinct bound_to) as bound from approvals where ran is not null";
    let joined = lab
        .agent()
        .json(&["audit", "query", "--format", "json", sql])?;
    let number = |name: &str| joined[0][name].as_u64();
    ensure!(
        number("runs") == Some(ran) && number("equal") > Some(5) && number("bound") > Some(5),
        "{joined}"
    );
    Ok(())
}

/// All requests in the journal, by their numbers.
fn requests(lab: &Lab) -> Result<BTreeMap<u64, Value>> {
    let output = lab
        .weir(&["audit", "tail", "--json", "-n", "100000"])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let mut requests = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["record"] == "requested" {
            requests.insert(record["seq"].as_u64().context("no number")?, record);
        }
    }
    Ok(requests)
}

/// The report for auditors names who asked, who decided, why, and what ran.
pub(crate) fn reported(lab: &Lab) -> Result<()> {
    let report = lab
        .agent()
        .json(&["report", "approvals", "--format", "json"])?;
    let rows = report["rows"].as_array().context("no rows")?;
    let find = |column: &str, word: &str| {
        let says = |row: &&Value| row[column].as_str().is_some_and(|it| it.contains(word));
        rows.iter()
            .find(says)
            .with_context(|| format!("no {column} says {word:?}: {report}"))
    };
    let denied = find("approvers", "month end is closed")?;
    ensure!(
        denied["verdict"] == "denied"
            && denied["requester"] == "bob"
            && denied["asked_because"] == "balances are looked at by two"
            && denied["ended"] == "denied"
            && denied["ran_as_record"] == "",
        "{denied}"
    );
    let ran = find("approvers", "alice: approved (seen and agreed)")?;
    ensure!(
        ran["verdict"] == "approved"
            && ran["ended"] == "ran"
            && ran["ran_as_record"] != ""
            && ran["bound_to"] != ""
            && ran["ran_as_bound"] == "yes",
        "{ran}"
    );
    let broken = find("verdict", "break glass")?;
    ensure!(
        broken["approvers"] == "bob: approved, glass broken (seen and agreed)",
        "{broken}"
    );
    for how in [
        "timed out",
        "cancelled",
        "disconnected",
        "changed",
        "agent stopped",
    ] {
        find("ended", how)?;
    }
    find("actor", "churn-bot")?;
    ensure!(
        denied["holds_for"] == "",
        "a refusal holds for nothing: {denied}"
    );
    let lasting = find("holds_for", "until ")?;
    ensure!(lasting["verdict"] != "denied", "{lasting}");
    let revoked = rows
        .iter()
        .find(|row| row["revoked_by"] != "")
        .with_context(|| format!("nothing was taken back: {report}"))?;
    ensure!(
        revoked["revoked"]
            .as_str()
            .is_some_and(|it| it.ends_with('Z'))
            && revoked["revoked_because"] != ""
            && revoked["holds_for"]
                .as_str()
                .is_some_and(|it| it.starts_with("until ")),
        "{revoked}"
    );
    Ok(())
}

/// Literals of statements that waited are nowhere: not in journal, store, grants or log, nor in what commands printed.
pub(crate) fn no_secrets(lab: &Lab, verdicts: &[Verdict]) -> Result<()> {
    let printed = verdicts.iter().filter(|it| it.case == "printed");
    let printed: Vec<String> = printed.map(|it| it.got.to_string()).collect();
    ensure!(
        printed.iter().any(|text| text.contains("accounts-by-dba")),
        "what commands print is not looked through"
    );
    let mut places = Places::written_by(lab.agent())?;
    ensure!(
        places.some_holds("journal", "accounts-by-dba"),
        "the journal is not looked through"
    );
    ensure!(
        places.some_holds("grants.json", ""),
        "the lasting approvals are not looked through"
    );
    for text in printed {
        places.add("a command", text);
    }
    places.hold_none_of([SECRET])
}

/// What every literal begins with that nobody may see.
const SECRET: &str = "sentinel-";
