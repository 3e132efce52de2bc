//! What processes spent: of a process and of everything that it started. Only Linux says so, in `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Clock ticks a second in `/proc`: `USER_HZ`, 100 by every Linux ABI that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What one contender or server spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The process itself, in µs of user and system time.
    pub own_us: u64,
    /// What it started, and what that started.
    pub children_us: u64,
    /// Most resident memory of all of them together, each at its own time, in kB.
    pub rss_kb: u64,
}

impl Spent {
    /// What was spent since then; the memory is the present one.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        Self {
            own_us: self.own_us.saturating_sub(then.own_us),
            children_us: self.children_us.saturating_sub(then.children_us),
            rss_kb: self.rss_kb,
        }
    }
}

/// A look at several processes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked(pub BTreeMap<String, Spent>);

impl Looked {
    /// Looks now. A process that is gone has spent nothing, so that its figures are absurd rather than hidden.
    #[must_use]
    pub fn at(processes: &BTreeMap<String, u32>) -> Self {
        let table = Table::read(Path::new("/proc"));
        Self(processes.iter().map(|(name, pid)| (name.clone(), table.spent(*pid))).collect())
    }

    /// What each spent since then.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let less = |(name, now): (&String, &Spent)| {
            let then = then.0.get(name).copied().unwrap_or_default();
            (name.clone(), now.since(&then))
        };
        Self(self.0.iter().map(less).collect())
    }
}

/// Time of all processors in µs since the start of the machine: of anything but waiting, and in all.
#[must_use]
pub fn machine_us() -> Option<(u64, u64)> {
    parse_machine(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// <https://man7.org/linux/man-pages/man5/proc_stat.5.html>: the fourth and fifth figure are time that nobody used.
fn parse_machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // Guests' time is counted in user's as well.
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let (all, idle) = (ticks.iter().sum::<u64>(), ticks.get(3)? + ticks.get(4)?);
    Some(((all - idle) * 1_000_000 / TICKS_PER_SECOND, all * 1_000_000 / TICKS_PER_SECOND))
}

/// All processes at one moment.
#[derive(Debug, Default)]
struct Table {
    processes: HashMap<u32, Row>,
    children: HashMap<u32, Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    parent: u32,
    cpu_us: u64,
    /// Of children that ended and were waited for: what an environment spent must not vanish with it.
    ended_us: u64,
    rss_kb: u64,
}

impl Table {
    fn read(proc: &Path) -> Self {
        let mut table = Self::default();
        for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process may end between the look at the directory and the look at it.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some(row) = parse_stat(&stat) else { continue };
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            table.put(pid, Row { rss_kb: parse_rss(&status), ..row });
        }
        table
    }

    fn put(&mut self, pid: u32, row: Row) {
        self.processes.insert(pid, row);
        self.children.entry(row.parent).or_default().push(pid);
    }

    fn spent(&self, pid: u32) -> Spent {
        let own = self.processes.get(&pid).copied().unwrap_or_default();
        let mut spent = Spent { own_us: own.cpu_us, children_us: own.ended_us, rss_kb: own.rss_kb };
        let mut below = self.children.get(&pid).cloned().unwrap_or_default();
        while let Some(child) = below.pop() {
            let row = self.processes.get(&child).copied().unwrap_or_default();
            spent.children_us += row.cpu_us + row.ended_us;
            spent.rss_kb += row.rss_kb;
            below.extend(self.children.get(&child).into_iter().flatten());
        }
        spent
    }
}

/// Parent, and user and system time of all threads and of ended children; without memory. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse_stat(stat: &str) -> Option<Row> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Two fields each: in user space, in the kernel.
    let us = |place: usize| {
        let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some((ticks(place)? + ticks(place + 1)?) * 1_000_000 / TICKS_PER_SECOND)
    };
    Some(Row { parent: fields.get(1)?.parse().ok()?, cpu_us: us(11)?, ended_us: us(13)?, rss_kb: 0 })
}

fn parse_rss(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grandchildren_spent_counts_and_what_others_spent_does_not() {
        let mut table = Table::default();
        for (pid, parent, cpu_us, rss_kb) in [(7, 1, 100, 10), (8, 7, 20, 5), (9, 8, 3, 2), (10, 1, 1_000, 99)] {
            table.put(pid, Row { parent, cpu_us, ended_us: 1, rss_kb });
        }
        assert_eq!(table.spent(7), Spent { own_us: 100, children_us: 26, rss_kb: 17 });
        assert_eq!(table.spent(77), Spent::default());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (java (odd)) S 1 7 7 0 -1 4194304 90 0 0 0 30 12 5 2 20 0 1 0 100 0 0 18446744073709551615";
        assert_eq!(parse_stat(stat), Some(Row { parent: 1, cpu_us: 420_000, ended_us: 70_000, rss_kb: 0 }));
        assert_eq!(parse_rss("Name:\tjava\nVmHWM:\t  512 kB\n"), 512);
    }

    #[test]
    fn a_machine_is_busy_with_everything_but_idling_and_waiting_for_disks() {
        assert_eq!(parse_machine("cpu  10 1 4 80 5 0 0 0 0 0\ncpu0 1 1 1 1"), Some((150_000, 1_000_000)));
    }

    #[test]
    fn this_process_is_found() {
        let name = "this".to_owned();
        let looked = Looked::at(&BTreeMap::from([(name.clone(), std::process::id())]));
        assert!(looked.0[&name].rss_kb > 0);
        assert_eq!(looked.since(&looked).0[&name].own_us, 0);
    }
}
