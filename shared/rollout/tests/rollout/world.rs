//! An account as the port describes it, with everything that may go wrong in one.

mod cloud;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_rollout::{Change, CloudError, Event};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::functions::Functions;

/// What a stack operation ends as.
#[derive(Clone, Debug)]
struct Ending {
    /// Looks until then.
    looks: u32,
    word: &'static str,
    reason: String,
    is_success: bool,
}

#[derive(Clone, Debug)]
struct Proposal {
    name: String,
    body: String,
    parameters: BTreeMap<String, String>,
    changes: Vec<Change>,
    looks: u32,
    is_over: bool,
}

#[derive(Clone, Debug, Default)]
pub struct FakeStack {
    id: u32,
    pub word: String,
    reason: String,
    /// What it was last brought to.
    pub body: String,
    pub parameters: BTreeMap<String, String>,
    events: Vec<Event>,
    ending: Option<Ending>,
    proposal: Option<Proposal>,
}

/// How likely it is that something goes wrong, each between 0 and 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A call has no answer. In half of the cases it was carried out.
    pub call: f64,
    /// A stack operation fails.
    pub operation: f64,
}

/// The account.
pub struct World {
    pub stacks: RefCell<BTreeMap<String, FakeStack>>,
    pub functions: RefCell<Functions>,
    pub objects: RefCell<BTreeMap<String, String>>,
    pub parameters: RefCell<BTreeMap<String, String>>,
    /// Types and names that are of no stack.
    pub strays: RefCell<BTreeSet<(String, String)>>,
    pub speaking: RefCell<Vec<String>>,
    /// What was changed, in order.
    pub writes: RefCell<Vec<String>>,
    pub faults: Cell<Faults>,
    /// The next operations of these stacks end so, whatever the faults are.
    pub endings: RefCell<Vec<(String, &'static str)>>,
    pub waited: Cell<Duration>,
    rng: RefCell<ChaCha8Rng>,
    ids: Cell<u32>,
}

type Done<T> = Result<T, CloudError>;

fn refused<T>(why: &str) -> Done<T> {
    Err(CloudError::Refused(why.into()))
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            stacks: RefCell::default(),
            functions: RefCell::default(),
            objects: RefCell::default(),
            parameters: RefCell::default(),
            strays: RefCell::default(),
            speaking: RefCell::default(),
            writes: RefCell::default(),
            faults: Cell::default(),
            endings: RefCell::default(),
            waited: Cell::default(),
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(seed)),
            ids: Cell::default(),
        }
    }

    pub fn happens(&self, probability: f64) -> bool {
        probability > 0.0 && self.rng.borrow_mut().random_bool(probability)
    }

    fn looks(&self) -> u32 {
        self.rng.borrow_mut().random_range(0..4)
    }

    fn next_id(&self) -> u32 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// A call that asks.
    fn asked<T>(&self, what: impl FnOnce() -> Done<T>) -> Done<T> {
        if self.happens(self.faults.get().call) {
            return Err(CloudError::Unavailable("no answer".into()));
        }
        what()
    }

    /// A call that changes.
    fn changed<T>(&self, name: &str, what: impl FnOnce() -> Done<T>) -> Done<T> {
        if !self.happens(self.faults.get().call) {
            self.writes.borrow_mut().push(name.to_owned());
            return what();
        }
        if self.happens(0.5) {
            self.writes.borrow_mut().push(name.to_owned());
            drop(what());
        }
        Err(CloudError::Unavailable("no answer".into()))
    }

    fn note(&self, stack: &mut FakeStack, logical_id: &str, word: &str, reason: &str) {
        let id = self.next_id().to_string();
        stack.events.insert(0, Event { id, logical_id: logical_id.into(), word: word.into(), reason: reason.into() });
    }

    /// Begins an operation that ends as `success`, or as one of `failures`.
    fn begin(&self, name: &str, stack: &mut FakeStack, going: &str, success: &'static str, failures: &[&'static str]) {
        let mut endings = self.endings.borrow_mut();
        let asked_for = endings.iter().position(|(of, _)| of == name).map(|place| endings.remove(place).1);
        let drawn = self.happens(self.faults.get().operation).then(|| {
            let place = self.rng.borrow_mut().random_range(0..failures.len());
            failures[place]
        });
        let word = asked_for.or(drawn).unwrap_or(success);
        let is_success = word == success;
        let reason = if is_success { String::new() } else { format!("{name} hit a limit") };
        self.note(stack, name, going, "");
        stack.word = going.to_owned();
        stack.ending = Some(Ending { looks: self.looks(), word, reason, is_success });
    }

    /// Lets a stack's operation go on by one look.
    fn step(&self, name: &str) {
        let mut stacks = self.stacks.borrow_mut();
        let Some(stack) = stacks.get_mut(name) else { return };
        let Some(ending) = &mut stack.ending else { return };
        if ending.looks > 0 {
            ending.looks -= 1;
            return;
        }
        let Some(mut ending) = stack.ending.take() else { return };
        let proposal = stack.proposal.take();
        if ending.is_success
            && let Some(proposal) = &proposal
            && let Err(why) = self.apply(name, proposal)
        {
            let was_new = stack.body.is_empty();
            ending.word = if was_new { "ROLLBACK_COMPLETE" } else { "UPDATE_ROLLBACK_COMPLETE" };
            (ending.is_success, ending.reason) = (false, why);
        }
        if let Some(proposal) = proposal.filter(|_| ending.is_success) {
            (stack.body, stack.parameters) = (proposal.body, proposal.parameters);
        }
        if !ending.is_success {
            self.note(stack, "Other", "CREATE_FAILED", "Resource creation cancelled");
            let failed = if ending.word == "DELETE_FAILED" { "DELETE_FAILED" } else { "CREATE_FAILED" };
            self.note(stack, "Thing", failed, &ending.reason);
        }
        self.note(stack, name, ending.word, "");
        (stack.word, stack.reason) = (ending.word.to_owned(), ending.reason);
        if ending.word == "DELETE_COMPLETE" {
            self.functions.borrow_mut().stack_is_gone(name);
            stacks.remove(name);
        }
    }

    /// What only shows when the stack is made: imports, the code's object, the brokers' addresses.
    fn apply(&self, name: &str, proposal: &Proposal) -> Result<(), String> {
        if proposal.body.contains("AWS::Lambda::Function") {
            let package = name.rsplit("40-").next().unwrap_or_default();
            if self.parameters.borrow().is_empty() {
                return Err("the parameter with the brokers' addresses is not there".to_owned());
            }
            let objects = self.objects.borrow();
            let code = objects.get(&format!("{package}/bootstrap.zip"));
            let code = code.ok_or("NoSuchKey: the bundle is not there")?;
            self.functions.borrow_mut().stack_is_made(name, &format!("dev-{package}"), code);
        }
        Ok(())
    }

    fn imports_are_there(&self, body: &str) -> Result<(), String> {
        let stacks = self.stacks.borrow();
        let made = |output: &str| {
            let is_made = |stack: &FakeStack| stack.body.contains(&format!("centinela-{output}'}}"));
            stacks.values().any(|stack| is_made(stack) && stack.body.contains("Export"))
        };
        for import in body.split("Fn::ImportValue: !Sub '${NamePrefix}centinela-").skip(1) {
            let output = import.split('\'').next().unwrap_or_default();
            if !made(output) {
                return Err(format!("No export named {output} found"));
            }
        }
        Ok(())
    }
}
