//! Functions, versions and aliases of the world, and what must always hold of them.

use std::collections::{BTreeMap, BTreeSet};

use centinela_rollout::{FunctionFacts, Invoked, Live};

/// How often a version must have answered before it gets real invocations.
const SMOKE_EVENTS: u32 = 2;

/// A function.
#[derive(Clone, Debug)]
pub struct FakeFunction {
    /// Code and configuration, as they are now.
    pub now: (String, u32),
    /// Those of each version, the first at 0.
    versions: Vec<(String, u32)>,
    pub live: Live,
    /// Looks until a change of it is done.
    changing: u32,
    /// How often each version answered the event that changes nothing; the first, which its stack made live, often enough.
    answered: BTreeMap<String, u32>,
}

/// All of them.
#[derive(Default)]
pub struct Functions {
    by_name: BTreeMap<String, FakeFunction>,
    /// Codes that fail when they are asked by version.
    pub broken: BTreeSet<String>,
    /// Codes that answer one event, and then ask for no other.
    pub spent_after_one: BTreeSet<String>,
    /// Codes that fail when they are asked by the alias only, as a grant that is missing for it would let them.
    pub broken_behind_alias: BTreeSet<String>,
    /// Codes that fail on real events.
    pub failing: BTreeSet<String>,
    /// Everywhere an alias led to.
    pub led: Vec<(String, Live)>,
}

impl Functions {
    pub fn get(&self, name: &str) -> Option<&FakeFunction> {
        self.by_name.get(name)
    }

    /// What the live version is made of.
    pub fn live_code(&self, name: &str) -> Option<&(String, u32)> {
        let function = self.by_name.get(name)?;
        function.versions.get(function.live.version.parse::<usize>().ok()?.checked_sub(1)?)
    }

    pub fn stack_is_made(&mut self, stack: &str, name: &str, code: &str) {
        assert!(stack.contains("40-"), "{stack} has no function");
        if let Some(function) = self.by_name.get_mut(name) {
            // An update changes the configuration and never the code: its object has the same key.
            function.now.1 += 1;
            function.changing = 2;
            return;
        }
        let now = (code.to_owned(), 0);
        let live = Live { version: "1".into(), share: None };
        let versions = vec![now.clone()];
        let answered = BTreeMap::from([(live.version.clone(), SMOKE_EVENTS)]);
        let function = FakeFunction { now, versions, live, changing: 1, answered };
        self.by_name.insert(name.to_owned(), function);
    }

    pub fn stack_is_gone(&mut self, stack: &str) {
        if let Some((_, package)) = stack.split_once("40-") {
            self.by_name.remove(&format!("dev-{package}"));
        }
    }

    pub fn look(&mut self, name: &str) -> Option<FunctionFacts> {
        let function = self.by_name.get_mut(name)?;
        let is_settled = function.changing == 0;
        function.changing = function.changing.saturating_sub(1);
        Some(FunctionFacts { code_sha256: function.now.0.clone(), is_settled, failure: None })
    }

    pub fn update(&mut self, name: &str, code: &str) {
        if let Some(function) = self.by_name.get_mut(name) {
            function.now.0 = code.to_owned();
            function.changing = 2;
        }
    }

    pub fn publish(&mut self, name: &str, code: &str) -> Result<String, String> {
        let function = self.by_name.get_mut(name).ok_or("no such function")?;
        if function.changing > 0 || function.now.0 != code {
            return Err("it is being changed, or has other code".to_owned());
        }
        if function.versions.last() != Some(&function.now) {
            function.versions.push(function.now.clone());
        }
        Ok(function.versions.len().to_string())
    }

    /// A version gets invocations only after it answered, and again.
    pub fn point(&mut self, name: &str, live: &Live) {
        let Some(function) = self.by_name.get_mut(name) else { return };
        for version in live.share.iter().map(|(version, _)| version).chain([&live.version]) {
            let answers = function.answered.get(version).copied().unwrap_or_default();
            assert!(answers >= SMOKE_EVENTS, "{name}: {live:?} leads to what was asked {answers} times");
        }
        if let Some((_, share)) = &live.share {
            assert!((0.0..1.0).contains(share), "{name}: a share of {share}");
        }
        function.live = live.clone();
        self.led.push((name.to_owned(), live.clone()));
    }

    pub fn invoke(&mut self, name: &str, qualifier: &str) -> Invoked {
        let live = self.live_code(name).map(|(code, _)| code.clone()).unwrap_or_default();
        let (broken, behind) = (&self.broken, &self.broken_behind_alias);
        let Some(function) = self.by_name.get_mut(name) else { panic!("{name} is invoked and not there") };
        let failed = Invoked { error: Some("Unhandled".into()), body: r#"{"errorMessage":"no"}"#.into() };
        match qualifier.parse::<usize>() {
            Ok(version) => {
                let code = &function.versions[version - 1].0;
                let answers = function.answered.entry(qualifier.to_owned()).or_default();
                if broken.contains(code) || (*answers > 0 && self.spent_after_one.contains(code)) {
                    return failed;
                }
                *answers += 1;
            }
            Err(_) if broken.contains(&live) || behind.contains(&live) => return failed,
            Err(_) => {}
        }
        Invoked { error: None, body: r#"{"batchItemFailures":[]}"#.into() }
    }

    pub fn errors(&self, name: &str, version: &str) -> u64 {
        let function = self.by_name.get(name);
        let code = function.and_then(|function| function.versions.get(version.parse::<usize>().ok()?.checked_sub(1)?));
        code.map_or(0, |(code, _)| u64::from(self.failing.contains(code)) * 3)
    }
}
