//! Brings one stack up to date, from whatever state it is in.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::change::Change;
use crate::deploy::Options;
use crate::deployment::Stack;
use crate::ports::{ChangeRequest, ChangeSet, ChangeSetState, Cloud, Desk, Event, StackFacts, Stopped};
use crate::status::{Move, Status, is_success, next};

/// Between two looks at what is at work: at first, and when it takes longer.
const LOOK_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How often it is looked at in the shorter interval.
const FIRST_LOOKS: u32 = 10;
/// A cluster takes some 40 minutes to be made and a network interface of a function as long to go away; after this nothing comes.
const LOOKS_MAX: u32 = 3 * 3600 / 5;
/// From any state it takes fewer moves than this to be up to date.
const MOVES_MAX: u32 = 8;

/// How the names of parameters end that protect something from deletion.
const PROTECTION: &str = "DeletionProtection";

fn protects((name, value): &(String, String)) -> bool {
    name.ends_with(PROTECTION) && value == "true"
}

/// What was done to a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It was made or changed.
    Changed,
    /// It was up to date.
    Unchanged,
}

/// One stack with those who know about it.
pub(crate) struct StackRun<'a> {
    pub cloud: &'a dyn Cloud,
    pub desk: &'a dyn Desk,
    pub options: &'a Options,
    pub stack: &'a Stack,
    /// Zone ids for parameters that are empty, if the stack is to be made.
    pub zones: &'a [String],
}

impl StackRun<'_> {
    /// Does what the stack's state asks for until it is up to date.
    pub(crate) fn bring(&self) -> Result<Brought, Stopped> {
        for _ in 0..MOVES_MAX {
            self.unless_interrupted("looking at it")?;
            let facts = self.cloud.stack(&self.stack.name)?;
            match next(facts.as_ref().map(StackFacts::status).as_ref()) {
                Move::Create => return self.change(facts.as_ref(), true),
                Move::Update => return self.change(facts.as_ref(), false),
                Move::Wait => drop(self.wait(&BTreeSet::new())?),
                Move::Clear => self.clear(facts.as_ref())?,
                Move::Unstick => self.unstick()?,
                Move::ByHand => {
                    let word = facts.map(|facts| facts.word).unwrap_or_default();
                    return Err(self.failed(&format!("is {word}; bring it to a standing state by hand first")));
                }
            }
        }
        Err(self.failed("does not come to rest; see its events"))
    }

    /// By a change set that is shown and agreed to.
    fn change(&self, facts: Option<&StackFacts>, is_new: bool) -> Result<Brought, Stopped> {
        let Some((name, changes)) = self.propose(facts, is_new)? else { return Ok(Brought::Unchanged) };
        if let Err(stopped) = self.agree(&changes, is_new) {
            self.drop_proposal(&name, is_new)?;
            return Err(stopped);
        }
        let (before, seen) = match self.cloud.stack(&self.stack.name)? {
            Some(facts) => (facts.word.clone(), self.event_ids(&facts)?),
            None => (String::new(), BTreeSet::new()),
        };
        self.cloud.execute(&self.stack.name, &name)?;
        let facts = self.wait_for(&name, &before, &seen)?;
        if is_success(&facts.word) {
            if is_new && self.is_left_unprotected() {
                self.change(Some(&facts), false)?;
            }
            return Ok(Brought::Changed);
        }
        let what_next = match next(Some(&facts.status())) {
            Move::Update => "it is as it was before; mend the cause and run it again",
            Move::Clear => "mend the cause and run it again: it deletes what is left and makes the stack anew",
            Move::Unstick => "mend the cause and run it again: it lets the rollback go on first",
            _ => "see its events",
        };
        let why = self.first_failure(&facts, &seen)?;
        Err(self.failed(&format!("ended as {}: {why}; {what_next}", facts.word)))
    }

    /// A change set that is ready, with its changes; none where there is nothing to change.
    pub(crate) fn propose(
        &self,
        facts: Option<&StackFacts>,
        is_new: bool,
    ) -> Result<Option<(String, Vec<Change>)>, Stopped> {
        let parameters = self.parameters(facts.filter(|_| !is_new));
        let adopting = self.options.adopting.get(&self.stack.file).filter(|_| is_new);
        let request = ChangeRequest {
            stack: &self.stack.name,
            is_new,
            body: adopting.unwrap_or(&self.stack.body),
            parameters: &parameters,
            makes_roles: self.stack.makes_roles,
            adopts: adopting.is_some(),
        };
        let name = self.cloud.propose(&request)?;
        for look in 0..LOOKS_MAX {
            let ChangeSet { state, changes } = self.cloud.change_set(&self.stack.name, &name)?;
            match state {
                ChangeSetState::Ready => return Ok(Some((name, changes))),
                ChangeSetState::Empty => {
                    self.drop_proposal(&name, is_new)?;
                    return Ok(None);
                }
                ChangeSetState::Failed(why) => {
                    self.drop_proposal(&name, is_new)?;
                    return Err(self.failed(&format!("cannot be changed: {why}; nothing was done")));
                }
                ChangeSetState::Over => return Err(self.failed("lost its change set to somebody else; run it again")),
                ChangeSetState::AtWork => self.pause(look, "its changes are computed")?,
            }
        }
        Err(self.failed("has changes that do not end being computed; nothing was done"))
    }

    /// Forgets a change set, and of a stack to be made the empty shell around it.
    pub(crate) fn drop_proposal(&self, name: &str, is_new: bool) -> Result<(), Stopped> {
        self.cloud.discard(&self.stack.name, name)?;
        if is_new && self.cloud.stack(&self.stack.name)?.is_some_and(|facts| facts.status() == Status::Review) {
            self.cloud.delete(&self.stack.name)?;
        }
        Ok(())
    }

    /// Whether it protects something from deletion as soon as it stands.
    fn is_left_unprotected(&self) -> bool {
        self.stack.parameters.iter().any(protects)
    }

    /// The declared parameters. A zone that is left open keeps what the network has, or gets one that MSK takes. A stack that is made
    /// protects nothing from deletion yet: what is protected cannot be rolled back.
    fn parameters(&self, facts: Option<&StackFacts>) -> Vec<(String, String)> {
        let mut parameters = self.stack.parameters.clone();
        if facts.is_none() {
            parameters
                .iter_mut()
                .filter(|parameter| protects(parameter))
                .for_each(|(_, value)| *value = "false".into());
        }
        for (place, zone) in self.stack.open_zones.iter().enumerate() {
            let kept = facts.map(|facts| facts.parameters.get(zone).cloned().unwrap_or_default());
            let value = kept.or_else(|| self.zones.get(place).cloned()).unwrap_or_default();
            if let Some(parameter) = parameters.iter_mut().find(|(name, _)| name == zone) {
                parameter.1 = value;
            }
        }
        parameters
    }

    /// Shows the changes, refuses those that lose data and were not named, and asks.
    fn agree(&self, changes: &[Change], is_new: bool) -> Result<(), Stopped> {
        let what = if is_new { "to be made" } else { "to be changed" };
        self.desk.say(&format!("{} ({what}, {} changes)", self.stack.name, changes.len()));
        for change in changes {
            self.desk.say(&format!("    {change}"));
        }
        let is_unnamed = |change: &&Change| !self.options.may_lose.contains(&change.logical_id);
        let losing: Vec<_> = changes.iter().filter(|change| change.loses_data()).filter(is_unnamed).collect();
        if !losing.is_empty() {
            let names: Vec<_> = losing.iter().map(|change| change.logical_id.as_str()).collect();
            let names = names.join(", ");
            return Err(self.failed(&format!(
                "would lose the data of {names}: nothing was done. Where that is wanted, say --may-lose for each"
            )));
        }
        if self.desk.agrees(&format!("carry this out on {}?", self.stack.name)) {
            return Ok(());
        }
        Err(Stopped::Declined(format!("the changes of {}", self.stack.name)))
    }

    /// Deletes what a failed creation or deletion left.
    fn clear(&self, facts: Option<&StackFacts>) -> Result<(), Stopped> {
        let Some(facts) = facts else { return Ok(()) };
        let why = self.first_failure(facts, &BTreeSet::new())?;
        self.desk.say(&format!("{} is {}: {why}", self.stack.name, facts.word));
        if !self.desk.agrees(&format!("delete what is left of {}, so that it can be made anew?", self.stack.name)) {
            return Err(Stopped::Declined(format!("deleting {}", self.stack.name)));
        }
        self.delete(facts)
    }

    /// Deletes the stack, and waits until it is gone.
    pub(crate) fn delete(&self, facts: &StackFacts) -> Result<(), Stopped> {
        let seen = self.event_ids(facts)?;
        let mut shown = seen.clone();
        self.cloud.delete(&self.stack.name)?;
        for look in 0..LOOKS_MAX {
            let Some(facts) = self.cloud.stack(&self.stack.name)?.filter(|facts| facts.status() != Status::Gone) else {
                return Ok(());
            };
            self.show_news(&facts, &mut shown)?;
            // It may have been so before it was deleted again.
            let has_ended = |event: &Event| event.word == "DELETE_FAILED" && !seen.contains(&event.id);
            if facts.word == "DELETE_FAILED" && self.cloud.events(&facts.id)?.iter().any(has_ended) {
                let why = self.first_failure(&facts, &seen)?;
                return Err(self.failed(&format!("cannot be deleted: {why}; mend that and run it again")));
            }
            self.pause(look, "it is deleted")?;
        }
        Err(self.failed("has been at work for three hours; see its events, and run it again"))
    }

    fn unstick(&self) -> Result<(), Stopped> {
        if !self.desk.agrees(&format!("the rollback of {} failed; let it go on?", self.stack.name)) {
            return Err(Stopped::Declined(format!("the rollback of {}", self.stack.name)));
        }
        self.cloud.unstick(&self.stack.name)?;
        match self.wait(&BTreeSet::new())? {
            Some(facts) if facts.status() == Status::Stuck => {
                let why = self.first_failure(&facts, &BTreeSet::new())?;
                Err(self.failed(&format!("cannot be rolled back: {why}; mend that resource by hand and run it again")))
            }
            _ => Ok(()),
        }
    }

    /// Waits until an executed change set has ended, whichever way. A stack that has not begun yet is not taken for one that has ended.
    fn wait_for(&self, change_set: &str, before: &str, seen: &BTreeSet<String>) -> Result<StackFacts, Stopped> {
        for look in 0..LOOKS_MAX {
            let facts = self.wait(seen)?.ok_or_else(|| self.failed("is gone: somebody deleted it"))?;
            let has_begun = facts.word != before;
            if has_begun || self.cloud.change_set(&self.stack.name, change_set)?.state == ChangeSetState::Over {
                return Ok(facts);
            }
            self.pause(look, "it begins")?;
        }
        Err(self.failed("does not begin to change; see its events"))
    }

    /// Waits until nothing is at work on the stack, and shows what happens meanwhile.
    pub(crate) fn wait(&self, seen: &BTreeSet<String>) -> Result<Option<StackFacts>, Stopped> {
        let mut shown = seen.clone();
        for look in 0..LOOKS_MAX {
            let Some(facts) = self.cloud.stack(&self.stack.name)? else { return Ok(None) };
            let is_moving = facts.status() == Status::Moving;
            if look == 0 && seen.is_empty() && is_moving {
                // What happened before this run is no news.
                shown = self.event_ids(&facts)?;
                self.desk.say(&format!("{} is {}; waiting", self.stack.name, facts.word));
            } else if look > 0 || is_moving {
                self.show_news(&facts, &mut shown)?;
            }
            if !is_moving {
                return Ok(Some(facts));
            }
            self.pause(look, &facts.word)?;
        }
        Err(self.failed("has been at work for three hours; see its events, and run it again"))
    }

    fn show_news(&self, facts: &StackFacts, shown: &mut BTreeSet<String>) -> Result<(), Stopped> {
        let events = self.cloud.events(&facts.id)?;
        for event in events.iter().rev() {
            let is_end = !event.word.ends_with("_IN_PROGRESS");
            if shown.insert(event.id.clone()) && is_end {
                let Event { logical_id, word, reason, .. } = event;
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.desk.say(&format!("    {} {logical_id} {word}{reason}", self.stack.name));
            }
        }
        Ok(())
    }

    fn event_ids(&self, facts: &StackFacts) -> Result<BTreeSet<String>, Stopped> {
        Ok(self.cloud.events(&facts.id)?.into_iter().map(|event| event.id).collect())
    }

    /// The cause of a failure: the first that failed by itself. The others are cancelled on its account.
    fn first_failure(&self, facts: &StackFacts, seen: &BTreeSet<String>) -> Result<String, Stopped> {
        let events = self.cloud.events(&facts.id)?;
        let failed = events.iter().filter(|event| !seen.contains(&event.id) && event.word.ends_with("_FAILED"));
        let by_itself = |event: &&Event| !event.reason.is_empty() && !event.reason.contains("cancelled");
        Ok(match failed.rev().find(by_itself) {
            Some(event) => format!("{}: {}", event.logical_id, event.reason),
            None if facts.reason.is_empty() => "no reason is given".to_owned(),
            None => facts.reason.clone(),
        })
    }

    fn pause(&self, look: u32, what: &str) -> Result<(), Stopped> {
        self.unless_interrupted(what)?;
        self.cloud.pause(LOOK_EVERY[usize::from(look >= FIRST_LOOKS)]);
        Ok(())
    }

    fn unless_interrupted(&self, what: &str) -> Result<(), Stopped> {
        if self.desk.is_interrupted() {
            return Err(Stopped::Interrupted(format!("{} ({what})", self.stack.name)));
        }
        Ok(())
    }

    fn failed(&self, what: &str) -> Stopped {
        Stopped::Failed(format!("stack {} {what}", self.stack.name))
    }
}
