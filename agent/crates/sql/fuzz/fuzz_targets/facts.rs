//! Any bytes give facts: no panic, no overflow, and a reason whenever they are not understood.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_sql::postgres::analyse;
use weir_sql::{Confidence, SessionModes};

fuzz_target!(|input: (&[u8], bool, bool)| {
    let (text, backslash_in_strings, foreign_encoding) = input;
    let modes = SessionModes {
        backslash_in_strings,
        foreign_encoding,
    };
    let facts = analyse(text, modes);
    assert_eq!(
        facts.confidence == Confidence::Unparsed,
        facts.parse_error.is_some()
    );
});
