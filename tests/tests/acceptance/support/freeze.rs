//! Holding a call in flight, exactly and for as long as a test likes: the callee is stopped (SIGSTOP), and the kernel
//! says when the call waits in its socket. No instant is guessed.

use std::collections::BTreeSet;
use std::fs;

use acceptance::{Mesh, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// A stopped process; it goes on when this is dropped.
pub(crate) struct Frozen {
    name: String,
    pid: u32,
}

impl Frozen {
    /// Stops `name` and waits until the kernel has.
    pub(crate) async fn stop(mesh: &Mesh, name: &str) -> Self {
        let pid = mesh.pid(name);
        let frozen = Self { name: name.to_owned(), pid };
        frozen.signal(Signal::STOP);
        eventually(&format!("{name} is stopped"), async || is_stopped(pid).then_some(())).await;
        frozen
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a process id");
        // It may have been killed meanwhile.
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// The state of a process is the word after its name, which is in parentheses and may hold anything.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()) == Some("T")
}

/// Waits until bytes of the process `caller` wait unread at `port` of this machine, whose listener is stopped.
pub(crate) async fn unread(caller: u32, port: u16) {
    let what = format!("a call waits unread at port {port}");
    eventually(&what, async || {
        let ports = local_ports(caller);
        let waits = |socket: &Socket| socket.local == port && socket.unread > 0 && ports.contains(&socket.remote);
        sockets().iter().any(waits).then_some(())
    })
    .await;
}

/// A TCP socket of this machine.
struct Socket {
    local: u16,
    remote: u16,
    unread: u64,
    inode: u64,
}

/// All TCP sockets over IPv4, as `proc(5)` describes them.
fn sockets() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel lists its sockets");
    table.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    Some(Socket {
        local: port(fields.get(1)?)?,
        remote: port(fields.get(2)?)?,
        unread: u64::from_str_radix(fields.get(4)?.rsplit(':').next()?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The local ports of a process's sockets.
fn local_ports(pid: u32) -> BTreeSet<u16> {
    let inodes: BTreeSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    sockets().iter().filter(|socket| inodes.contains(&socket.inode)).map(|socket| socket.local).collect()
}
