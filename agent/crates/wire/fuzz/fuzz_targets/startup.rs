//! No beginning panics, and what is taken lies within the input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::postgres::startup::take;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some(request)) = take(input) {
        assert!(request.taken() <= input.len());
    }
});
