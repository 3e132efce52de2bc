//! Brings a new version of a function to those who invoke it, and takes it back where it does not do.
//!
//! Whatever changed of a function, code or configuration, is not live before a version of it was published, has answered the event that
//! changes nothing, twice, and has had a share of the real invocations for a while. Until then its alias leads to the version before.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::deployment::Function;
use crate::ports::{Cloud, CloudError, Desk, FunctionFacts, Live, Stopped};
use crate::smoke::answered_well;

/// Between two looks at a function that is being changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A function with a network interface takes up to a minute or two to be ready.
const LOOKS_MAX: u32 = 10 * 60;
/// How often the event that changes nothing is sent: the first starts an environment, and the second finds it, if it asked for more. One that
/// did not is busy until its function's timeout: then Lambda may start another for the second, and it shows as an error of the version while
/// that has its share.
const SMOKE_EVENTS: u32 = 2;
/// Between two looks at what a new version does: metrics come by the minute.
const WATCH_EVERY: Duration = Duration::from_secs(15);

/// How a new version is tried on real invocations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watch {
    /// Its share of them, between 0 and 1; 0: it gets all of them at once.
    pub share: f64,
    /// For how long.
    pub time: Duration,
}

/// What a release did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This version is live now.
    Live(String),
    /// This version was live and answers.
    Answers(String),
    /// Nothing was asked: the live version is what the function is.
    Unchanged(String),
}

/// Publishes what the function is now, tries it, and lets the alias lead to it. `is_changed`: something was changed by this run, so it is
/// tried although the alias leads to it already.
///
/// # Errors
/// [`Stopped::TakenBack`] when the new version does not do; the alias leads where it led before.
pub fn release(
    cloud: &dyn Cloud,
    desk: &dyn Desk,
    function: &Function,
    alarms: &str,
    watch: Watch,
    is_changed: bool,
) -> Result<Outcome, Stopped> {
    let run = Run { cloud, desk, function };
    let facts = run.settled()?;
    let version = cloud.publish(&function.name, &facts.code_sha256)?;
    let before = cloud.alias(&function.name, &function.alias)?;
    let before = before.ok_or_else(|| run.failed("has no alias: deploy its stack first"))?;
    let only = Live { version: before.version, share: None };
    if before.share.is_some() {
        // An earlier run ended while it tried a version.
        run.put_back(&only)?;
    }
    let is_live = only.version == version;
    if is_live && !is_changed {
        return Ok(Outcome::Unchanged(version));
    }
    if let Err(why) = run.smoke(&version)? {
        return Err(run.does_not_do(&only, &version, &why));
    }
    if is_live {
        return Ok(Outcome::Answers(version));
    }
    if watch.share > 0.0 {
        run.try_on_some(&only, &version, alarms, watch)?;
    }
    let live = Live { version: version.clone(), share: None };
    if let Err(error) = cloud.point(&function.name, &function.alias, &live) {
        // It may be there although nobody said so.
        return run.take_back(&only, &version, &format!("the alias could not be moved to it: {error}"));
    }
    match run.smoke(&function.alias) {
        Ok(Ok(())) => Ok(Outcome::Live(version)),
        Ok(Err(why)) => run.take_back(&only, &version, &why),
        Err(error) => run.take_back(&only, &version, &format!("it could not be asked: {error}")),
    }
}

struct Run<'a> {
    cloud: &'a dyn Cloud,
    desk: &'a dyn Desk,
    function: &'a Function,
}

impl Run<'_> {
    /// The function when no change of it is at work.
    fn settled(&self) -> Result<FunctionFacts, Stopped> {
        for _ in 0..LOOKS_MAX {
            let facts = self.cloud.function(&self.function.name)?;
            let facts = facts.ok_or_else(|| self.failed("is not there: deploy its stack first"))?;
            if let Some(why) = facts.failure {
                return Err(self.failed(&format!("could not be changed: {why}; what was live is live")));
            }
            if facts.is_settled {
                return Ok(facts);
            }
            if self.desk.is_interrupted() {
                return Err(Stopped::Interrupted(format!("{} is being changed", self.function.name)));
            }
            self.cloud.pause(LOOK_EVERY);
        }
        Err(self.failed("has been changing for ten minutes; run it again"))
    }

    /// Asks a version or the alias for nothing.
    fn smoke(&self, qualifier: &str) -> Result<Result<(), String>, CloudError> {
        for event in 1..=SMOKE_EVENTS {
            let invoked = self.cloud.invoke(&self.function.name, qualifier, &self.function.smoke)?;
            if let Err(why) = answered_well(invoked.error.as_deref(), &invoked.body) {
                return Ok(Err(format!("{why} (event {event} of {SMOKE_EVENTS})")));
            }
        }
        Ok(Ok(()))
    }

    /// Gives the new version a share of the invocations and watches it. Returns when it did well.
    fn try_on_some(&self, before: &Live, version: &str, alarms: &str, watch: Watch) -> Result<(), Stopped> {
        // What spoke before the new version got anything is not its doing.
        let spoke: BTreeSet<_> = self.cloud.alarms(alarms)?.into_iter().collect();
        let share = Live { version: before.version.clone(), share: Some((version.to_owned(), watch.share)) };
        if let Err(error) = self.cloud.point(&self.function.name, &self.function.alias, &share) {
            return self.take_back(before, version, &format!("it could not be given a share: {error}"));
        }
        let per_cent = watch.share * 100.0;
        self.desk.say(&format!("    {}: {per_cent:.0} % go to version {version}", self.function.name));
        let minutes = u32::try_from(watch.time.as_secs().div_ceil(60)).unwrap_or(u32::MAX);
        let mut watched = Duration::ZERO;
        loop {
            if self.desk.is_interrupted() {
                self.put_back(before)?;
                return Err(Stopped::Interrupted(format!("version {version} of {} was tried", self.function.name)));
            }
            if let Some(why) = self.what_is_bad(version, alarms, &spoke, minutes) {
                return self.take_back(before, version, &why);
            }
            if watched >= watch.time {
                return Ok(());
            }
            let step = WATCH_EVERY.min(watch.time - watched);
            self.cloud.pause(step);
            watched += step;
        }
    }

    /// Why the new version should not get more. Not to know it is a reason too.
    fn what_is_bad(&self, version: &str, alarms: &str, spoke: &BTreeSet<String>, minutes: u32) -> Option<String> {
        match self.cloud.errors(&self.function.name, &self.function.alias, version, minutes) {
            Ok(0) => {}
            Ok(errors) => return Some(format!("{errors} of its invocations failed")),
            Err(error) => return Some(format!("it cannot be watched: {error}")),
        }
        match self.cloud.alarms(alarms) {
            Ok(speaking) => {
                let news: Vec<_> = speaking.into_iter().filter(|alarm| !spoke.contains(alarm)).collect();
                (!news.is_empty()).then(|| format!("since it is tried, {} speaks", news.join(", ")))
            }
            Err(error) => Some(format!("it cannot be watched: {error}")),
        }
    }

    fn put_back(&self, before: &Live) -> Result<(), Stopped> {
        self.cloud.point(&self.function.name, &self.function.alias, before).map_err(|error| {
            let Function { name, alias, .. } = self.function;
            let version = &before.version;
            self.failed(&format!(
                "is not back at version {version}: {error}. Do it by hand: aws lambda update-alias --function-name {name} --name {alias} \
                 --function-version {version} --routing-config AdditionalVersionWeights={{}}"
            ))
        })
    }

    fn take_back<T>(&self, before: &Live, version: &str, why: &str) -> Result<T, Stopped> {
        self.put_back(before)?;
        Err(self.does_not_do(before, version, why))
    }

    fn does_not_do(&self, before: &Live, version: &str, why: &str) -> Stopped {
        let name = &self.function.name;
        if before.version == version {
            return Stopped::Failed(format!(
                "version {version} of {name} does not do: {why}. There is none before it to go back to"
            ));
        }
        Stopped::TakenBack(format!(
            "version {version} of {name} does not do: {why}. Version {} is live",
            before.version
        ))
    }

    fn failed(&self, what: &str) -> Stopped {
        Stopped::Failed(format!("function {} {what}", self.function.name))
    }
}
