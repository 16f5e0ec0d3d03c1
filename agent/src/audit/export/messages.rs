//! Records put into the form that a sink is sent.

use std::fmt::Write as _;

use super::{
    Form, Host,
    integrity::Link,
    ocsf,
    otlp::{logs, spans},
    syslog,
    tape::Item,
};

/// What goes to a sink together.
pub(super) struct Batch {
    pub(super) messages: Messages,
    /// The last of its events, where events are chained.
    pub(super) link: Option<Link>,
}

/// A batch as a sink takes it.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// One for each record, without line breaks.
    pub(super) lines: Vec<String>,
    /// All of them as one document, for sinks that take documents.
    pub(super) document: Option<String>,
}

impl Batch {
    /// Puts records into their form; `link` is the event before them.
    pub(super) fn new(
        form: Form,
        host: &Host,
        name: &str,
        items: &[Item],
        link: Option<&Link>,
    ) -> Self {
        match form {
            Form::Ocsf => chained(host, name, items, link),
            Form::Otlp => logs::document(host, items).into(),
            Form::OtlpTraces => spans::document(host, items).into(),
            Form::Syslog => Messages {
                lines: items
                    .iter()
                    .filter_map(|item| syslog::message(host, item))
                    .collect(),
                document: None,
            }
            .into(),
        }
    }
}

fn chained(host: &Host, name: &str, items: &[Item], link: Option<&Link>) -> Batch {
    let chain = format!("{}/{name}", host.journal);
    let mut last = link.cloned();
    let mut lines = Vec::with_capacity(items.len());
    for item in items {
        if let Some((event, link)) = ocsf::event(host, &chain, item, last.as_ref()) {
            lines.push(event.to_string());
            last = Some(link);
        }
    }
    Batch {
        messages: Messages {
            lines,
            document: None,
        },
        link: last,
    }
}

impl From<Messages> for Batch {
    fn from(messages: Messages) -> Self {
        Self {
            messages,
            link: None,
        }
    }
}

impl From<Option<serde_json::Value>> for Batch {
    fn from(document: Option<serde_json::Value>) -> Self {
        Messages {
            lines: Vec::new(),
            document: document.map(|document| document.to_string()),
        }
        .into()
    }
}

impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.document.is_none()
    }

    /// The lines, each ended.
    pub(super) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}
