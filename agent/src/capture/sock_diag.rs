//! Lists and closes the TCP sockets of this network namespace, over netlink.
//!
//! <https://man7.org/linux/man-pages/man7/sock_diag.7.html>

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// A TCP socket that has, or is making, a connection.
#[derive(Debug, Clone)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) cookie: u64,
    pub(super) uid: u32,
    pub(super) inode: u32,
    /// Of the cgroup that the socket was made in; `None` where the kernel does not tell.
    pub(super) cgroup_id: Option<u64>,
    /// Whether one of the storage maps asked about has a value for it.
    pub(super) is_marked: bool,
    family: u8,
    id: [u8; ID_BYTES],
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

const HEADER_BYTES: usize = 16;
/// `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;
/// `struct inet_diag_msg`.
const MESSAGE_BYTES: usize = 72;
const INET_DIAG_REQ_SK_BPF_STORAGES: u16 = 2;
const SK_DIAG_BPF_STORAGE_REQ_MAP_FD: u16 = 1;
const INET_DIAG_SK_BPF_STORAGES: u16 = 20;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// Bits beside the type in an attribute's type field.
const ATTRIBUTE_FLAGS: u16 = 0xc000;

/// SYN_SENT, ESTABLISHED, and the closing states in which data may still be on its way.
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// Lists connected sockets of both families, noting which have a value in one of `marks`.
pub(super) fn connected(marks: &[BorrowedFd<'_>]) -> io::Result<Vec<TcpSocket>> {
    let channel = open()?;
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).map_err(io::Error::other)?;
        let mut body = request(family, CONNECTED, &[0; ID_BYTES]);
        let maps: Vec<u8> = marks
            .iter()
            .flat_map(|map| {
                attribute(
                    SK_DIAG_BPF_STORAGE_REQ_MAP_FD,
                    &map.as_raw_fd().to_ne_bytes(),
                )
            })
            .collect();
        body.extend(attribute(INET_DIAG_REQ_SK_BPF_STORAGES, &maps));
        transmit(
            &channel,
            SOCK_DIAG_BY_FAMILY,
            NLM_F_REQUEST | NLM_F_DUMP,
            &body,
        )?;
        while receive(&channel, |payload| sockets.extend(parse(payload)))? {}
    }
    Ok(sockets)
}

/// Aborts a connection: its owner sees `ECONNABORTED`, its peer a reset. One that is gone is fine.
pub(super) fn destroy(socket: &TcpSocket) -> io::Result<()> {
    let channel = open()?;
    let body = request(socket.family, u32::MAX, &socket.id);
    transmit(&channel, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, &body)?;
    match receive(&channel, |_| ()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(drop),
    }
}

fn open() -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?)
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, states: u32, id: &[u8; ID_BYTES]) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut body = vec![family, TCP, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = Vec::from(bytes.to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(aligned(attribute.len()), 0);
    attribute
}

fn transmit(channel: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::from(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(channel.as_raw_fd(), &message, MsgFlags::empty())?;
    Ok(())
}

/// Reads one datagram; `false` when the answer is complete.
fn receive(channel: &OwnedFd, mut on_socket: impl FnMut(&[u8])) -> io::Result<bool> {
    /// The kernel fills dumps by up to 32 KiB at a time.
    const BUFFER_BYTES: usize = 64 * 1024;
    let mut buffer = vec![0; BUFFER_BYTES];
    let count = recv(channel.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    let mut rest = buffer.get(..count).unwrap_or_default();
    while let Some((kind, payload, tail)) = next_message(rest) {
        match kind {
            SOCK_DIAG_BY_FAMILY => on_socket(payload),
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => return errno_of(payload).map(|()| false),
            _ => {}
        }
        rest = tail;
    }
    Ok(true)
}

fn errno_of(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(HEADER_BYTES..length)?;
    Some((
        kind,
        payload,
        bytes.get(aligned(length)..).unwrap_or_default(),
    ))
}

/// A socket from `struct inet_diag_msg` and its attributes; `None` for bytes that are not one.
fn parse(payload: &[u8]) -> Option<TcpSocket> {
    let family = *payload.first()?;
    let id: [u8; ID_BYTES] = *payload.get(4..)?.first_chunk()?;
    let word = |at: usize| Some(u32::from_ne_bytes(*payload.get(at..)?.first_chunk()?));
    let mut socket = TcpSocket {
        local: end(family, &id, 0, 4)?,
        remote: end(family, &id, 2, 20)?,
        cookie: u64::from(word(4 + 40)?) | u64::from(word(4 + 44)?) << 32,
        uid: word(64)?,
        inode: word(68)?,
        cgroup_id: None,
        is_marked: false,
        family,
        id,
    };
    let mut rest = payload.get(MESSAGE_BYTES..)?;
    while let Some((kind, value, tail)) = next_attribute(rest) {
        match kind {
            INET_DIAG_SK_BPF_STORAGES => socket.is_marked = !value.is_empty(),
            INET_DIAG_CGROUP_ID => {
                socket.cgroup_id = value.first_chunk().map(|id| u64::from_ne_bytes(*id));
            }
            _ => {}
        }
        rest = tail;
    }
    Some(socket)
}

fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !ATTRIBUTE_FLAGS;
    let value = bytes.get(4..length)?;
    Some((
        kind,
        value,
        bytes.get(aligned(length)..).unwrap_or_default(),
    ))
}

/// One end of a connection, from the places of its port and address in the id.
fn end(family: u8, id: &[u8; ID_BYTES], port: usize, address: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*id.get(port..)?.first_chunk()?);
    let address = id.get(address..)?;
    let address = match i32::from(family) {
        libc::AF_INET => IpAddr::from(*address.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*address.first_chunk::<16>()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Netlink aligns messages and attributes to four bytes.
fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        let local = client.local_addr().expect("an address");

        let sockets = connected(&[]).expect("sockets of this namespace");

        let found = sockets
            .iter()
            .find(|socket| socket.local == local)
            .expect("the client");
        assert_eq!(found.remote, address);
        assert!(found.inode != 0 && found.cookie != 0 && !found.is_marked);
    }

    #[test]
    fn cut_messages_are_no_sockets() {
        assert!(parse(&[]).is_none());
        assert!(parse(&[2; MESSAGE_BYTES - 1]).is_none());
        assert!(next_message(&[0xff; 15]).is_none());
        assert!(next_attribute(&[3, 0, 1, 0]).is_none());
    }
}
