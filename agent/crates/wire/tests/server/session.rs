//! A client behind a conversation, in front of a real server.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use weir_wire::postgres::{
    Asked, Conversation, Finished, Gate, Incident, Judge, Limits, Outbox, Refusal, Ruling, Shield,
    Via,
    conversation::{ChannelBinding, Look, Looked},
    frontend::message,
    judge::Unreadable,
    positions::{self, Replaced},
};

use crate::cluster::Cluster;

/// Rewrites `hidden` to another text, limits every answer to so many rows, masks the columns of some relations; what has [`ASK`]
/// in it waits.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) rows: Option<u64>,
    pub(crate) masked: Vec<u32>,
    pub(crate) finished: Vec<Finished>,
    pub(crate) incidents: usize,
    /// Whether what waits may go on, once that is decided.
    pub(crate) approved: Option<bool>,
}

/// Makes a statement wait.
pub(crate) const ASK: &str = "/* ask */";

/// What stands in the server's text for `hidden`.
const SHOWN: &str = "(SELECT 'é' AS a, 1 AS b) AS hidden";

#[derive(Clone)]
pub(crate) struct Text {
    client: String,
    server: Option<String>,
    edits: Vec<Replaced>,
}

impl Judge for Rules {
    type Statement = Text;
    type Ticket = ();

    fn statement(&mut self, text: &[u8], _: Via) -> Ruling<Text> {
        let client = String::from_utf8_lossy(text).into_owned();
        let edits: Vec<Replaced> = client
            .match_indices("hidden")
            .map(|(start, word)| Replaced {
                start,
                end: start + word.len(),
                length: SHOWN.len(),
            })
            .collect();
        let server = (!edits.is_empty()).then(|| client.replace("hidden", SHOWN));
        Ruling::Permit(Text {
            client,
            server,
            edits,
        })
    }
    fn unreadable(&mut self, _: Unreadable, _: usize, _: Via) -> Ruling<Text> {
        unreachable!("all texts here are short")
    }
    fn function(&mut self, _: u32) -> Ruling<Text> {
        unreachable!("nobody uses the fast path here")
    }
    fn made_by_sql(&mut self) -> Text {
        Text {
            client: String::new(),
            server: None,
            edits: Vec::new(),
        }
    }
    fn request(&mut self, _: &Text, _: Via, _: u64, _: usize) -> Result<(), Box<Refusal>> {
        Ok(())
    }
    fn refused(&mut self, _: &Text, _: &mut Refusal, _: Via, _: usize) {}
    fn finished(&mut self, (): (), finished: Finished) {
        self.finished.push(finished);
    }
    fn hash(&mut self, _: &[u8]) -> u64 {
        0
    }
    fn parameter(&mut self, _: &[u8], _: &[u8]) {}
    fn settled(&mut self, _: u8) {}
    fn replacement<'a>(&'a self, text: &'a Text) -> Option<&'a [u8]> {
        text.server.as_deref().map(str::as_bytes)
    }
    fn watches(&self, _: &Text) -> bool {
        true
    }
    fn shield(&self, text: Option<&Text>) -> Shield {
        match text {
            Some(text) if text.client.contains("INSERT") => Shield::Writes,
            _ => Shield::Reads,
        }
    }
    fn position(&self, text: &Text, position: usize) -> Option<usize> {
        let server = text.server.as_ref().unwrap_or(&text.client);
        let edits = text.edits.iter().copied();
        positions::in_clients_text(text.client.as_bytes(), server.as_bytes(), edits, position)
    }
    fn is_masked(&self, _: &Text, relation: u32, _: i16) -> bool {
        self.masked.contains(&relation)
    }
    fn limits(&mut self, (): &()) -> Option<Limits> {
        self.rows.map(|rows| Limits {
            rows,
            ..Limits::NONE
        })
    }
    fn incident(&mut self, _: &Text, _: Incident) {
        self.incidents += 1;
    }
    fn gate(&mut self, text: &Text, _: &Asked<'_>) -> Gate<Text> {
        if !text.client.contains(ASK) {
            return Gate::Open(None);
        }
        match self.approved {
            None => Gate::Wait,
            Some(true) => Gate::Open(Some(Text {
                client: text.client.replace(ASK, ""),
                ..text.clone()
            })),
            Some(false) => Gate::Refuse(Box::new(Refusal {
                sqlstate: "42501".into(),
                message: "not approved".into(),
                detail: None,
                hint: None,
            })),
        }
    }
}

/// A message of the server as the client gets it.
pub(crate) type Message = (u8, Vec<u8>);

pub(crate) struct Session<'c> {
    cluster: &'c Cluster,
    server: UnixStream,
    pub(crate) conversation: Conversation<Rules>,
    pub(crate) rules: Rules,
    out: Outbox,
    received: Vec<u8>,
    pub(crate) bytes_from_server: usize,
    pub(crate) cancellations: usize,
}

impl<'c> Session<'c> {
    pub(crate) fn open(cluster: &'c Cluster) -> Self {
        let mut server = cluster.connect();
        let startup = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(startup.len() + 4)
            .expect("short")
            .to_be_bytes();
        server.write_all(&length).expect("sent");
        server.write_all(startup).expect("sent");
        let mut session = Self {
            cluster,
            server,
            conversation: Conversation::new(ChannelBinding::Relayed),
            rules: Rules::default(),
            out: Outbox::default(),
            received: Vec::new(),
            bytes_from_server: 0,
            cancellations: 0,
        };
        let greeting = session.answers(1);
        assert_eq!(greeting[0].0, b'R');
        session
    }

    /// Sends messages and gives all that comes back up to so many `ReadyForQuery`.
    pub(crate) fn ask(&mut self, messages: &[Vec<u8>], readies: usize) -> Vec<Message> {
        self.send(messages);
        self.answers(readies)
    }

    pub(crate) fn send(&mut self, messages: &[Vec<u8>]) {
        let bytes = messages.concat();
        self.out.begin();
        self.conversation
            .client(&bytes, &mut self.rules, &mut self.out)
            .expect("well-formed");
        let out = self.out.finish(&bytes);
        self.server.write_all(out).expect("sent");
    }

    /// Decides on what waits; gives all that comes back up to so many `ReadyForQuery`.
    pub(crate) fn decide(&mut self, approved: bool, readies: usize) -> Vec<Message> {
        assert!(self.conversation.is_held(), "something waits");
        self.rules.approved = Some(approved);
        let bytes = self
            .conversation
            .resume(&mut self.rules, &mut self.out)
            .expect("well-formed");
        assert!(!self.conversation.is_held(), "all is decided");
        self.rules.approved = None;
        self.server.write_all(&bytes).expect("sent");
        self.answers(readies)
    }

    /// Begins and ends a look.
    pub(crate) fn look(&mut self, look: Look) -> Looked {
        let bytes = self.conversation.look(look);
        self.server.write_all(&bytes).expect("sent");
        loop {
            self.read();
            assert!(self.received.is_empty(), "nothing of it is the client's");
            if let Some(looked) = self.conversation.take_looked() {
                return looked;
            }
        }
    }

    /// Gives the next so many messages.
    pub(crate) fn hear(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match take(&mut self.received) {
                Some(message) => messages.push(message),
                None => self.read(),
            }
        }
        messages
    }

    pub(crate) fn query(&mut self, text: &str) -> Vec<Message> {
        self.ask(&[query(text)], 1)
    }

    fn answers(&mut self, readies: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut seen = 0;
        while seen < readies {
            self.read();
            while let Some(message) = take(&mut self.received) {
                seen += usize::from(message.0 == b'Z');
                messages.push(message);
            }
        }
        assert!(
            self.received.is_empty(),
            "nothing comes behind the last one"
        );
        messages
    }

    /// Reads once, and cancels where the conversation asks for it.
    fn read(&mut self) {
        let mut input = vec![0; 64 * 1024];
        let length = self.server.read(&mut input).expect("an answer in time");
        assert!(length > 0, "the server has closed");
        self.bytes_from_server += length;
        let input = &input[..length];
        self.out.begin();
        self.conversation
            .server(input, &mut self.rules, &mut self.out)
            .expect("well-formed");
        self.received.extend_from_slice(self.out.finish(input));
        if let Some(packet) = self.conversation.take_cancel() {
            self.cancellations += 1;
            let mut beside = self.cluster.connect();
            beside.write_all(&packet).expect("sent");
            beside.read_to_end(&mut Vec::new()).expect("closed");
        }
    }
}

fn take(bytes: &mut Vec<u8>) -> Option<Message> {
    let &[tag, a, b, c, d] = bytes.first_chunk()?;
    let end = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
    if bytes.len() < end {
        return None;
    }
    let message: Vec<u8> = bytes.drain(..end).collect();
    Some((tag, message[5..].to_vec()))
}

pub(crate) fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"])
}

pub(crate) fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"])
}

pub(crate) fn describe(name: &str) -> Vec<u8> {
    message(b'D', &[b"S", name.as_bytes(), b"\0"])
}

/// With one parameter in binary or none; results all in this format.
pub(crate) fn bind(portal: &str, name: &str, parameter: Option<&[u8]>, format: u8) -> Vec<u8> {
    let values = match parameter {
        None => vec![0; 4],
        Some(value) => {
            let length = u32::try_from(value.len()).expect("short").to_be_bytes();
            [&[0, 1, 0, 1, 0, 1], &length[..], value].concat()
        }
    };
    let parts: [&[u8]; 6] = [
        portal.as_bytes(),
        b"\0",
        name.as_bytes(),
        b"\0",
        &values,
        &[0, 1, 0, format],
    ];
    message(b'B', &parts)
}

pub(crate) fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()])
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// The tags of messages, runs of rows and copy data shortened to their number.
pub(crate) fn shown(messages: &[Message]) -> String {
    let mut out = Vec::new();
    for run in messages.chunk_by(|one, other| one.0 == other.0 && matches!(one.0, b'D' | b'd')) {
        let tag = char::from(run[0].0);
        out.push(match run[0].0 {
            b'D' | b'd' => format!("{tag}{}", run.len()),
            b'Z' => format!("Z{}", char::from(run[0].1[0])),
            _ => tag.to_string(),
        });
    }
    out.join(" ")
}

/// A field of the error among the messages.
pub(crate) fn error_field(messages: &[Message], name: u8) -> Option<String> {
    let (_, body) = messages.iter().find(|(tag, _)| *tag == b'E')?;
    let field = body
        .split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&name))?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

/// The only cell of the only row; `None` is NULL.
pub(crate) fn cell(messages: &[Message]) -> Option<Vec<u8>> {
    let rows: Vec<_> = messages.iter().filter(|(tag, _)| *tag == b'D').collect();
    assert_eq!(
        rows.len(),
        1,
        "{}: {:?}",
        shown(messages),
        error_field(messages, b'M')
    );
    let body = &rows[0].1;
    assert_eq!(body[..2], [0, 1]);
    let length = i32::from_be_bytes(*body[2..].first_chunk().expect("a length"));
    (length >= 0).then(|| body[6..].to_vec())
}
