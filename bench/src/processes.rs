//! What processes spent: of a process and of everything that it started. Only Linux says so.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use centinela_procfs::Stat;

/// What one contender or server spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The process itself: user and system time.
    pub own: Duration,
    /// What it started, and what that started.
    pub children: Duration,
    /// Most resident memory of all of them together, each at its own time, in MB.
    pub rss_mb: u32,
}

impl Spent {
    /// What was spent since then; the memory is the present one.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        Self {
            own: self.own.saturating_sub(then.own),
            children: self.children.saturating_sub(then.children),
            rss_mb: self.rss_mb,
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
        let table = Table::of(centinela_procfs::processes());
        let memory = |pid| centinela_procfs::rss_mb_max(pid).unwrap_or(0);
        Self(processes.iter().map(|(name, pid)| (name.clone(), table.spent(*pid, memory))).collect())
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

/// All processes at one moment.
#[derive(Debug, Default)]
struct Table {
    processes: HashMap<u32, Stat>,
    children: HashMap<u32, Vec<u32>>,
}

impl Table {
    fn of(processes: impl Iterator<Item = (u32, Stat)>) -> Self {
        let mut table = Self::default();
        for (pid, stat) in processes {
            table.children.entry(stat.parent).or_default().push(pid);
            table.processes.insert(pid, stat);
        }
        table
    }

    /// Children that ended and were waited for count: what an environment spent must not vanish with it.
    fn spent(&self, pid: u32, rss_mb_max: impl Fn(u32) -> u32) -> Spent {
        let mut spent = Spent { rss_mb: rss_mb_max(pid), ..Spent::default() };
        if let Some(own) = self.processes.get(&pid) {
            (spent.own, spent.children) = (own.cpu, own.ended);
        }
        let mut below = self.children.get(&pid).cloned().unwrap_or_default();
        while let Some(child) = below.pop() {
            spent.children += self.processes.get(&child).map_or(Duration::ZERO, |stat| stat.cpu + stat.ended);
            spent.rss_mb += rss_mb_max(child);
            below.extend(self.children.get(&child).into_iter().flatten());
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grandchildren_spent_counts_and_what_others_spent_does_not() {
        let ms = Duration::from_millis;
        let rows = [(7, 1, 100), (8, 7, 20), (9, 8, 3), (10, 1, 1_000)];
        let rows =
            rows.map(|(pid, parent, cpu)| (pid, Stat { name: String::new(), parent, cpu: ms(cpu), ended: ms(1) }));
        let table = Table::of(rows.into_iter());
        let memory = |pid: u32| BTreeMap::from([(7, 10), (8, 5), (9, 2), (10, 99)]).get(&pid).copied().unwrap_or(0);
        assert_eq!(table.spent(7, memory), Spent { own: ms(100), children: ms(26), rss_mb: 17 });
        assert_eq!(table.spent(77, memory), Spent::default());
    }

    #[test]
    fn this_process_is_found() {
        let name = "this".to_owned();
        let looked = Looked::at(&BTreeMap::from([(name.clone(), std::process::id())]));
        assert!(looked.0[&name].rss_mb > 0);
        assert_eq!(looked.since(&looked).0[&name].own, Duration::ZERO);
    }
}
