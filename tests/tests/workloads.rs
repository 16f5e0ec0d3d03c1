//! Services and AI agents: which processes an entry means, what proves it, and what an agent may do for whom.

use std::process::Output;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::{Lab, LabOptions, place};
use toml::Table;

#[path = "workloads/agents.rs"]
mod agents;
#[path = "workloads/provider.rs"]
mod provider;
#[path = "workloads/services.rs"]
mod services;

fn lab(sections: Vec<(String, Table)>) -> Result<Lab> {
    Lab::start(&LabOptions {
        policy: Some(place::project().join("policies/permit-all")),
        sections,
        ..LabOptions::default()
    })
}

fn sessions(lab: &Lab, name: &str) -> Result<Vec<Value>> {
    let sql = format!(
        "select principal, principal_kind, actor, method, strength from sessions where application_name = '{name}'"
    );
    rows(lab, &sql)
}

fn rows(lab: &Lab, sql: &str) -> Result<Vec<Value>> {
    let rows = lab
        .agent()
        .json(&["audit", "query", "--format", "json", sql])?;
    rows.as_array()
        .cloned()
        .context("the query printed no list")
}

fn words(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
