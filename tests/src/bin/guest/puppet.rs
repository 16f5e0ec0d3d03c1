//! A client that does what it is told, line by line: connects, asks, and passes its connection on.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde_json::{Value, json};

use crate::wire;

/// A puppet, from outside.
pub(crate) struct Puppet {
    child: Child,
    orders: ChildStdin,
    answers: io::Lines<io::BufReader<ChildStdout>>,
}

impl Puppet {
    /// Starts one in a cgroup.
    pub(crate) fn start(cgroup: &str) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg("puppet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a client")?;
        let orders = child.stdin.take().context("no way to a client")?;
        let answers = child.stdout.take().context("no way from a client")?;
        let mut puppet = Self {
            child,
            orders,
            answers: io::BufRead::lines(io::BufReader::new(answers)),
        };
        puppet.ask(&json!({"do": "enter", "cgroup": cgroup}))?;
        Ok(puppet)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it what to do; returns what came of it.
    pub(crate) fn ask(&mut self, order: &Value) -> Result<Value> {
        writeln!(self.orders, "{order}").context("cannot tell a client what to do")?;
        let line = self.answers.next().context("a client has ended")??;
        serde_json::from_str(&line).with_context(|| format!("a client said {line:?}"))
    }
}

/// What one holds.
#[derive(Default)]
struct Hands {
    connection: Option<TcpStream>,
    listener: Option<UnixListener>,
}

/// Follows orders until there are no more.
pub(crate) fn run() -> Result<()> {
    let mut hands = Hands::default();
    for line in io::stdin().lines() {
        let order: Value = serde_json::from_str(&line?).context("an order that is no JSON")?;
        let outcome = hands.follow(&order);
        let outcome = outcome.unwrap_or_else(|error| json!({"failed": format!("{error:#}")}));
        println!("{outcome}");
    }
    Ok(())
}

/// Asks once on the connection that is this process's standard input: a child that inherited it.
pub(crate) fn say(sql: &str) -> Result<()> {
    let inherited = io::stdin().as_fd().try_clone_to_owned();
    let mut connection = TcpStream::from(inherited.context("no connection was inherited")?);
    connection.write_all(&wire::query(sql))?;
    println!("{}", wire::answer(&mut connection)?);
    Ok(())
}

impl Hands {
    fn follow(&mut self, order: &Value) -> Result<Value> {
        let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
        match order["do"].as_str().unwrap_or_default() {
            "enter" => {
                fs::write(format!("{}/cgroup.procs", text("cgroup")), "0")
                    .context("cannot enter the cgroup")?;
                Ok(json!({}))
            }
            "connect" => {
                let port = u16::try_from(order["port"].as_u64().unwrap_or(0))?;
                let mut stream =
                    TcpStream::connect(("127.0.0.1", port)).context("cannot connect")?;
                let answer = wire::start(&mut stream)?;
                let peer = stream.peer_addr().context("no peer")?.to_string();
                let descriptor = stream.as_raw_fd();
                self.connection = Some(stream);
                Ok(json!({"peer": peer, "descriptor": descriptor, "answer": answer}))
            }
            "query" => {
                let connection = self.connection()?;
                connection.write_all(&wire::query(&text("sql")))?;
                wire::answer(connection)
            }
            "sendfile" => self.send_file(&text("sql")),
            "child" => self.ask_through_child(&text("sql")),
            "listen" => {
                self.listener = Some(UnixListener::bind(text("path")).context("cannot listen")?);
                Ok(json!({}))
            }
            "receive" => {
                let listener = self.listener.as_ref().context("nowhere to receive")?;
                self.connection = Some(receive(&listener.accept()?.0)?.into());
                Ok(json!({}))
            }
            "pass" => {
                let to = UnixStream::connect(text("path")).context("nobody to pass to")?;
                pass(&to, self.connection()?)?;
                Ok(json!({}))
            }
            "steal" => {
                self.connection = Some(steal(&order["pid"], &order["descriptor"])?.into());
                Ok(json!({}))
            }
            other => bail!("no such order: {other}"),
        }
    }

    fn connection(&mut self) -> Result<&mut TcpStream> {
        self.connection.as_mut().context("not connected")
    }

    /// Sends a query from a file, which goes another way through the kernel.
    fn send_file(&mut self, sql: &str) -> Result<Value> {
        let query = wire::query(sql);
        let path = format!("/tmp/query.{}", std::process::id());
        fs::write(&path, &query).context("cannot write a query to a file")?;
        let file = File::open(&path).context("cannot read it back")?;
        let connection = self.connection()?;
        let sent = nix::sys::sendfile::sendfile(&*connection, &file, None, query.len())?;
        ensure!(
            sent == query.len(),
            "{sent} of {} bytes were sent",
            query.len()
        );
        wire::answer(connection)
    }

    fn ask_through_child(&mut self, sql: &str) -> Result<Value> {
        let connection = self.connection()?.try_clone().context("cannot share")?;
        let output = Command::new("/proc/self/exe")
            .args(["say", sql])
            .stdin(OwnedFd::from(connection))
            .output()
            .context("cannot start a child")?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("the child said {error}")
        })
    }
}

fn pass(to: &UnixStream, connection: &TcpStream) -> Result<()> {
    let descriptors = [connection.as_raw_fd()];
    sendmsg::<()>(
        to.as_raw_fd(),
        &[io::IoSlice::new(b"!")],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::empty(),
        None,
    )
    .context("cannot pass the connection")?;
    Ok(())
}

fn receive(from: &UnixStream) -> Result<OwnedFd> {
    let mut byte = [0];
    let mut space = cmsg_space!([i32; 1]);
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(
        from.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .context("cannot receive")?;
    for part in message.cmsgs().context("a message that was cut off")? {
        if let ControlMessageOwned::ScmRights(descriptors) = part
            && let [descriptor] = descriptors[..]
        {
            // SAFETY: the kernel has just made it for this process.
            return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    bail!("no connection came with the message")
}

/// Takes another process's descriptor without its help.
fn steal(pid: &Value, descriptor: &Value) -> Result<OwnedFd> {
    let (pid, descriptor) = (pid.as_u64().unwrap_or(0), descriptor.as_u64().unwrap_or(0));
    // SAFETY: both calls take numbers only, and each returns a new descriptor.
    unsafe {
        let process = nix::errno::Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        let process = OwnedFd::from_raw_fd(i32::try_from(process)?);
        let taken = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0);
        let taken = nix::errno::Errno::result(taken).context("cannot take the descriptor")?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(taken)?))
    }
}
