//! PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2.
//!
//! [`startup`] reads what comes before the first message, [`Cutter`] cuts a byte stream into messages,
//! [`Conversation`] keeps client, server and weir agreeing on what is in flight.
//! Messages keep the spelling of the manual:
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

pub mod backend;
pub mod cells;
pub mod conversation;
pub mod cutter;
pub mod expect;
pub mod frontend;
pub mod judge;
pub mod names;
pub mod outbox;
pub mod positions;
pub mod sasl;
pub mod scram;
pub mod shield;
pub mod startup;
pub mod watch;

pub use conversation::{Conversation, ConversationError};
pub use cutter::{Cutter, FrameError, Piece, Place, Plan};
pub use judge::{
    Asked, Ending, Finished, Gate, Incident, Judge, Limit, Limits, Point, Refusal, Ruling, Shield,
    Via,
};
pub use outbox::Outbox;
pub use startup::{Startup, StartupError, StartupMessage};

/// A tag and a length that counts itself.
pub const HEADER_BYTES: usize = 5;

/// The largest message that PostgreSQL accepts (`PQ_LARGE_MESSAGE_LIMIT`), by its length field.
/// <https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/libpq/libpq.h>
pub const MAX_LENGTH: usize = 0x3fff_ffff;
