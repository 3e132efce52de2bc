//! A topic's hour, its archive, its erased users, its compactions and its readers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use centinela_domain::Millis;
use centinela_lake::compact::{Report, Request, Settings, compact};
use centinela_lake::hour::Hour;
use centinela_lake::keys::{self, RawName};
use centinela_lake::parquet_read::read_all;
use centinela_lake::parquet_write::{Effort, FileWriter};
use centinela_lake::row::{Cell, Place, Row};
use centinela_lake::table::Table;
use futures::executor::block_on;
use futures::future::{join_all, join3};

use crate::memory::{Fault, Handle, Memory, pause};

const TABLE: Table = Table::Events;
const BUCKET: &str = "lake";
const GRACE: Duration = Duration::from_secs(2 * 3600);
const START: i64 = 1_795_356_000_000;
const PARTITIONS: u64 = 5;
const USERS: i64 = 7;

/// Random numbers from a seed: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Run {
    Whole,
    CutOff { calls: usize, fault: Fault },
}

pub struct World {
    seed: u64,
    chance: Chance,
    memory: Memory,
    settings: Settings,
    /// Offsets of each partition that were put whole at least once.
    arrived: BTreeMap<i32, i64>,
    erased: BTreeSet<i64>,
    /// Rows that stood in the lake when the last run began that came to its end: no reader may miss one of them.
    promised: BTreeSet<Place>,
    /// What the last reader saw.
    seen: BTreeSet<Place>,
    /// Manifests that readers hold, with the time at which they read them.
    held: Vec<(String, Millis)>,
    spoilt: Vec<(String, Bytes)>,
    runs: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let memory = Memory::default();
        memory.set_now(Millis(START + 3_600_000 + 700_000));
        let settings = Settings {
            bucket: BUCKET.to_owned(),
            slices: 1 + chance.below(3) as u32,
            shares: 1,
            close_after: Duration::from_secs(600),
            grace: GRACE,
            // Several files in most slices.
            file_bytes_max: 6_000,
        };
        Self {
            seed,
            chance,
            memory,
            settings,
            arrived: BTreeMap::new(),
            erased: BTreeSet::new(),
            promised: BTreeSet::new(),
            seen: BTreeSet::new(),
            held: Vec::new(),
            spoilt: Vec::new(),
            runs: 0,
        }
    }

    fn hour() -> Hour {
        Hour::of(Millis(START))
    }

    fn row(place: Place) -> Row {
        let mut cells = vec![Cell::Null; TABLE.columns().len()];
        cells[0] = format!("event-{}-{}", place.partition, place.offset).into();
        cells[3] = user(place).to_string().into();
        Row { place, broker_time: START + place.offset, problem: None, value: None, cells: cells.into() }
    }

    /// The key and the bytes of an object with these offsets.
    fn object(partition: i32, offsets: std::ops::Range<i64>) -> (String, Bytes) {
        let rows: Vec<Row> = offsets.map(|offset| Self::row(Place { partition, offset })).collect();
        let name = RawName::of(rows.iter().map(|row| (row.place, row.broker_time))).expect("some rows");
        let mut file = FileWriter::new(TABLE, Effort::Quick).expect("a table");
        rows.into_iter().for_each(|row| file.push(row).expect("a row"));
        (name.key(TABLE, Self::hour()), file.finish().expect("a file"))
    }

    /// Some partitions go on; what came before is delivered again now and then, cut otherwise; some puts are half.
    pub fn arrive(&mut self) {
        for _ in 0..2 + self.chance.below(6) {
            let partition = self.chance.below(PARTITIONS) as i32;
            let next = self.arrived.get(&partition).copied().unwrap_or(0);
            let again = if self.chance.below(3) == 0 { self.chance.below(30) as i64 } else { 0 };
            let end = next + 1 + self.chance.below(40) as i64;
            let (key, body) = Self::object(partition, (next - again).max(0)..end);
            if self.chance.below(8) == 0 {
                // Half an object, which is delivered again later, or at once with other cuts.
                self.memory.put(&key, body.slice(..body.len() / 2));
                if self.chance.below(2) == 0 {
                    self.spoilt.push((key, body));
                    continue;
                }
                let (key, body) = Self::object(partition, (next - again - 1).max(0)..end + 1);
                self.memory.put(&key, body);
                self.arrived.insert(partition, end + 1);
                continue;
            }
            self.memory.put(&key, body);
            self.arrived.insert(partition, end);
        }
        for (key, body) in std::mem::take(&mut self.spoilt) {
            let name = RawName::parse(TABLE, &key).expect("a raw object");
            let arrived = self.arrived.entry(name.partition).or_default();
            if name.first <= *arrived {
                *arrived = (*arrived).max(name.last + 1);
                self.memory.put(&key, body);
            } else {
                self.spoilt.push((key, body));
            }
        }
        if self.chance.below(5) == 0 {
            self.erase_somebody();
        }
    }

    pub fn erase_somebody(&mut self) {
        let user = self.chance.below(USERS as u64) as i64;
        self.erased.insert(user);
        self.memory.put(&keys::erasure(&user.to_string()), Bytes::from_static(b"{}"));
    }

    pub fn pass_time(&mut self) {
        let minutes = [1, 30, 70, 130][self.chance.below(4) as usize];
        self.memory.set_now(Millis(self.memory.now().0 + minutes * 60_000));
    }

    pub fn pass_grace(&mut self) {
        self.memory.set_now(Millis(self.memory.now().0 + GRACE.as_millis() as i64 + 1));
    }

    pub fn some_runs(&mut self) -> Vec<Run> {
        let faults = [Fault::Before, Fault::After, Fault::AnsweredTwice];
        let run = |chance: &mut Chance| match chance.below(2) {
            0 => Run::Whole,
            _ => Run::CutOff { calls: chance.below(60) as usize, fault: faults[chance.below(3) as usize] },
        };
        (0..1 + self.chance.below(2)).map(|_| run(&mut self.chance)).collect()
    }

    /// Runs one after the other, each over everything; returns the calls of the last.
    pub fn run(&mut self, runs: &[Run]) -> usize {
        let mut calls = 0;
        for run in runs {
            let before = self.there();
            calls = self.together(&[(*run, None, 0)], Vec::new(), before);
        }
        calls
    }

    /// Runs at the same time, which begin at any moment and may be for some slices only, while records arrive and somebody reads.
    pub fn run_together(&mut self, runs: &[Run]) {
        let slices = self.settings.slices;
        let plan = |run: &Run, chance: &mut Chance| {
            let some = (chance.below(3) == 0).then(|| (0..slices).filter(|_| chance.below(2) == 0).collect::<Vec<_>>());
            (*run, some, chance.below(3) * chance.below(80))
        };
        let runs: Vec<_> = runs.iter().map(|run| plan(run, &mut self.chance)).collect();
        let (before, mut arriving) = (self.there(), Vec::new());
        for partition in 0..PARTITIONS as i32 {
            let next = self.arrived.get(&partition).copied().unwrap_or(0);
            let end = next + self.chance.below(12) as i64;
            if next < end {
                let (key, body) = Self::object(partition, next..end);
                arriving.push((key, body, self.chance.below(150)));
                self.arrived.insert(partition, end);
            }
        }
        self.together(&runs, arriving, before);
    }

    /// `before` are the rows that no whole run may miss.
    fn together(
        &mut self,
        runs: &[(Run, Option<Vec<u32>>, u64)],
        arriving: Vec<(String, Bytes, u64)>,
        before: BTreeSet<Place>,
    ) -> usize {
        // Who reads just before holds the manifest that is about to be replaced.
        self.check();
        let handles: Vec<Handle> = runs.iter().map(|(run, ..)| self.handle(*run)).collect();
        let memory = self.memory.clone();
        let now = || memory.now();
        let deadline = Millis(memory.now().0 + 600_000);
        let arrivals = arriving.into_iter().map(|(key, body, delay)| {
            let memory = &memory;
            async move {
                pause(delay).await;
                memory.put(&key, body);
            }
        });
        let reader = async {
            let mut seen = BTreeSet::new();
            for _ in 0..if runs.len() > 1 { 12 } else { 0 } {
                let Some(manifest) = self.manifest() else { continue };
                pause(7).await;
                let rows = self.rows(&manifest);
                let lost = seen.difference(&rows).find(|place| !self.erased.contains(&user(**place)));
                assert!(lost.is_none(), "seed {}: {lost:?} was there before", self.seed);
                seen = rows;
            }
        };
        let number = self.runs;
        let compactions = handles.iter().zip(runs).enumerate().map(|(index, (handle, (_, slices, delay)))| {
            let settings = &self.settings;
            let now = &now;
            async move {
                pause(*delay).await;
                let event = match slices {
                    Some(slices) => format!(r#"{{"erased":true,"slices":{slices:?}}}"#),
                    None => r#"{"erased":true}"#.to_owned(),
                };
                let request = Request::parse(&event).expect("a request");
                let name = format!("{:x}", number * 10 + index as u64);
                compact(handle, settings, &request, &name, now, deadline).await
            }
        });
        let (reports, _, ()) = block_on(join3(join_all(compactions), join_all(arrivals), reader));
        let came_to_its_end =
            |report: &Report| (report.failed, report.conflicts, report.incomplete, report.unfinished) == (0, 0, 0, 0);
        let of_all_slices = runs.iter().map(|(_, slices, _)| slices.is_none());
        let whole = reports.iter().map(|report| report.as_ref().is_ok_and(came_to_its_end)).zip(of_all_slices);
        if whole.into_iter().any(|(ended, all)| ended && all) {
            self.promised.extend(before);
        }
        self.runs += 1;
        handles.last().map_or(0, |handle| *handle.calls.lock().expect("no panic while locked"))
    }

    /// Hours that are new are divided, and the runs of a schedule share them.
    pub fn divide(&mut self, slices: u32, shares: u32) {
        (self.settings.slices, self.settings.shares) = (slices, shares);
    }

    /// A whole run's report.
    pub fn report(&mut self) -> Report {
        self.ask("{}")
    }

    /// The report of a run that an event asks for.
    pub fn ask(&mut self, event: &str) -> Report {
        let handle = self.handle(Run::Whole);
        let memory = self.memory.clone();
        let deadline = Millis(memory.now().0 + 600_000);
        self.runs += 1;
        let name = format!("{:x}", self.runs * 10);
        let (request, now) = (Request::parse(event).expect("a request"), || memory.now());
        let run = compact(&handle, &self.settings, &request, &name, &now, deadline);
        block_on(run).expect("the store answers")
    }

    fn handle(&mut self, run: Run) -> Handle {
        let allowed = match run {
            Run::Whole => (usize::MAX, None),
            Run::CutOff { calls, fault } => (calls, Some(fault)),
        };
        let chance = Chance(self.chance.below(u64::MAX));
        Handle {
            memory: self.memory.clone(),
            allowed: Mutex::new(allowed),
            calls: Mutex::new(0),
            chance: Mutex::new(chance),
        }
    }

    /// Every row that arrived and is nobody's who was erased.
    fn there(&self) -> BTreeSet<Place> {
        let places = self
            .arrived
            .iter()
            .flat_map(|(partition, end)| (0..*end).map(|offset| Place { partition: *partition, offset }));
        places.filter(|place| !self.erased.contains(&user(*place))).collect()
    }

    pub fn manifest(&self) -> Option<String> {
        let manifest = self.memory.get(&keys::manifest(TABLE, Self::hour()))?;
        Some(String::from_utf8(manifest.to_vec()).expect("text"))
    }

    /// What a reader sees who opens the manifest now, and what one sees who opened it a while ago.
    pub fn check(&mut self) {
        let now = self.memory.now();
        self.held.retain(|(_, read)| now.since(*read) < GRACE.as_millis() as i64);
        for (manifest, _) in &self.held {
            self.rows(manifest);
        }
        let Some(manifest) = self.manifest() else {
            assert!(self.promised.is_empty(), "seed {}: a run ended well and shows nothing", self.seed);
            return;
        };
        let seen = self.rows(&manifest);
        let missing: Vec<_> = self
            .promised
            .iter()
            .filter(|place| !seen.contains(place) && !self.erased.contains(&user(**place)))
            .collect();
        assert!(missing.is_empty(), "seed {}: readers miss {missing:?}", self.seed);
        let lost = self.seen.difference(&seen).find(|place| !self.erased.contains(&user(**place)));
        assert!(lost.is_none(), "seed {}: {lost:?} was there before", self.seed);
        self.seen = seen;
        self.held.push((manifest, now));
    }

    /// The rows of a manifest, each once and in order in each slice.
    fn rows(&self, manifest: &str) -> BTreeSet<Place> {
        let mut seen = BTreeSet::new();
        for line in manifest.lines() {
            let key = line.strip_prefix("s3://lake/").expect("a file of the lake");
            let file = self.memory.get(key).unwrap_or_else(|| panic!("seed {}: {key} is gone", self.seed));
            let rows = read_all(TABLE, file).expect("a readable file");
            assert!(rows.is_sorted_by_key(|row| row.place), "seed {}: {key} is not sorted", self.seed);
            for row in rows {
                assert_eq!(row, Self::row(row.place), "seed {}: a row changed", self.seed);
                assert!(seen.insert(row.place), "seed {}: {:?} is there twice", self.seed, row.place);
            }
        }
        seen
    }

    pub fn lose_the_state(&self) {
        self.memory.remove(&keys::state(TABLE, Self::hour()));
    }

    /// Cuts an object in half whose rows nobody else has.
    pub fn spoil_an_only_copy(&mut self) -> String {
        let (partition, end) = (6, 9);
        let (key, body) = Self::object(partition, 0..end);
        self.memory.put(&key, body.slice(..body.len() / 2));
        key
    }

    /// Puts it again, whole.
    pub fn mend(&mut self, key: &str) {
        let name = RawName::parse(TABLE, key).expect("a raw object");
        let (again, body) = Self::object(name.partition, name.first..name.last + 1);
        assert_eq!(again, key);
        self.memory.put(key, body);
        self.arrived.insert(name.partition, name.last + 1);
    }

    /// Everything arrives, time passes, and runs come to their end: what is left is exactly what should be.
    pub fn end(&mut self) {
        for (key, body) in std::mem::take(&mut self.spoilt) {
            let name = RawName::parse(TABLE, &key).expect("a raw object");
            self.memory.put(&key, body);
            let arrived = self.arrived.entry(name.partition).or_default();
            *arrived = (*arrived).max(name.last + 1);
        }
        self.run(&[Run::Whole]);
        self.check();
        for _ in 0..2 {
            self.pass_grace();
            self.run(&[Run::Whole]);
            self.check();
        }
        let manifest = self.manifest().expect("the hour is shown");
        assert_eq!(self.rows(&manifest), self.there(), "seed {}", self.seed);
        let left = self.memory.keys(&keys::raw_folder(TABLE, Self::hour()));
        assert_eq!(left, Vec::<String>::new(), "seed {}: raw objects are left", self.seed);
        let files: BTreeSet<String> = self.memory.keys(&keys::part_folder(TABLE, Self::hour())).into_iter().collect();
        let shown: BTreeSet<String> = manifest.lines().map(|line| line.replace("s3://lake/", "")).collect();
        assert_eq!(files, shown, "seed {}: files are left that nobody reads", self.seed);
    }
}

fn user(place: Place) -> i64 {
    (place.offset + i64::from(place.partition)) % USERS
}
