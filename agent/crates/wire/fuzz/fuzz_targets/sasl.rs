//! No message of a log-in makes either end panic, and none that is made up proves anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::postgres::{
    sasl::{InitialResponse, Mechanism, Offer},
    scram::{Binding, ClientExchange, ServerExchange, Verifier},
};

const NONCE: &str = "nonce";

fuzz_target!(|input: &[u8]| {
    let _ = Offer::read(input);
    let _ = std::str::from_utf8(input).map(Verifier::parse);
    if let Some(initial) = InitialResponse::read(input) {
        assert!(initial.data.is_none_or(|data| data.len() < input.len()));
    }
    // The first byte says how much of the rest is the first message.
    let Some((&at, rest)) = input.split_first() else {
        return;
    };
    let (first, last) = rest.split_at(usize::from(at).min(rest.len()));
    for (mechanism, binding) in [
        (Mechanism::Plain, None),
        (Mechanism::Plus, Some(&[1; 32][..])),
    ] {
        let pretended = Verifier::pretended(b"user", b"secret");
        let begun = ServerExchange::begin(Err(pretended), mechanism, binding, first, NONCE);
        if let Ok((exchange, _)) = begun {
            assert!(exchange.finish(last).is_err());
        }
    }
    for binding in [Binding::None, Binding::Bound(vec![1; 32])] {
        let (exchange, _) = ClientExchange::begin(binding, NONCE);
        let _ = exchange.challenged(rest);
    }
});
