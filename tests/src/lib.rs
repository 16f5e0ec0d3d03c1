//! The harness: a private database, the development issuer and the agent, started for one test and removed after it.
//!
//! [`Lab`] puts the three together and runs commands as one of the [`Identity`] people; `cargo xtask lab`, `demo` and
//! `bench` use it too. Everything it starts is undone when it is dropped, when the test panics and on `SIGINT` or
//! `SIGTERM` (see [`undo`]); what a killed harness left behind is removed by the next one (see [`leftovers`]).
//!
//! The tests themselves are the binaries in `tests/`, one per suite of `cargo xtask test`.

pub mod agent;
pub mod authority;
pub mod cgroup;
pub mod dev_idp;
pub mod governed;
pub mod http;
pub mod lab;
pub mod leftovers;
pub mod oidc;
pub mod place;
pub mod port;
pub mod postgres;
pub mod psql;
pub mod service;
pub mod undo;
pub mod verdicts;
pub mod vm;

pub use agent::{Agent, AgentOptions};
pub use authority::Authority;
pub use cgroup::Cgroup;
pub use dev_idp::DevIdp;
pub use governed::Governed;
pub use http::HttpListener;
pub use lab::{CatalogReader, Engine, Identity, Lab, LabOptions};
pub use oidc::{OidcProvider, Session};
pub use postgres::{Postgres, PostgresOptions};
pub use psql::Psql;
pub use service::Service;
pub use undo::Undo;
