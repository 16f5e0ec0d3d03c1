//! The floor: what relaying a connection costs when nothing is looked at.
//!
//! One thread. Both directions of a connection live in one task and share the thread's scratch
//! buffer: bytes are read into it and written on at once, so an idle connection holds no buffer.
//! Only what the other side does not take at once is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use clap::Parser;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Relays every connection from one address to another.
#[derive(Parser)]
struct Arguments {
    /// Where clients connect.
    listen: SocketAddr,
    /// Where their connections are taken.
    server: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, server } = Arguments::parse();
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        // A connection that breaks concerns its own two ends only, and they notice.
        tokio::spawn(async move { relay(client, server).await.ok() });
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut request = Flow::default();
    let mut response = Flow::default();
    poll_fn(|cx| {
        let requests = request.poll(cx, &mut from_client, &mut to_server)?;
        let responses = response.poll(cx, &mut from_server, &mut to_client)?;
        if requests.is_ready() && responses.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    unwritten: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Flow {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.ended {
            ready!(self.flush(cx, to))?;
            let count = SCRATCH.with_borrow_mut(|scratch| self.forward(cx, from, to, scratch));
            if ready!(count)? == 0 {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.ended = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        while self.written < self.unwritten.len() {
            let rest = &self.unwritten[self.written..];
            self.written += ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
        }
        if self.written > 0 {
            *self = Self::default();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what was read; keeps what the receiver does not take now.
    fn forward(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let mut rest = buffer.filled();
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest)? {
                Poll::Ready(count) => rest = &rest[count..],
                Poll::Pending => {
                    self.unwritten = rest.to_vec();
                    break;
                }
            }
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

thread_local! {
    /// 64 KiB: larger reads gain nothing in the bulk workloads.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 65_536].into_boxed_slice());
}
