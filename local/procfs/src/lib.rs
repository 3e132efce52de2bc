//! What processes, threads and the machine spent, as Linux says in procfs: CPU time, with a resolution of 10 ms, and memory. Elsewhere
//! there is no procfs, and everything here knows nothing.

use std::path::Path;
use std::time::Duration;

/// Clock ticks a second: `USER_HZ`, fixed at 100 by every Linux ABI that Lambda or a laptop uses.
const TICKS_PER_SECOND: u64 = 100;

/// What `stat` says of a process or a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Of the program or the thread; Linux keeps 15 bytes of it.
    pub name: String,
    /// The process that started it.
    pub parent: u32,
    /// User and system time so far; of a process, that of all its threads, ended ones included.
    pub cpu: Duration,
    /// The same of the children of its process that ended and were waited for, and of theirs.
    pub ended: Duration,
}

/// All processes that run now, by id.
pub fn processes() -> impl Iterator<Item = (u32, Stat)> {
    all("/proc")
}

/// The threads of this process that run now, by id.
pub fn threads() -> impl Iterator<Item = (u32, Stat)> {
    all("/proc/self/task")
}

/// User and system time of all threads of a process so far, ended ones included. Readable until the process is reaped.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    Some(stat(format!("/proc/{pid}"))?.cpu)
}

/// Highest resident memory of a process so far, in MB (rounded up). Gone as soon as the process has ended.
#[must_use]
pub fn rss_mb_max(pid: u32) -> Option<u32> {
    parse_rss(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Time of all processors since the start of the machine: of anything but waiting, and in all.
#[must_use]
pub fn machine_time() -> Option<(Duration, Duration)> {
    parse_machine(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn all(directory: &str) -> impl Iterator<Item = (u32, Stat)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // One may end between the look at the directory and the look at it.
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, stat(entry.path())?)))
}

fn stat(directory: impl AsRef<Path>) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(directory.as_ref().join("stat")).ok()?)
}

/// Fields are counted after the name, which is in parentheses and may itself contain spaces and parentheses.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse_stat(stat: &str) -> Option<Stat> {
    let (before, fields) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
    // Two fields each: in user space, in the kernel.
    let both = |place: usize| Some(time(ticks(place)? + ticks(place + 1)?));
    Some(Stat { name: name.to_owned(), parent: fields.get(1)?.parse().ok()?, cpu: both(11)?, ended: both(13)? })
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn parse_rss(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u32>().ok()?.div_ceil(1024))
}

/// <https://man7.org/linux/man-pages/man5/proc_stat.5.html>: the fourth and fifth figure are time that nobody used.
fn parse_machine(stat: &str) -> Option<(Duration, Duration)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // Guests' time is counted in user's as well.
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let (all, idle) = (ticks.iter().sum::<u64>(), ticks.get(3)? + ticks.get(4)?);
    Some((time(all - idle), time(all)))
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "77 (a ) (b) S 1 77 77 0 -1 4194304 90 0 0 0 31 15 5 2 20 0 1 0 100 0 0 18446744073709551615";
        let expected = Stat { name: "a ) (b".to_owned(), parent: 1, cpu: ms(460), ended: ms(70) };
        assert_eq!(parse_stat(stat), Some(expected));
        assert_eq!(parse_stat("77 (cut) S 1"), None);
    }

    #[test]
    fn memory_is_rounded_up_to_megabytes() {
        assert_eq!(parse_rss("Name:\tjava\nVmHWM:\t    2049 kB\n"), Some(3));
        assert_eq!(parse_rss("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_machine_is_busy_with_everything_but_idling_and_waiting_for_disks() {
        assert_eq!(parse_machine("cpu  10 1 4 80 5 0 0 0 0 0\ncpu0 1 1 1 1"), Some((ms(150), ms(1_000))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_its_threads_are_found() {
        let own = std::process::id();
        assert!(rss_mb_max(own) > Some(0) && cpu_time(own).is_some() && machine_time().is_some());
        assert_eq!(
            processes().find(|(pid, _)| *pid == own).map(|(_, stat)| stat.parent),
            Some(std::os::unix::process::parent_id())
        );
        let named = std::thread::Builder::new().name("odd (name".to_owned());
        let found = named.spawn(|| threads().any(|(_, stat)| stat.name == "odd (name")).expect("a thread");
        assert!(found.join().expect("no panic"));
    }
}
