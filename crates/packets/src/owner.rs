//! Programs that run inside a world are marked with the process that owns it, so that those of an owner that was
//! killed can be found and ended: they are the only thing that may outlive it, and they keep its namespaces alive.

use std::fs;
use std::process;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that marks them.
pub(crate) const MARK: &str = "SEKAT_PACKETS_OWNER";

/// The mark of this process: its id, and when it started, because ids are used again.
pub(crate) fn mark() -> String {
    let id = process::id();
    format!("{id}:{}", started(id).unwrap_or_default())
}

/// Ends what processes that are gone have left, and says how many programs that were. Others' worlds are not touched.
pub fn sweep() -> usize {
    end(|mark| {
        let (id, start) = mark.split_once(':')?;
        Some(started(id.parse().ok()?).as_deref() != Some(start))
    })
}

/// Ends the programs that this process has started in the world with that mark.
pub(crate) fn end_own(own: &str) {
    end(|mark| Some(mark == own));
}

/// Kills the processes whose mark is chosen. Those that we may not look into are not ours.
fn end(chosen: impl Fn(&str) -> Option<bool>) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let mut ended = 0;
    for entry in entries.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let mark = environment.split(|byte| *byte == 0).find_map(|variable| {
            std::str::from_utf8(variable).ok()?.strip_prefix(MARK)?.strip_prefix('=').map(str::to_owned)
        });
        if mark.is_some_and(|mark| chosen(&mark) == Some(true))
            && id.unsigned_abs() != process::id()
            && Pid::from_raw(id).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
        {
            ended += 1;
        }
    }
    ended
}

/// When the process started, in the kernel's ticks since boot. A process that ended and was not waited for is gone.
fn started(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name is in parentheses and may hold anything; 20 fields behind it is the start.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}
