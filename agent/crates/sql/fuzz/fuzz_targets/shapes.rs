//! Two texts of one shape have the same facts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_sql::SessionModes;
use weir_sql::postgres::{Shape, analyse, shape};

fuzz_target!(|input: (&[u8], &[u8], bool)| {
    let (left, right, backslash_in_strings) = input;
    let modes = SessionModes {
        backslash_in_strings,
        foreign_encoding: false,
    };
    let (mut left_shape, mut right_shape) = (Shape::new(), Shape::new());
    if shape(left, modes, &mut left_shape)
        && shape(right, modes, &mut right_shape)
        && left_shape == right_shape
    {
        let (left, right) = (analyse(left, modes), analyse(right, modes));
        if left.literal_free || right.literal_free {
            assert_eq!(left, right);
        }
    }
});
