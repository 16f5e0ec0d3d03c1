//! weir, the agent: maps database connections to verified identities, decides and records each statement.
//!
//! A module imports from lower ones only:
//! `cli` → `app` → `config` → `admin` → `webhooks` · `control` · `discover` · `proxy` → `guard` → `holds` · `logins` · `sessions` → `policy` · `identity` · `audit` · `catalog` · `capture` → `net` · `tls`.
//! `telemetry`, `shutdown`, `clock`, `latency`, `names` and `terminal` are open to all.

pub mod admin;
pub mod app;
pub mod audit;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod discover;
mod files;
pub mod guard;
pub mod holds;
pub mod identity;
pub mod latency;
pub mod logins;
pub mod names;
pub mod net;
pub mod policy;
pub mod proxy;
pub mod sessions;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod trust;
pub mod webhooks;
