//! However a stream is split, the same bytes come out in the same messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::postgres::{Cutter, frontend::plan};

/// The messages' tags and bytes, and whether the stream ended in an error.
fn messages(inputs: &[&[u8]]) -> (Vec<(u8, Vec<u8>)>, bool) {
    let mut cutter = Cutter::default();
    let mut out: Vec<(u8, Vec<u8>)> = Vec::new();
    for input in inputs {
        let mut cursor = 0;
        loop {
            match cutter.next(input, &mut cursor, plan) {
                Ok(Some(piece)) => {
                    if piece.first {
                        out.push((piece.tag, Vec::new()));
                    }
                    if let Some((_, bytes)) = out.last_mut() {
                        bytes.extend_from_slice(piece.bytes);
                    }
                }
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

fuzz_target!(|input: (&[u8], usize)| {
    let (bytes, at) = input;
    let (head, tail) = bytes.split_at(at % (bytes.len() + 1));
    let (whole, split) = (messages(&[bytes]), messages(&[head, tail]));
    // A message that is held back until it is whole is not given at all when the input ends first.
    assert_eq!(whole.1, split.1);
    for ((tag, bytes), (other_tag, other_bytes)) in whole.0.iter().zip(&split.0) {
        assert_eq!((tag, bytes), (other_tag, other_bytes));
    }
});
