//! TCP ports that are free and stay free.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fs, process};

use anyhow::{Result, bail};

/// Finds a port that is free on every one of `addresses`, below the range that the kernel hands out to clients.
///
/// A port inside that range may be taken by any client between this look and the server's own bind. No other process that
/// asks here is given the same port while this one lives.
///
/// # Errors
///
/// When none of the ports tried is free.
pub fn free(addresses: &[&str]) -> Result<u16> {
    let range = candidates();
    let span = range.end - range.start;
    // Processes start at different places, threads of one process never get the same port.
    let start = u16::try_from(process::id().wrapping_mul(37) % u32::from(span)).unwrap_or(0);
    for _ in 0..span {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = range.start + (start.wrapping_add(offset) % span);
        let Some(claim) = claim(port) else {
            continue;
        };
        if addresses
            .iter()
            .all(|address| TcpListener::bind((*address, port)).is_ok())
        {
            let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
            claims.push(claim);
            return Ok(port);
        }
    }
    bail!(
        "no port between {} and {} is free on {addresses:?}",
        range.start,
        range.end
    )
}

/// A socket whose name only one process can have; it goes with the process, however that ends.
fn claim(port: u16) -> Option<UnixDatagram> {
    let name = SocketAddr::from_abstract_name(format!("weir-lab-port-{port}")).ok()?;
    UnixDatagram::bind_addr(&name).ok()
}

static CLAIMS: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
static NEXT: AtomicU16 = AtomicU16::new(0);

fn candidates() -> Range<u16> {
    let lowest_ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u16>().ok())
        .unwrap_or(32_768);
    let end = lowest_ephemeral.clamp(11_000, 32_768);
    end.saturating_sub(12_000).max(10_000)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_give_two_ports_below_the_ephemeral_range() {
        let first = free(&["127.0.0.1", "127.0.0.2"]).expect("a port");
        let second = free(&["127.0.0.1", "127.0.0.2"]).expect("a port");
        assert_ne!(first, second);
        assert!(first < candidates().end && second < candidates().end);
    }

    #[test]
    fn a_port_that_another_process_was_given_is_passed_over() {
        let given = free(&["127.0.0.1"]).expect("a port");
        assert!(claim(given).is_none());
        let other = claim(given + 1).map(|_held| free(&["127.0.0.1"]).expect("another port"));
        assert_ne!(other, Some(given + 1));
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let port = free(&["127.0.0.1"]).expect("a port");
        let _held = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        for _ in 0..50 {
            assert_ne!(free(&["127.0.0.1"]).expect("another port"), port);
        }
    }
}
