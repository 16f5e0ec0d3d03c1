//! Standard output, whose reader may have seen enough.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use anyhow::Context;

/// Writes to standard output; a reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_on(text).map(|_| ())
}

/// As [`print`]; breaks when its reader has seen enough.
pub(super) fn print_on(text: &str) -> anyhow::Result<ControlFlow<()>> {
    write_to(&mut io::stdout().lock(), text)
}

fn write_to(out: &mut impl Write, text: &str) -> anyhow::Result<ControlFlow<()>> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error).context("cannot write to standard output"),
        Ok(()) => Ok(ControlFlow::Continue(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_left_is_no_error_and_a_full_disk_is() {
        let left = write_to(&mut Fails(io::ErrorKind::BrokenPipe), "line\n");
        assert!(left.expect("no error").is_break());
        assert!(write_to(&mut Fails(io::ErrorKind::StorageFull), "line\n").is_err());
    }
}
