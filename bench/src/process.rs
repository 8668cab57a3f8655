//! What the kernel says about a process: CPU time, resident memory, bytes written.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// Of the times in `/proc`: `USER_HZ` is 100 on all machines that Linux is now built for (include/asm-generic/param.h).
const TICK: Duration = Duration::from_millis(10);

/// The figures of one process since it began, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads, also of those that have ended. In steps of [`TICK`].
    pub(crate) cpu: Duration,
    /// Resident memory in bytes, with the shared pages of programs and libraries.
    pub(crate) resident_bytes: u64,
    /// What it caused to be written to disks, in bytes.
    pub(crate) written_bytes: u64,
}

impl Usage {
    /// # Errors
    /// If there is no such process any more.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let directory = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| {
            std::fs::read_to_string(directory.join(name))
                .with_context(|| format!("process {pid} has ended; look at the logs"))
        };
        let ticks = ticks(&read("stat")?).context("/proc/PID/stat has another form")?;
        let resident = line(&read("status")?, "VmRSS:").context("/proc/PID/status has no VmRSS")?;
        Ok(Self {
            cpu: TICK.saturating_mul(u32::try_from(ticks)?),
            resident_bytes: resident * 1_024,
            written_bytes: line(&read("io")?, "write_bytes:").context("/proc/PID/io has no write_bytes")?,
        })
    }
}

/// What all CPUs of the machine did since it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Working, for whomever, or taken away by the host.
    pub(crate) busy: Duration,
    /// All the time there was.
    pub(crate) total: Duration,
}

impl Machine {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        let (busy, total) = text.lines().next().and_then(busy_and_total).context("/proc/stat has another form")?;
        let time = |ticks| Ok::<_, std::num::TryFromIntError>(TICK.saturating_mul(u32::try_from(ticks)?));
        Ok(Self { busy: time(busy)?, total: time(total)? })
    }
}

/// The ticks of `cpu user nice system idle iowait irq softirq steal …` (proc_stat(5)). The guests' are in user and nice.
fn busy_and_total(line: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> =
        line.strip_prefix("cpu ")?.split_ascii_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks.try_into().ok()?;
    let busy = user + nice + system + irq + softirq + steal;
    Some((busy, busy + idle + iowait))
}

/// `utime` and `stime` (proc_pid_stat(5), fields 14 and 15), counted after the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(times.next()? + times.next()?)
}

/// The number on the line that begins with `key`.
fn line(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a ) 1 b) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 3 0 99 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (x) S 1"), None);
    }

    #[test]
    fn waiting_for_disks_is_not_work() {
        assert_eq!(busy_and_total("cpu  10 1 20 300 40 2 3 4 99 99"), Some((40, 380)));
        assert_eq!(busy_and_total("cpu0 1 2"), None);
        assert!(Machine::now().unwrap().total > Duration::ZERO);
    }

    #[test]
    fn this_process_has_memory_and_a_gone_one_is_said_to_be_gone() {
        assert!(Usage::of(std::process::id()).unwrap().resident_bytes > 0);
        // Above the kernel's largest process id.
        assert!(Usage::of(u32::MAX).unwrap_err().to_string().contains("has ended"));
    }
}
