//! The tools the benchmarks run beside pgbench.
//!
//! Each binary is one instrument: `relay` (the floor every proxy is compared with), `pgtool`
//! (a fake server, idle connections, a bulk reader) and `stepcount` (user-space instructions of a
//! running process). The little PostgreSQL they speak is written here and not taken from weir: a
//! measuring tool that shares code with what it measures shares its mistakes.

pub mod client;
pub mod responses;
