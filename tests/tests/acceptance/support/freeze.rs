//! Holding a call in flight, exactly and for as long as a test likes: the callee is stopped (SIGSTOP), and the kernel
//! says when the call waits in its socket. No instant is guessed.

use std::collections::BTreeSet;
use std::fs;

use acceptance::{Mesh, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// What waits unread counts as a call from here on. HTTP/2's own small talk, such as a window update, has about 35
/// bytes with its TLS record; the shortest call has its trace, its token or its names and is over 150.
const CALL_BYTES: u64 = 100;

/// A stopped process; it goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct Frozen {
    name: String,
    pid: u32,
}

impl Frozen {
    /// Stops `name` and waits until the kernel has.
    pub(crate) async fn stop(mesh: &Mesh, name: &str) -> Self {
        let frozen = Self { name: name.to_owned(), pid: mesh.running().pids[name] };
        frozen.signal(Signal::STOP);
        eventually(&format!("{name} is stopped"), async || is_stopped(frozen.pid).then_some(())).await;
        frozen
    }

    /// Waits until a call of `caller` waits unread in one of this process's sockets.
    pub(crate) async fn is_called_by(&self, mesh: &Mesh, caller: &str) {
        let caller_pid = mesh.running().pids[caller];
        let what = format!("a call of {caller} waits unread at {}", self.name);
        eventually(&what, async || {
            let all = sockets();
            let (from, to) = (local_ports(caller_pid, &all), local_ports(self.pid, &all));
            let waits = |socket: &Socket| {
                socket.unread >= CALL_BYTES && to.contains(&socket.local) && from.contains(&socket.remote)
            };
            all.iter().any(waits).then_some(())
        })
        .await;
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

/// The local ports of a process's sockets, those that it listens on among them.
fn local_ports(pid: u32, all: &[Socket]) -> BTreeSet<u16> {
    let inodes: BTreeSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    all.iter().filter(|socket| inodes.contains(&socket.inode)).map(|socket| socket.local).collect()
}
