//! The system's own store: a file in the folder for additions, and the command that takes it up.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Action, Finding, State, Store, Task, files, java};

/// A distribution's way.
struct Way {
    command: &'static [&'static str],
    folder: &'static str,
    file: &'static str,
}

const WAYS: [Way; 3] = [
    Way {
        command: &["/usr/sbin/update-ca-certificates"],
        folder: "/usr/share/ca-certificates",
        file: "/usr/local/share/ca-certificates/weir-local-ca.crt",
    },
    Way {
        command: &["/usr/bin/update-ca-trust", "extract"],
        folder: "/etc/pki/ca-trust/source/anchors",
        file: "/etc/pki/ca-trust/source/anchors/weir-local-ca.pem",
    },
    Way {
        command: &["/usr/sbin/update-ca-certificates"],
        folder: "/etc/pki/trust/anchors",
        file: "/etc/pki/trust/anchors/weir-local-ca.pem",
    },
];

pub(super) fn run(task: &Task) -> Finding {
    let finding = |place: &str, state, detail: String| Finding {
        store: Store::System,
        place: PathBuf::from(place),
        state,
        detail,
    };
    let here = |way: &&Way| {
        way.command
            .first()
            .is_some_and(|program| Path::new(program).exists())
            && Path::new(way.folder).is_dir()
    };
    let Some(way) = WAYS.iter().find(here) else {
        let detail = "neither update-ca-certificates nor update-ca-trust is here";
        return finding("/etc/ssl", State::Skipped, detail.into());
    };
    match change(task, way) {
        Ok(state) => finding(way.file, state, String::new()),
        Err(error) => finding(way.file, State::Failed, error.to_string()),
    }
}

fn change(task: &Task, way: &Way) -> io::Result<State> {
    let file = Path::new(way.file);
    let entry: [(&Path, &str); 1] = [(file, &task.pem)];
    let before = files::whole(Action::Look, &entry)?;
    let wanted = match task.action {
        Action::Look => return Ok(before),
        Action::Install => State::Installed,
        Action::Remove => State::Absent,
    };
    if before == wanted {
        return Ok(before);
    }
    let state = files::whole(task.action, &entry)?;
    let (program, arguments) = way.command.split_first().unwrap_or((&"", &[]));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        if task.action == Action::Remove {
            java::forget_in_debians()?;
        }
        Ok(state)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().last().unwrap_or_default();
        Err(io::Error::other(format!("{program} failed: {line}")))
    }
}
