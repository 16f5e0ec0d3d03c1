//! Headless Chromium, driven by `tests/browser/browser.mjs`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::place;

/// People at windows of their own.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn start(origin: &str) -> Result<Self> {
        let pictures = pictures()?;
        println!("pictures of the pages: {}", pictures.display());
        let settings = json!({
            "origin": origin, "modules": place::browser_modules()?, "chromium": "/usr/bin/chromium", "pictures": pictures,
        });
        let mut child = Command::new("node")
            .arg(place::project().join("tests/browser/browser.mjs"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run node")?;
        Ok(Self {
            input: child.stdin.take().context("no input")?,
            output: BufReader::new(child.stdout.take().context("no output")?),
            child,
        })
    }

    /// Has `login` do something, an order of `tests/browser/browser.mjs`; whoever has no login yet logs in first.
    pub(crate) fn order(&mut self, login: &str, op: &str, more: &Value) -> Result<Value> {
        let mut order = json!({ "login": login, "op": op });
        for (name, value) in more.as_object().into_iter().flatten() {
            order[name] = value.clone();
        }
        writeln!(self.input, "{order}").context("the browser takes no order")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the browser answered {line:?} to {order}"))?;
        ensure!(
            answer["error"].is_null(),
            "{order}: {}",
            answer["error"].as_str().unwrap_or_default()
        );
        Ok(answer["ok"].clone())
    }

    /// The same with pages that were inspected, of which none may have anything wrong.
    pub(crate) fn inspect(&mut self, login: &str, op: &str, more: &Value) -> Result<Value> {
        let answer = self.order(login, op, more)?;
        let wrong = answer["wrong"]
            .as_array()
            .context("nothing was inspected")?;
        let wrong: Vec<&str> = wrong.iter().filter_map(Value::as_str).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(answer)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pictures() -> Result<PathBuf> {
    let folder = place::programs()?
        .parent()
        .map(Path::to_path_buf)
        .context("no target folder")?
        .join("browser");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
