//! The end of a run: where its report ends, that everything before was handled, and that all of it is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use centinela_local::aws::StoredItem;
use centinela_local::mapping::MappingError;
use centinela_local::platform::{Cut, Platform, PlatformError};

use crate::errors::one_line;
use crate::lake::{Lake, LakeCheck};
use crate::reader::{PlacesByTopic, Reader};
use crate::report;
use crate::streams::{self, StreamChecks, StreamNames, StreamWatch};
use crate::tracker::{DeadPlaces, Gone, Tracker};

/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(50);
/// One attempt to drain; afterwards it is looked at whether anything moved.
const DRAIN_SLICE: Duration = Duration::from_secs(1);
/// How soon it is said what is waited for.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// What a run's owner is told while it waits.
#[derive(Clone, Copy, Debug)]
pub enum Beat<'a> {
    /// Time has passed.
    Tick,
    /// It takes long: why, and what can be done.
    Waiting(&'a str),
}

/// A run that sends nothing more.
pub struct End<'a> {
    platform: &'a Platform,
    readers: Vec<Reader>,
    drain_timeout: Duration,
    cuts: Vec<Cut>,
    places: PlacesByTopic,
    gaps: Vec<String>,
}

impl<'a> End<'a> {
    /// Of what these readers read. Servers that do not answer and a drain that does not move are given up after `drain_timeout`: the report
    /// is incomplete then.
    pub fn new(platform: &'a Platform, readers: Vec<Reader>, drain_timeout: Duration) -> Self {
        Self { platform, readers, drain_timeout, cuts: Vec::new(), places: PlacesByTopic::new(), gaps: Vec::new() }
    }

    /// Ends the report's part of every topic that a mapping reads, whatever producers send from now on, and waits as long as it moves
    /// until everything before was handled. What functions publish ends when they have handled what they read.
    pub async fn handle_all(&mut self, beat: &mut dyn FnMut(Beat<'_>)) {
        for reader in self.readers.iter().filter(|reader| reader.reads_what_is_produced()) {
            // What was read already must lie before the cut. A reader that has ended says why when it is asked to finish.
            reader.control().rest().await.unwrap_or_default();
        }
        for topics in self.platform.stages() {
            let Some(cuts) = self.cut(&topics, beat).await else { return };
            let drained = self.drain(&cuts, beat).await;
            self.cuts.extend(cuts);
            if !drained {
                return;
            }
        }
        // What was not handled is among the gaps.
        self.drain_streams(beat).await;
    }

    /// None when Kafka does not say where the cuts would be.
    async fn cut(&mut self, topics: &[String], beat: &mut dyn FnMut(Beat<'_>)) -> Option<Vec<Cut>> {
        let mut patience = Patience::new(self.drain_timeout);
        loop {
            let error = match Box::pin(self.platform.cut(topics)).await {
                Ok(cuts) => return Some(cuts),
                Err(error) => error,
            };
            let for_good = matches!(&error, PlatformError::Mapping(MappingError::TopicMissing { .. }));
            let kafka = &self.platform.kafka().bootstrap;
            let why = format!("kafka at {kafka} does not say where the topics end: {}", one_line(&error));
            if for_good || patience.is_over() {
                self.gap(why);
                return None;
            }
            patience.say(&why, beat);
            tokio::time::sleep(TICK).await;
            beat(Beat::Tick);
        }
    }

    /// Whether everything was handled.
    async fn drain(&mut self, cuts: &[Cut], beat: &mut dyn FnMut(Beat<'_>)) -> bool {
        let (mut least, mut patience) = (u64::MAX, Patience::new(self.drain_timeout));
        loop {
            match Box::pin(self.platform.drain(cuts, DRAIN_SLICE)).await {
                Ok(()) => return true,
                Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) => {
                    if records < least {
                        (least, patience) = (records, Patience::new(self.drain_timeout));
                    }
                    let why = self.unmoved(&format!("{records} records wait for {}", functions(cuts)));
                    if patience.is_over() {
                        self.gap(why);
                        return false;
                    }
                    patience.say(&why, beat);
                }
                Err(error) => {
                    self.gap(format!("what waits cannot be followed: {}", one_line(&error)));
                    return false;
                }
            }
            beat(Beat::Tick);
        }
    }

    /// Waits until the functions that read streams have handled everything. Whether they have.
    async fn drain_streams(&mut self, beat: &mut dyn FnMut(Beat<'_>)) -> bool {
        let drain = match self.platform.cut_streams() {
            Ok(drain) => drain,
            Err(error) => {
                self.gap(one_line(&error));
                return false;
            }
        };
        let (mut least, mut patience) = (u64::MAX, Patience::new(self.drain_timeout));
        loop {
            match self.platform.drain_streams(&drain, DRAIN_SLICE).await {
                Ok(()) => return true,
                Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) => {
                    if records < least {
                        (least, patience) = (records, Patience::new(self.drain_timeout));
                    }
                    let functions = drain.functions().collect::<Vec<_>>().join(", ");
                    let why = self.unmoved(&format!("{records} records or windows wait for {functions}"));
                    if patience.is_over() {
                        self.gap(why);
                        return false;
                    }
                    patience.say(&why, beat);
                }
                Err(error) => {
                    self.gap(format!("what waits on a stream cannot be followed: {}", one_line(&error)));
                    return false;
                }
            }
            beat(Beat::Tick);
        }
    }

    /// What does not move, and whether that is the brake's doing.
    fn unmoved(&self, what: &str) -> String {
        let disabled = self.platform.disabled();
        if disabled.is_empty() {
            return format!("{what} and do not move");
        }
        format!("{what} and do not move: mappings of {} are disabled (centinela brake release)", disabled.join(", "))
    }

    /// Compares what functions made of the stream with the topics; none where something of it was not read, or decisions came after the
    /// end of the run.
    pub async fn streams(
        &mut self,
        names: &StreamNames,
        watch: Option<StreamWatch>,
        tracker: &Tracker,
        later: u64,
    ) -> Option<StreamChecks> {
        let fold = watch?.finish().await.map_err(|why| self.gap(why)).ok()?;
        if fold.has_gaps() {
            self.gap("the stream deleted decisions before they were read here".to_owned());
        }
        if later > 0 || !self.gaps.is_empty() {
            return None;
        }
        let index = match &names.decisions {
            Some(table) => Some(self.items(table).await?),
            None => None,
        };
        let rollups = match &names.metrics {
            Some((table, _)) => Some(self.items(table).await?),
            None => None,
        };
        let before = |table: Option<&String>| table.map_or(&[][..], |table| self.platform.remembered(table));
        let index = index.as_deref().map(|after| (before(names.decisions.as_ref()), after));
        let rollups = rollups.as_deref().map(|after| (before(names.metrics.as_ref().map(|(table, _)| table)), after));
        let (sum, rollup) = tracker.decisions();
        Some(streams::check((&sum, &rollup), &fold, index, rollups))
    }

    /// Reads the topics to the cuts. Without cuts there is nobody to read from.
    pub async fn read(&mut self) {
        let readers = std::mem::take(&mut self.readers);
        let finishing: Vec<_> = readers
            .into_iter()
            .filter(|reader| !self.cuts.is_empty() || reader.has_ended())
            .map(|reader| {
                let (cuts, limit) = (self.cuts.clone(), self.drain_timeout);
                tokio::task::spawn_blocking(move || reader.finish(cuts, limit))
            })
            .collect();
        for finished in finishing {
            let problem = match finished.await {
                Ok(Ok(places)) => {
                    self.places.extend(places);
                    continue;
                }
                Ok(Err(error)) => one_line(&error),
                Err(error) => one_line(&error),
            };
            self.gap(problem);
        }
    }

    /// Compacts the hours of the run and compares every archived topic with its rows in the lake; none when not everything was read, or
    /// the lake cannot be.
    pub async fn lake(&mut self, lake: &Lake, dead: &DeadPlaces) -> Option<BTreeMap<String, LakeCheck>> {
        if !self.gaps.is_empty() {
            return None;
        }
        match lake.check(self.platform, &self.cuts, &self.places, dead).await {
            Ok(topics) => Some(topics),
            Err(why) => {
                self.gap(why);
                None
            }
        }
    }

    /// Two reasons in the same words are one.
    fn gap(&mut self, why: String) {
        if !self.gaps.contains(&why) {
            self.gaps.push(why);
        }
    }

    /// The items of a table; none when it cannot be read.
    pub async fn items(&mut self, table: &str) -> Option<Vec<StoredItem>> {
        let items = self.platform.read_back(table).await;
        items.map_err(|error| self.gap(one_line(&error))).ok()
    }

    /// Where the report ends on a topic that a function reads, and what was deleted there before it was delivered.
    pub async fn bounds(&self, topic: &str, function: &str) -> (report::Cut, Gone) {
        let cut = self.cuts.iter().find(|cut| cut.topic == *topic && cut.function == *function);
        let (Some(cut), Some(mapping)) = (cut, self.platform.mapping(topic, function)) else {
            return Default::default();
        };
        // A Kafka that has gone away by now takes nothing any more.
        let ends = mapping.ends().await.unwrap_or_else(|_| cut.ends.clone());
        let later = ends.iter().zip(&cut.ends).map(|(end, cut)| u64::try_from(end - cut).unwrap_or(0)).sum();
        let unread = mapping.skipped().into_iter().filter_map(|skipped| {
            let offset = |offset| u64::try_from(offset).ok();
            let offsets = offset(skipped.offsets.start)?..offset(skipped.offsets.end)?;
            Some((u32::try_from(skipped.partition).ok()?, offsets))
        });
        (report::Cut { ends: cut.ends.clone(), later }, Gone { unread: unread.collect() })
    }

    /// Why the report covers less than the run; empty when it does not.
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }
}

/// The functions of these cuts, for people.
fn functions(cuts: &[Cut]) -> String {
    let mut names: Vec<&str> = cuts.iter().map(|cut| cut.function.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() == 1 { "the function".to_owned() } else { names.join(", ") }
}

/// For how long the end of a run waits for something that does not come.
struct Patience {
    until: Instant,
    say_at: Option<Instant>,
}

impl Patience {
    fn new(lasts: Duration) -> Self {
        Self { until: Instant::now() + lasts, say_at: Some(Instant::now() + SAID_AFTER) }
    }

    fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// Says once, after a while, what is waited for.
    fn say(&mut self, what: &str, beat: &mut dyn FnMut(Beat<'_>)) {
        if self.say_at.take_if(|at| *at <= Instant::now()).is_some() {
            let left = self.until.saturating_duration_since(Instant::now()).as_secs();
            beat(Beat::Waiting(&format!("{what}; waiting for up to {left} s more")));
        }
    }
}
