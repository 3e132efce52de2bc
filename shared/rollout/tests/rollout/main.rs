//! Deploys in an account that is made up, with everything that may go wrong in one.

mod functions;
mod model;
mod preflight;
mod scenarios;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use centinela_infra::Sources;
use centinela_rollout::{Bundle, Deployment, Desk, Options, Watch};

/// The stacks of these tests, below this crate.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks")
}

fn sources() -> Sources {
    Sources::from_directory(&directory().join("infra"), "dev").expect("the stacks of these tests")
}

fn deployment_of(sources: &Sources) -> Deployment {
    let smoke = |package: &str| std::fs::read_to_string(directory().join(format!("events/{package}/smoke.json"))).ok();
    Deployment::of(sources, &smoke).expect("a deployment")
}

fn deployment() -> Deployment {
    deployment_of(&sources())
}

fn options() -> Options {
    let watch = Watch { share: 0.1, time: Duration::from_secs(60) };
    Options { adopting: BTreeMap::new(), may_lose: BTreeSet::new(), watch }
}

/// Every function has this code.
fn code(sha256: &str) -> impl Fn(&str) -> Result<Bundle, String> {
    let sha256 = sha256.to_owned();
    move |package| Ok(Bundle { bytes: package.as_bytes().to_vec(), sha256: format!("{package}-{sha256}") })
}

/// A person who agrees, unless told otherwise.
#[derive(Default)]
struct Person {
    said: RefCell<Vec<String>>,
    declines: Cell<bool>,
    /// Looks until Ctrl-C.
    patience: Cell<Option<u32>>,
}

impl Person {
    fn heard(&self, text: &str) -> bool {
        self.said.borrow().iter().any(|line| line.contains(text))
    }
}

impl Desk for Person {
    fn say(&self, line: &str) {
        self.said.borrow_mut().push(line.to_owned());
    }

    fn agrees(&self, question: &str) -> bool {
        self.say(question);
        !self.declines.get()
    }

    fn is_interrupted(&self) -> bool {
        match self.patience.get() {
            None => false,
            Some(0) => true,
            Some(left) => {
                self.patience.set(Some(left - 1));
                false
            }
        }
    }
}
