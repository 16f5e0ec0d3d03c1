//! Unmodified, unconfigured clients behave through weir as they do without it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions, place};

#[test]
fn psycopg_behaves_the_same() -> Result<()> {
    same_through_weir(
        &Program::python_with_drivers("psycopg_suite.py")?,
        &["errors_keep_the_session", "latin1_texts"],
    )
}

#[test]
fn asyncpg_behaves_the_same() -> Result<()> {
    same_through_weir(
        &Program::python_with_drivers("asyncpg_suite.py")?,
        &["errors_keep_the_session"],
    )
}

#[test]
fn node_postgres_behaves_the_same() -> Result<()> {
    same_through_weir(&Program::node("node_pg_suite.mjs"), &["errors"])
}

#[test]
fn psql_behaves_the_same() -> Result<()> {
    let lab = start(PERMIT_ALL)?;
    let psql = lab.postgres().programs().client("psql");
    let script = verdicts::drivers().join("psql_script.sql");
    let arguments = ["--no-psqlrc", "--echo-all", "--file"];
    let direct = everything_printed(lab.command_direct(&psql).args(arguments).arg(&script))?;
    let governed = everything_printed(
        lab.command(Identity::Alice, &psql)
            .args(arguments)
            .arg(&script),
    )?;
    ensure!(
        direct.contains("back\\slash") || direct.contains("backslash"),
        "the script did not reach its end: {direct}"
    );
    let (direct, governed) = (comparable(&direct), comparable(&governed));
    let difference = governed
        .lines()
        .zip(direct.lines())
        .find(|(ours, theirs)| ours != theirs);
    ensure!(
        governed == direct,
        "first difference (governed, direct): {difference:?}\n{governed}"
    );
    Ok(())
}

/// Without what must differ: the address that was asked for, the process that served it, and what `weir login` says
/// before it starts the client.
fn comparable(printed: &str) -> String {
    let mut lines = Vec::new();
    for line in printed.lines().filter(|line| !line.starts_with("weir: ")) {
        let line = match line.split_once(" with PID ") {
            Some((head, _)) => head,
            None => line,
        };
        lines.push(
            line.replace("127.0.0.1", "HOST")
                .replace("127.0.0.2", "HOST"),
        );
    }
    lines.join("\n")
}

#[test]
fn pgbench_completes_every_transaction_in_every_mode() -> Result<()> {
    let lab = start(BASELINE)?;
    let set_up = ["--initialize", "--scale=1", "--quiet"];
    everything_printed(lab.command(Identity::Alice, pgbench(&lab)).args(set_up))?;
    let mut expected = 0;
    for mode in ["simple", "extended", "prepared"] {
        expected += run_pgbench(&lab, &["--protocol", mode, "--transactions=100"])?;
        expected += run_pgbench(
            &lab,
            &["--protocol", mode, "--transactions=20", "--connect"],
        )?;
    }
    let recorded = lab.admin("select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) from pgbench_history")?;
    ensure!(recorded.trim() == format!("{expected}|t"), "{recorded}");
    Ok(())
}

#[test]
fn pgbench_pipelines() -> Result<()> {
    let lab = start(BASELINE)?;
    let script = lab.folder().join("pipeline.sql");
    let body = "\\startpipeline\nselect 1;\nselect generate_series(1, 50);\nbegin;\nselect id from orders where id = 7;\ncommit;\n\\endpipeline\n";
    std::fs::write(&script, body.repeat(3)).context("cannot write the script")?;
    let file = format!("--file={}", script.display());
    for mode in ["extended", "prepared"] {
        run_pgbench(&lab, &["--protocol", mode, "--transactions=50", &file])?;
    }
    Ok(())
}

/// Runs four clients; returns the number of transactions they completed.
fn run_pgbench(lab: &Lab, arguments: &[&str]) -> Result<u64> {
    let printed = everything_printed(
        lab.command(Identity::Alice, pgbench(lab))
            .args(["--no-vacuum", "--client=4", "--jobs=2"])
            .args(arguments),
    )?;
    let done = printed
        .lines()
        .find_map(|line| line.strip_prefix("number of transactions actually processed: "))
        .with_context(|| format!("pgbench {arguments:?} printed {printed}"))?;
    let (done, wanted) = done.split_once('/').context("no wanted number")?;
    ensure!(
        done == wanted,
        "pgbench {arguments:?}: {done} of {wanted} transactions: {printed}"
    );
    done.parse().context("no number of transactions")
}

fn pgbench(lab: &Lab) -> PathBuf {
    lab.postgres().programs().client("pgbench")
}

/// Under a pack that permits everything all is the same; under the baseline all but the cases `unreadable`, which send
/// texts that cannot be parsed: those weir refuses itself where rules exist.
fn same_through_weir(program: &Program, unreadable: &[&str]) -> Result<()> {
    for (pack, apart) in [(PERMIT_ALL, [].as_slice()), (BASELINE, unreadable)] {
        let lab = start(pack)?;
        let direct = verdicts::run(program.direct(&lab))?;
        let governed = verdicts::run(program.governed(&lab, Identity::Alice))?;
        verdicts::same(&governed, &direct, apart).with_context(|| format!("under {pack}"))?;
    }
    Ok(())
}

const PERMIT_ALL: &str = "policies/permit-all";
const BASELINE: &str = "policies/baseline";

fn start(pack: &str) -> Result<Lab> {
    Lab::start(&LabOptions {
        policy: Some(place::project().join(pack)),
        // psycopg's suite commits in two phases.
        server_settings: vec![("max_prepared_transactions".into(), "10".into())],
        ..LabOptions::default()
    })
}

/// Runs a client to its successful end; returns what it printed, notices and errors at their place.
fn everything_printed(command: &mut Command) -> Result<String> {
    let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let second = writer.try_clone().context("cannot double a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    // Our own ends of the pipe: while they are open, the reader sees no end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut printed = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut printed).context("cannot read what it prints")?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let status = child.wait().context("cannot tell how it ended")?;
    ensure!(status.success(), "{command:?} ({status}): {printed}");
    Ok(printed)
}
