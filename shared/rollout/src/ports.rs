//! What a deploy asks and changes, and whom it talks to.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use crate::change::Change;
use crate::status::Status;

/// An error of any kind.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why something could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A later attempt may succeed; the patience of one run is used up. Running the deploy again goes on from there.
    #[error("{0}; run it again later, it goes on from here")]
    Unavailable(#[source] Cause),
    /// The next attempt is refused as well: a right is missing, or what was asked for cannot be.
    #[error("{0}")]
    Refused(#[source] Cause),
}

/// Why a deploy ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The person did not agree. Nothing was changed since the last word that was agreed to.
    #[error("not agreed to: {0}")]
    Declined(String),
    /// Ctrl-C. What AWS is at work on goes on there.
    #[error("interrupted while {0}; run it again, it goes on from there")]
    Interrupted(String),
    /// A step did not work. The text says what is left, and what to do.
    #[error("{0}")]
    Failed(String),
    /// A new version did not do, and the alias is where it was before.
    #[error("{0}")]
    TakenBack(String),
    /// AWS could not be asked.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// User or role.
    pub arn: String,
}

/// A zone of the region that is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The same in every account, such as `use1-az1`.
    pub id: String,
    /// Another zone in another account, such as `us-east-1a`.
    pub name: String,
}

/// How many invocations the account may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// All together.
    pub limit: u32,
    /// What no function has reserved.
    pub unreserved: u32,
}

/// A stack as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFacts {
    /// Unique, also among the deleted stacks of this name.
    pub id: String,
    /// CloudFormation's word.
    pub word: String,
    /// Why, where it says so.
    pub reason: String,
    /// What it was last deployed with.
    pub parameters: BTreeMap<String, String>,
    /// What it tells others.
    pub outputs: BTreeMap<String, String>,
}

impl StackFacts {
    /// What the word means.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.word)
    }
}

/// A resource of a stack as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackResource {
    /// Logical id in the template.
    pub logical_id: String,
    /// CloudFormation type.
    pub kind: String,
    /// Name or id in the account.
    pub physical_id: String,
    /// CloudFormation's word.
    pub word: String,
}

/// Something that happened to a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Unique.
    pub id: String,
    /// Of which resource; the stack itself is one of them.
    pub logical_id: String,
    /// CloudFormation's word.
    pub word: String,
    /// Why, where it says so.
    pub reason: String,
}

/// What a change set is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRequest<'a> {
    /// Name of the stack.
    pub stack: &'a str,
    /// Whether there is no such stack yet.
    pub is_new: bool,
    /// The template.
    pub body: &'a str,
    /// Name and value of each parameter that the template declares.
    pub parameters: &'a [(String, String)],
    /// Whether it makes roles, so that this must be acknowledged.
    pub makes_roles: bool,
    /// Whether resources of a fixed name that exist already are taken over.
    pub adopts: bool,
}

/// How far a change set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSetState {
    /// Being computed, or being executed.
    AtWork,
    /// Ready to be executed.
    Ready,
    /// There is nothing to change.
    Empty,
    /// It cannot be made, and why.
    Failed(String),
    /// It was executed, well or not; or it is not there any more.
    Over,
}

/// A change set as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    /// How far it is.
    pub state: ChangeSetState,
    /// What it would change.
    pub changes: Vec<Change>,
}

/// A function as it is: what is next, not what an alias points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// SHA-256 of its bundle, in base64 as Lambda gives it.
    pub code_sha256: String,
    /// Whether no change of it is at work.
    pub is_settled: bool,
    /// Why its last change failed, if it did.
    pub failure: Option<String>,
}

/// Where an alias leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The version that gets what nothing else gets.
    pub version: String,
    /// Another version with its share of the invocations, between 0 and 1.
    pub share: Option<(String, f64)>,
}

/// What an invocation answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// The kind of error, where the function failed.
    pub error: Option<String>,
    /// What it answered, or said about its failure.
    pub body: String,
}

/// A function's code, ready to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// A zip with `bootstrap` in it.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, in base64 as Lambda gives it.
    pub sha256: String,
}

/// An account in a region. Each call tries again by itself what another attempt may mend, for a minute or so; what it was asked to do is
/// done once although the call may have been made twice.
pub trait Cloud {
    /// Who asks.
    fn caller(&self) -> Result<Caller, CloudError>;
    /// The region's zones that are available to everybody.
    fn zones(&self) -> Result<Vec<Zone>, CloudError>;
    /// How many invocations the account may have at once.
    fn concurrency(&self) -> Result<Concurrency, CloudError>;
    /// What a function has reserved of them; none where it shares, or where there is no such function.
    fn reserved(&self, function: &str) -> Result<Option<u32>, CloudError>;
    /// Whether a resource of this type and primary identifier exists.
    fn exists(&self, kind: &str, identifier: &str) -> Result<bool, CloudError>;

    /// A stack, unless there is none of this name.
    fn stack(&self, name: &str) -> Result<Option<StackFacts>, CloudError>;
    /// What a stack holds.
    fn resources(&self, stack: &str) -> Result<Vec<StackResource>, CloudError>;
    /// What happened to a stack, by its id, the newest first; some hundred at most.
    fn events(&self, stack_id: &str) -> Result<Vec<Event>, CloudError>;
    /// Has a change set made, and returns its name. It is computed a while after this returned.
    fn propose(&self, request: &ChangeRequest<'_>) -> Result<String, CloudError>;
    /// How far a change set is.
    fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSet, CloudError>;
    /// Executes a change set; it takes a while after this returned. What it makes and cannot keep is deleted, whatever its policy.
    fn execute(&self, stack: &str, name: &str) -> Result<(), CloudError>;
    /// Forgets a change set.
    fn discard(&self, stack: &str, name: &str) -> Result<(), CloudError>;
    /// Lets a failed rollback go on.
    fn unstick(&self, stack: &str) -> Result<(), CloudError>;
    /// Deletes a stack; it takes a while after this returned.
    fn delete(&self, stack: &str) -> Result<(), CloudError>;

    /// SHA-256, in base64, of the object that was uploaded under this key; none where there is no object, or nobody said its digest.
    fn uploaded(&self, bucket: &str, key: &str) -> Result<Option<String>, CloudError>;
    /// Uploads a bundle.
    fn upload(&self, bucket: &str, key: &str, bundle: &Bundle) -> Result<(), CloudError>;
    /// A function, unless there is none of this name.
    fn function(&self, name: &str) -> Result<Option<FunctionFacts>, CloudError>;
    /// Gives a function other code; it takes a while after this returned.
    fn update_code(&self, function: &str, bucket: &str, key: &str) -> Result<(), CloudError>;
    /// Makes a version of a function as it is now, if its code has this digest, and returns its number; the last one's where nothing
    /// changed since.
    fn publish(&self, function: &str, code_sha256: &str) -> Result<String, CloudError>;
    /// Where an alias leads, unless there is none of this name.
    fn alias(&self, function: &str, alias: &str) -> Result<Option<Live>, CloudError>;
    /// Lets an alias lead somewhere.
    fn point(&self, function: &str, alias: &str, live: &Live) -> Result<(), CloudError>;
    /// Invokes a version or an alias and waits for its answer. Tried again only where the function was not reached.
    fn invoke(&self, function: &str, qualifier: &str, event: &str) -> Result<Invoked, CloudError>;
    /// How many invocations of a version through an alias failed in the last minutes.
    fn errors(&self, function: &str, alias: &str, version: &str, minutes: u32) -> Result<u64, CloudError>;
    /// The alarms whose names begin so and that speak now.
    fn alarms(&self, prefix: &str) -> Result<Vec<String>, CloudError>;

    /// The addresses of a cluster's brokers for clients that log in by IAM.
    fn brokers(&self, cluster_arn: &str) -> Result<String, CloudError>;
    /// A parameter of Parameter Store.
    fn parameter(&self, name: &str) -> Result<Option<String>, CloudError>;
    /// Writes a parameter.
    fn set_parameter(&self, name: &str, value: &str) -> Result<(), CloudError>;
    /// Deletes a parameter; one that is not there is deleted already.
    fn delete_parameter(&self, name: &str) -> Result<(), CloudError>;

    /// Lets time go by before the next look.
    fn pause(&self, time: Duration);
}

/// The person in front of it.
pub trait Desk {
    /// Shows a line.
    fn say(&self, line: &str);
    /// Asks whether to go on.
    fn agrees(&self, question: &str) -> bool;
    /// Whether the person wants it to end.
    fn is_interrupted(&self) -> bool;
}
