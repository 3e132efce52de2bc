//! Letters by the round: as many as memory and patience allow.

use crate::handled::Handled;
use crate::letter::{Letter, Readiness, Settings};
use crate::ports::{PortError, Surroundings};
use crate::report::Report;
use crate::request::Plan;

/// Letters of a round at most.
const LETTERS_MAX: usize = 5_000;
/// Bytes of a round's values, about.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What stands on the topic, letter by letter.
pub(crate) struct Reading<'a, W> {
    pub world: &'a mut W,
    pub settings: &'a Settings,
    pub plan: &'a Plan,
    /// Letters that were meant so far.
    pub met: usize,
    /// Whether the end was reached.
    pub ended: bool,
}

impl<W: Surroundings> Reading<'_, W> {
    /// The next open letter that is meant.
    pub async fn next(&mut self, handled: &Handled) -> Result<Option<Letter>, PortError> {
        while self.met < self.plan.limit {
            let Some(message) = self.world.next_message().await? else {
                self.ended = true;
                return Ok(None);
            };
            if handled.contains(message.place) || !self.plan.filter.allows_place(message.place) {
                continue;
            }
            let letter = Letter::read(message, self.settings);
            if self.plan.filter.matches(&letter) {
                self.met += 1;
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// The letters of the next round that can go back, with their repairs; the others are counted.
    pub async fn round(&mut self, handled: &Handled, report: &mut Report) -> Result<Vec<Letter>, PortError> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < LETTERS_MAX && bytes < BYTES_MAX {
            let Some(mut letter) = self.next(handled).await? else { break };
            report.letters += 1;
            let repaired = self.repair(&mut letter);
            let readiness = letter.readiness(repaired, self.plan.as_new);
            // A repair that leaves the record unreadable is none.
            let problem = letter.originals.iter().find_map(|original| original.problem.clone());
            match (readiness, problem) {
                (Readiness::Ready, None) => {
                    let values = letter.originals.iter().filter_map(|original| original.value.as_ref());
                    bytes += values.map(Vec::len).sum::<usize>() + 1024;
                    letters.push(letter);
                }
                (Readiness::Ready, Some(problem)) => report.leave(letter.place, &Readiness::NeedsRepair(problem)),
                (readiness, _) => report.leave(letter.place, &readiness),
            }
        }
        Ok(letters)
    }

    fn repair(&self, letter: &mut Letter) -> bool {
        let (Some(value), [original]) = (self.plan.repairs.get(&letter.place), &mut letter.originals[..]) else {
            return false;
        };
        original.take_value(Some(value.clone()), self.settings);
        true
    }
}
