//! Letters by the part and by the round. A part is as many as are looked for in one go: their decisions' ids are all that is kept of them,
//! and the letters are read again. A round is as many letters as memory allows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use centinela_domain::{DecisionId, Millis};

use crate::handled::Handled;
use crate::letter::{Letter, Original, Proof, Readiness, Settings};
use crate::ports::{Message, Place, PortError, Surroundings};
use crate::report::Report;
use crate::request::Plan;

/// Letters of a part at most, and ids: some 400 bytes each at worst, when all of them are found in the lake.
const AHEAD_MAX: usize = 500_000;
/// Letters of a round at most.
const LETTERS_MAX: usize = 5_000;
/// Bytes of a round's letters, about.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// This part of the time that is left goes into reading ahead at most.
const AHEAD_OF_TIME: i64 = 4;

/// What stands on the topic, letter by letter.
pub(crate) struct Reading<'a> {
    settings: &'a Settings,
    plan: &'a Plan,
    /// Letters that were meant so far.
    met: usize,
    /// Whether the end was reached.
    pub ended: bool,
    /// Where the partitions of a topic end.
    pub ends: BTreeMap<String, Vec<u64>>,
}

/// Letters whose decisions are looked for in one go.
#[derive(Default)]
pub(crate) struct Part {
    /// Their decisions.
    pub wanted: BTreeSet<DecisionId>,
    /// The oldest of the records was written then.
    pub since: Option<Millis>,
    /// The letters, where they are few.
    held: VecDeque<Letter>,
    /// The last of them, where they are to be read again.
    until: Option<Place>,
}

impl<'a> Reading<'a> {
    pub fn new(settings: &'a Settings, plan: &'a Plan) -> Self {
        Self { settings, plan, met: 0, ended: false, ends: BTreeMap::new() }
    }

    /// Whether nothing more is to be read.
    pub fn is_over(&self, now: Millis) -> bool {
        self.ended || self.met >= self.plan.limit || self.plan.is_late(now)
    }

    /// The next open letter that is meant, if there is one and it comes in time.
    pub async fn next<W: Surroundings>(
        &mut self,
        world: &mut W,
        handled: &Handled,
        until: Option<Millis>,
    ) -> Result<Option<Letter>, PortError> {
        while !self.is_over(world.now()) && until.is_none_or(|until| world.now() < until) {
            let Some(message) = world.next_message().await? else {
                self.ended = true;
                return Ok(None);
            };
            if let Some(letter) = self.meant(message, handled) {
                self.met += 1;
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    fn meant(&self, message: Message, handled: &Handled) -> Option<Letter> {
        if handled.contains(message.place) || !self.plan.filter.allows_place(message.place) {
            return None;
        }
        Some(Letter::read(message, self.settings)).filter(|letter| self.plan.filter.matches(letter))
    }

    /// Reads ahead: as many as there is memory for their ids, and time to send at the rate that is asked for.
    pub async fn part<W: Surroundings>(&mut self, world: &mut W, handled: &Handled) -> Result<Part, PortError> {
        let (mut part, mut count, mut bytes) = (Part::default(), 0, 0);
        let mut span: Option<(Place, Place)> = None;
        let now = world.now();
        let until = self.plan.deadline.map(|deadline| Millis(now.0 + (deadline.since(now) / AHEAD_OF_TIME).max(1)));
        let can_send = |left: Duration| (left.as_secs_f64() * self.plan.rate).ceil() as usize;
        let most = self.plan.time_left(now).map_or(AHEAD_MAX, can_send).clamp(1, AHEAD_MAX);
        while count < most && part.wanted.len() < AHEAD_MAX {
            let Some(mut letter) = self.next(world, handled, until).await? else { break };
            span = Some(span.map_or((letter.place, letter.place), |(first, _)| (first, letter.place)));
            count += 1;
            bytes += size(&letter);
            if self.examine(world, &mut letter).await?.is_none() {
                part.want(&letter);
            }
            if count <= LETTERS_MAX && bytes <= BYTES_MAX {
                part.held.push_back(letter);
            } else {
                part.held = VecDeque::new();
            }
        }
        if let Some((first, last)) = span.filter(|_| part.held.is_empty()) {
            world.turn_back(first).await?;
            part.until = Some(last);
        }
        Ok(part)
    }

    /// The next letters of a part that can go back, with their repairs; the others are counted. None after the last.
    pub async fn round<W: Surroundings>(
        &mut self,
        world: &mut W,
        part: &mut Part,
        handled: &Handled,
        report: &mut Report,
    ) -> Result<Option<Vec<Letter>>, PortError> {
        let (mut letters, mut bytes, mut is_over) = (Vec::new(), 0, true);
        while letters.len() < LETTERS_MAX && bytes < BYTES_MAX {
            let Some(mut letter) = self.next_of(world, part, handled).await? else { break };
            is_over = false;
            report.letters += 1;
            match self.examine(world, &mut letter).await? {
                Some(why) => report.leave(letter.place, &why),
                None => {
                    bytes += size(&letter);
                    letters.push(letter);
                }
            }
        }
        Ok(Some(letters).filter(|_| !is_over))
    }

    async fn next_of<W: Surroundings>(
        &self,
        world: &mut W,
        part: &mut Part,
        handled: &Handled,
    ) -> Result<Option<Letter>, PortError> {
        if let Some(letter) = part.held.pop_front() {
            return Ok(Some(letter));
        }
        while let Some(until) = part.until {
            let message = world.next_message().await?;
            if message.as_ref().is_none_or(|message| message.place >= until) {
                part.until = None;
            }
            let Some(message) = message else { break };
            // The last is gone meanwhile, and this one is of the next part.
            if message.place > until {
                world.turn_back(message.place).await?;
            } else if let Some(letter) = self.meant(message, handled) {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// Takes the letter's repair. Says why the letter is left alone, if it is.
    async fn examine<W: Surroundings>(
        &mut self,
        world: &mut W,
        letter: &mut Letter,
    ) -> Result<Option<Readiness>, PortError> {
        let repair = self.plan.repairs.get(&letter.place);
        if let (Some(value), [original]) = (repair, &mut letter.originals[..]) {
            original.take_value(Some(value.clone()), self.settings);
        } else if repair.is_some() && letter.originals.len() > 1 {
            let count = letter.originals.len();
            return Ok(Some(Readiness::Cannot(format!("a repair is one value, and this letter has {count} records"))));
        }
        match letter.readiness(repair.is_some(), self.plan.as_new) {
            Readiness::Ready => {}
            why => return Ok(Some(why)),
        }
        // A repair that leaves the record unreadable is none.
        if let Some(problem) = letter.originals.iter().find_map(|original| original.problem.clone()) {
            return Ok(Some(Readiness::NeedsRepair(problem)));
        }
        self.believe(world, letter).await
    }

    /// A mapping signs nothing: that a record was where it says is believed as far as the topic goes, for a place that never was would
    /// keep its user's ring waiting.
    async fn believe<W: Surroundings>(
        &mut self,
        world: &mut W,
        letter: &mut Letter,
    ) -> Result<Option<Readiness>, PortError> {
        for original in &mut letter.originals {
            if !self.ends.contains_key(&original.topic) {
                let ends = world.ends(&original.topic).await?;
                self.ends.insert(original.topic.clone(), ends);
            }
            let ends = &self.ends[&original.topic];
            if ends.is_empty() {
                return Ok(Some(Readiness::Cannot(format!("there is no topic `{}`", original.topic))));
            }
            if !never_was(original, ends) {
                continue;
            }
            if !self.plan.as_new {
                let why = "its record cannot have been where it says: the topic ends before";
                return Ok(Some(Readiness::Cannot(why.to_owned())));
            }
            // What goes as a new record has no place of which anything could be signed.
            original.proof = Proof::None;
        }
        Ok(None)
    }
}

impl Part {
    fn want(&mut self, letter: &Letter) {
        for original in &letter.originals {
            let Some(decision) = original.decision else { continue };
            self.wanted.insert(decision);
            let at = original.at.timestamp;
            self.since = Some(self.since.map_or(at, |since| since.min(at)));
        }
    }
}

fn never_was(original: &Original, ends: &[u64]) -> bool {
    let end = ends.get(original.at.partition as usize);
    original.proof == Proof::OfTheMapping && end.is_none_or(|end| original.at.offset >= *end)
}

fn size(letter: &Letter) -> usize {
    let of = |original: &Original| {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = original.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        bytes(&original.key) + bytes(&original.value) + headers
    };
    letter.originals.iter().map(of).sum::<usize>() + 1024
}
