//! The agent's listening sockets.

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use socket2::{Domain, Protocol, Socket, Type};

use super::CaptureError;

/// Where redirected connections go; ports on 127.0.0.1 and ::1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerPorts {
    /// On 127.0.0.1.
    pub v4: u16,
    /// On ::1; `None` on a host without IPv6.
    pub v6: Option<u16>,
}

/// Listens on 127.0.0.1 and on ::1 with the same port, in this process's network namespace.
///
/// Without a port, one outside the range of ephemeral ports is found: such a port is nobody's by
/// accident when the agent comes back. On a host without IPv6 the second listener is `None`. The
/// sockets block until made otherwise. They have no `TCP_FASTOPEN` and must not get it: data of a
/// client would arrive ahead of its origin.
///
/// # Errors
///
/// The port that was asked for, or every port tried, is taken.
pub fn listeners(port: Option<u16>) -> io::Result<(TcpListener, Option<TcpListener>)> {
    if let Some(port) = port {
        return bind(port);
    }
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in candidates(&ephemeral_ports()).take(TRIES) {
        match bind(port) {
            Ok(pair) => return Ok(pair),
            Err(error) => refused = error,
        }
    }
    // Every port is ephemeral here, or all of those that are not are taken.
    for _ in 0..TRIES {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let port = listen(Domain::IPV4, any)?.local_addr()?.port();
        match bind(port) {
            Ok(pair) => return Ok(pair),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// What the kernel makes of it is limited by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Ports tried of either sort.
const TRIES: usize = 512;
/// The first port tried; nothing well known is at or after it.
const FIRST_PORT: u16 = 15_400;

fn bind(port: u16) -> io::Result<(TcpListener, Option<TcpListener>)> {
    let v4 = listen(Domain::IPV4, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let v6 = match listen(Domain::IPV6, SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
        Ok(v6) => Some(v6),
        Err(error) if has_no_ipv6(&error) => None,
        Err(error) => return Err(error),
    };
    Ok((v4, v6))
}

fn listen(domain: Domain, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    // Connections of the agent before this one may still be in TIME_WAIT on the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// Ports outside the ephemeral range, below it first.
fn candidates(ephemeral: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let below = FIRST_PORT..*ephemeral.start();
    let above = ephemeral.end().saturating_add(1)..u16::MAX;
    below.chain(above)
}

fn ephemeral_ports() -> RangeInclusive<u16> {
    /// The kernel's default.
    const USUAL: RangeInclusive<u16> = 32_768..=60_999;
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| {
            let mut ports = text.split_whitespace().map(str::parse);
            Some(ports.next()?.ok()?..=ports.next()?.ok()?)
        })
        .unwrap_or(USUAL)
}

/// The cookie of this process's network namespace.
pub(super) fn namespace_cookie() -> Result<u64, CaptureError> {
    let failed = |error: io::Error| CaptureError::NamespaceCookie(error);
    let any = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(|error| failed(error.into()))?;
    cookie_of(&any).map_err(failed)
}

fn cookie_of(socket: &impl AsFd) -> io::Result<u64> {
    /// <https://docs.kernel.org/> has no page for it; the value is in `asm-generic/socket.h`.
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut bytes: libc::socklen_t = 8;
    // SAFETY: the option is eight bytes long, as `bytes` says, and both outlive the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut bytes,
        )
    };
    if failed == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_avoid_ephemeral_ports() {
        let mut ports = candidates(&(15_402..=65_000));
        assert_eq!(
            ports.by_ref().take(3).collect::<Vec<_>>(),
            [15_400, 15_401, 65_001]
        );
        assert!(candidates(&(1024..=65_535)).next().is_none());
    }

    #[test]
    fn both_listeners_have_the_same_port() {
        let (v4, v6) = listeners(None).expect("a free port");
        let port = v4.local_addr().expect("an address").port();
        if let Some(v6) = v6 {
            assert_eq!(v6.local_addr().expect("an address").port(), port);
        }
        assert!(listeners(Some(port)).is_err(), "a port in use is refused");
    }
}
