//! What the peers are made to carry.

/// One kind of traffic.
#[derive(Debug)]
pub(crate) struct Workload {
    /// The name on the command line and in the results.
    pub(crate) name: &'static str,
    /// Who makes the traffic.
    pub(crate) load: Load,
    /// Client, proxy and server share one processor: no run depends on where they were put.
    pub(crate) is_pinned: bool,
    /// Part of `--quick`.
    pub(crate) is_quick: bool,
}

/// The client of a workload.
#[derive(Debug)]
pub(crate) enum Load {
    /// pgbench with these arguments.
    Pgbench(&'static [&'static str]),
    /// pgbench with these arguments and a script of its own.
    Script {
        /// The arguments.
        arguments: &'static [&'static str],
        /// The script's text.
        text: &'static str,
    },
    /// One connection that repeats a statement and discards the answers.
    Drain(&'static str),
    /// One connection that repeats a `COPY … FROM STDIN`.
    Fill(&'static str),
}

impl Workload {
    /// Whether every transaction is a connection of its own: its latency is not the statement's.
    pub(crate) fn reconnects(&self) -> bool {
        matches!(self.load, Load::Pgbench(arguments) if arguments.contains(&"-C"))
    }

    /// Whether bytes, and not transactions, are what it is about.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self.load, Load::Drain(_) | Load::Fill(_))
    }
}

/// Every workload, in the order it is run and printed.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: LAT1_SIMPLE_PIN,
        load: Load::Pgbench(&["-S", "-c1", "-j1", "-M", "simple"]),
        is_pinned: true,
        is_quick: true,
    },
    Workload {
        name: LAT1_PREP_PIN,
        load: Load::Pgbench(&["-S", "-c1", "-j1", "-M", "prepared"]),
        is_pinned: true,
        is_quick: true,
    },
    Workload {
        name: "lat1-miss-pin",
        load: Load::Script {
            arguments: &["-c1", "-j1", "-M", "simple"],
            text: NEW_SHAPES,
        },
        is_pinned: true,
        is_quick: false,
    },
    Workload {
        name: "rows10k",
        load: Load::Drain("SELECT * FROM pgbench_accounts WHERE aid BETWEEN 1 AND 10000"),
        is_pinned: true,
        is_quick: true,
    },
    Workload {
        name: "copyout",
        load: Load::Drain("COPY (SELECT * FROM pgbench_accounts WHERE aid <= 100000) TO STDOUT"),
        is_pinned: true,
        is_quick: false,
    },
    Workload {
        name: "copyin",
        load: Load::Fill("COPY pgbench_accounts_copy FROM STDIN"),
        is_pinned: true,
        is_quick: false,
    },
    Workload {
        name: "S8-simple",
        load: Load::Pgbench(&["-S", "-c8", "-j2", "-M", "simple"]),
        is_pinned: false,
        is_quick: false,
    },
    Workload {
        name: S8_PREP,
        load: Load::Pgbench(&["-S", "-c8", "-j2", "-M", "prepared"]),
        is_pinned: false,
        is_quick: true,
    },
    Workload {
        name: "S32-prep",
        load: Load::Pgbench(&["-S", "-c32", "-j2", "-M", "prepared"]),
        is_pinned: false,
        is_quick: false,
    },
    Workload {
        name: "tpcb8-prep",
        load: Load::Pgbench(&["-c8", "-j2", "-M", "prepared"]),
        is_pinned: false,
        is_quick: false,
    },
    Workload {
        name: CONN,
        load: Load::Pgbench(&["-S", "-C", "-c8", "-j2", "-M", "simple"]),
        is_pinned: false,
        is_quick: true,
    },
];

pub(crate) const LAT1_SIMPLE_PIN: &str = "lat1-simple-pin";
pub(crate) const LAT1_PREP_PIN: &str = "lat1-prep-pin";
pub(crate) const S8_PREP: &str = "S8-prep";
pub(crate) const ROWS10K: &str = "rows10k";
pub(crate) const CONN: &str = "conn";

/// Measured beside the workloads, by name on the command line: held connections ...
pub(crate) const IDLE: &str = "idle";
/// ... system calls per transaction ...
pub(crate) const SYSCALLS: &str = "syscalls";
/// ... and user-space instructions per transaction.
pub(crate) const INSTRUCTIONS: &str = "instructions";

/// pgbench puts a variable's value wherever its name stands, so that every statement has another
/// column name and no cache of statement shapes can know it.
const NEW_SHAPES: &str = "\\set aid random(1, 1000000)\n\
    \\set shape random(1, 1000000000)\n\
    SELECT abalance AS c:shape FROM pgbench_accounts WHERE aid = :aid;\n";

/// What `fill` sends: a row of `pgbench_accounts` as `pgbench -i` makes them.
pub(crate) const FILL_ROW: &str = concat!(
    "123456\t1\t0\t",
    "                                                                                    "
);

/// How many rows one `COPY … FROM STDIN` carries: about 3 MB.
pub(crate) const FILL_ROWS: u32 = 30_000;

/// Made beside pgbench's own tables.
pub(crate) const FILL_TABLE: &str =
    "CREATE UNLOGGED TABLE pgbench_accounts_copy (LIKE pgbench_accounts)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for workload in WORKLOADS {
            let namesakes = WORKLOADS.iter().filter(|other| other.name == workload.name);
            assert_eq!(namesakes.count(), 1, "{}", workload.name);
        }
    }

    #[test]
    fn what_the_goals_name_is_measured_by_quick_too() {
        for name in [LAT1_SIMPLE_PIN, LAT1_PREP_PIN, ROWS10K, S8_PREP, CONN] {
            let mut quick = WORKLOADS.iter().filter(|workload| workload.is_quick);
            assert!(quick.any(|workload| workload.name == name), "{name}");
        }
    }

    #[test]
    fn only_conn_reconnects() {
        let reconnecting = WORKLOADS.iter().filter(|workload| workload.reconnects());
        assert_eq!(
            reconnecting
                .map(|workload| workload.name)
                .collect::<Vec<_>>(),
            [CONN]
        );
    }
}
