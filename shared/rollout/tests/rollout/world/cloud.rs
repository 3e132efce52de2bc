//! The port, over the account that is made up.

use std::collections::BTreeMap;
use std::time::Duration;

use centinela_rollout::{
    Action, Bundle, Caller, Change, ChangeRequest, ChangeSet, ChangeSetState, Cloud, CloudError, Concurrency, Event,
    FunctionFacts, Invoked, Live, Replacement, StackFacts, StackResource, Zone,
};

use super::{Done, Ending, FakeStack, Proposal, World, refused};

impl Cloud for World {
    fn caller(&self) -> Done<Caller> {
        self.asked(|| Ok(Caller { account: "123456789012".into(), arn: "arn:aws:iam::123456789012:user/dev".into() }))
    }

    fn zones(&self) -> Done<Vec<Zone>> {
        let zone = |number: u32, name: &str| Zone { id: format!("use1-az{number}"), name: format!("us-east-1{name}") };
        self.asked(|| Ok(vec![zone(1, "a"), zone(2, "b"), zone(3, "c"), zone(4, "d")]))
    }

    fn concurrency(&self) -> Done<Concurrency> {
        self.asked(|| Ok(Concurrency { limit: 1000, unreserved: 900 }))
    }

    fn reserved(&self, function: &str) -> Done<Option<u32>> {
        self.asked(|| Ok(self.functions.borrow().get(function).map(|_| 10)))
    }

    fn exists(&self, kind: &str, identifier: &str) -> Done<bool> {
        self.asked(|| Ok(self.strays.borrow().contains(&(kind.to_owned(), identifier.to_owned()))))
    }

    fn stack(&self, name: &str) -> Done<Option<StackFacts>> {
        self.asked(|| {
            self.step(name);
            let stacks = self.stacks.borrow();
            Ok(stacks.get(name).map(|stack| {
                let mut outputs = BTreeMap::new();
                for (output, value) in [("ArtefactBucket", "bucket"), ("ClusterArn", "arn:cluster")] {
                    if stack.body.contains(&format!("\n  {output}:\n    Value")) {
                        outputs.insert(output.to_owned(), value.to_owned());
                    }
                }
                StackFacts {
                    id: format!("{name}/{}", stack.id),
                    word: stack.word.clone(),
                    reason: stack.reason.clone(),
                    parameters: stack.parameters.clone(),
                    outputs,
                }
            }))
        })
    }

    fn resources(&self, stack: &str) -> Done<Vec<StackResource>> {
        self.asked(|| {
            let stacks = self.stacks.borrow();
            let body = stacks.get(stack).map(|stack| stack.body.clone()).unwrap_or_default();
            let names = body.split("\nResources:\n").nth(1).unwrap_or_default().split("\nOutputs:").next();
            let lines: Vec<_> = names.unwrap_or_default().lines().collect();
            let resources = lines.windows(2).filter_map(|pair| {
                let logical_id = pair[0].strip_prefix("  ")?.strip_suffix(':').filter(|name| !name.starts_with(' '))?;
                let kind = pair[1].trim().strip_prefix("Type: ")?.to_owned();
                let (logical_id, physical_id) = (logical_id.to_owned(), format!("{stack}/{logical_id}"));
                Some(StackResource { logical_id, kind, physical_id, word: "CREATE_COMPLETE".into() })
            });
            Ok(resources.collect())
        })
    }

    fn events(&self, stack_id: &str) -> Done<Vec<Event>> {
        let name = stack_id.rsplit_once('/').map_or(stack_id, |(name, _)| name);
        self.asked(|| Ok(self.stacks.borrow().get(name).map(|stack| stack.events.clone()).unwrap_or_default()))
    }

    fn propose(&self, request: &ChangeRequest<'_>) -> Done<String> {
        self.changed(&format!("propose {}", request.stack), || {
            let mut stacks = self.stacks.borrow_mut();
            let word = stacks.get(request.stack).map(|stack| stack.word.clone());
            match (request.is_new, word.as_deref()) {
                (true, None | Some("REVIEW_IN_PROGRESS")) => {
                    let (id, word) = (self.next_id(), "REVIEW_IN_PROGRESS".to_owned());
                    stacks.insert(request.stack.to_owned(), FakeStack { id, word, ..FakeStack::default() });
                }
                (false, Some("CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE")) => {}
                (is_new, word) => return refused(&format!("a change set (new: {is_new}) of a stack that is {word:?}")),
            }
            let Some(stack) = stacks.get_mut(request.stack) else { return refused("no such stack") };
            let parameters: BTreeMap<_, _> = request.parameters.iter().cloned().collect();
            let mut changes = Vec::new();
            if stack.body != request.body || stack.parameters != parameters {
                let kind =
                    if request.body.contains("AWS::DynamoDB::Table") { "AWS::DynamoDB::Table" } else { "AWS::X::Y" };
                let makes_anew = !stack.body.is_empty() && request.body.contains("KeyType: RANGE");
                changes.push(Change {
                    action: if stack.body.is_empty() { Action::Add } else { Action::Modify },
                    logical_id: "Thing".into(),
                    kind: kind.into(),
                    physical_id: None,
                    replacement: if makes_anew { Replacement::Always } else { Replacement::Never },
                    properties: Vec::new(),
                });
            }
            let (name, body) = (format!("set-{}", self.next_id()), request.body.to_owned());
            let looks = self.looks();
            stack.proposal = Some(Proposal { name: name.clone(), body, parameters, changes, looks, is_over: false });
            Ok(name)
        })
    }

    fn change_set(&self, stack: &str, name: &str) -> Done<ChangeSet> {
        self.asked(|| {
            let over = ChangeSet { state: ChangeSetState::Over, changes: Vec::new() };
            let mut stacks = self.stacks.borrow_mut();
            let Some(proposal) = stacks.get_mut(stack).and_then(|stack| stack.proposal.as_mut()) else {
                return Ok(over);
            };
            let changes = proposal.changes.clone();
            let state = match () {
                () if proposal.name != name || proposal.is_over => return Ok(over),
                () if proposal.looks > 0 => {
                    proposal.looks -= 1;
                    ChangeSetState::AtWork
                }
                () if changes.is_empty() => ChangeSetState::Empty,
                () => ChangeSetState::Ready,
            };
            Ok(ChangeSet { state, changes })
        })
    }

    fn execute(&self, stack: &str, _: &str) -> Done<()> {
        self.changed(&format!("execute {stack}"), || {
            let body = self.stacks.borrow().get(stack).and_then(|stack| Some(stack.proposal.as_ref()?.body.clone()));
            let Some(body) = body else { return refused("no such change set") };
            let imports = self.imports_are_there(&body);
            let mut stacks = self.stacks.borrow_mut();
            let Some(found) = stacks.get_mut(stack) else { return refused("no such stack") };
            if found.body.is_empty() {
                let failures = ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"];
                self.begin(stack, found, "CREATE_IN_PROGRESS", "CREATE_COMPLETE", &failures);
            } else {
                let failures = ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"];
                self.begin(stack, found, "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", &failures);
            }
            if let (Err(why), Some(ending)) = (imports, &mut found.ending) {
                *ending = Ending { looks: 0, word: "ROLLBACK_COMPLETE", reason: why, is_success: false };
            }
            Ok(())
        })
    }

    fn discard(&self, stack: &str, _: &str) -> Done<()> {
        self.changed(&format!("discard {stack}"), || {
            if let Some(stack) = self.stacks.borrow_mut().get_mut(stack) {
                stack.proposal = None;
            }
            Ok(())
        })
    }

    fn unstick(&self, stack: &str) -> Done<()> {
        self.changed(&format!("unstick {stack}"), || {
            let mut stacks = self.stacks.borrow_mut();
            let Some(found) = stacks.get_mut(stack).filter(|found| found.word == "UPDATE_ROLLBACK_FAILED") else {
                return refused("nothing to go on with");
            };
            let success = "UPDATE_ROLLBACK_COMPLETE";
            self.begin(stack, found, "UPDATE_ROLLBACK_IN_PROGRESS", success, &["UPDATE_ROLLBACK_FAILED"]);
            Ok(())
        })
    }

    fn delete(&self, stack: &str) -> Done<()> {
        self.changed(&format!("delete {stack}"), || {
            let mut stacks = self.stacks.borrow_mut();
            let Some(found) = stacks.get_mut(stack) else { return Ok(()) };
            if found.word == "REVIEW_IN_PROGRESS" {
                stacks.remove(stack);
                return Ok(());
            }
            found.proposal = None;
            self.begin(stack, found, "DELETE_IN_PROGRESS", "DELETE_COMPLETE", &["DELETE_FAILED"]);
            Ok(())
        })
    }

    fn uploaded(&self, _: &str, key: &str) -> Done<Option<String>> {
        self.asked(|| Ok(self.objects.borrow().get(key).cloned()))
    }

    fn upload(&self, _: &str, key: &str, bundle: &Bundle) -> Done<()> {
        self.changed(&format!("upload {key}"), || {
            self.objects.borrow_mut().insert(key.to_owned(), bundle.sha256.clone());
            Ok(())
        })
    }

    fn function(&self, name: &str) -> Done<Option<FunctionFacts>> {
        self.asked(|| Ok(self.functions.borrow_mut().look(name)))
    }

    fn update_code(&self, function: &str, _: &str, key: &str) -> Done<()> {
        self.changed(&format!("code {function}"), || {
            let Some(code) = self.objects.borrow().get(key).cloned() else { return refused("NoSuchKey") };
            self.functions.borrow_mut().update(function, &code);
            Ok(())
        })
    }

    fn publish(&self, function: &str, code_sha256: &str) -> Done<String> {
        self.changed(&format!("publish {function}"), || {
            self.functions.borrow_mut().publish(function, code_sha256).map_err(|why| CloudError::Refused(why.into()))
        })
    }

    fn alias(&self, function: &str, _: &str) -> Done<Option<Live>> {
        self.asked(|| Ok(self.functions.borrow().get(function).map(|function| function.live.clone())))
    }

    fn point(&self, function: &str, _: &str, live: &Live) -> Done<()> {
        self.changed(&format!("point {function} {}", live.version), || {
            self.functions.borrow_mut().point(function, live);
            Ok(())
        })
    }

    fn invoke(&self, function: &str, qualifier: &str, event: &str) -> Done<Invoked> {
        assert!(!event.is_empty(), "{function} is invoked with nothing");
        self.asked(|| Ok(self.functions.borrow_mut().invoke(function, qualifier)))
    }

    fn errors(&self, function: &str, _: &str, version: &str, _: u32) -> Done<u64> {
        self.asked(|| Ok(self.functions.borrow().errors(function, version)))
    }

    fn alarms(&self, prefix: &str) -> Done<Vec<String>> {
        self.asked(|| {
            let speaking = self.speaking.borrow();
            Ok(speaking.iter().filter(|alarm| alarm.starts_with(prefix)).cloned().collect())
        })
    }

    fn brokers(&self, _: &str) -> Done<String> {
        self.asked(|| Ok("b-1:9098,b-2:9098".to_owned()))
    }

    fn parameter(&self, name: &str) -> Done<Option<String>> {
        self.asked(|| Ok(self.parameters.borrow().get(name).cloned()))
    }

    fn set_parameter(&self, name: &str, value: &str) -> Done<()> {
        self.changed(&format!("set {name}"), || {
            self.parameters.borrow_mut().insert(name.to_owned(), value.to_owned());
            Ok(())
        })
    }

    fn delete_parameter(&self, name: &str) -> Done<()> {
        self.changed(&format!("delete parameter {name}"), || {
            self.parameters.borrow_mut().remove(name);
            Ok(())
        })
    }

    fn pause(&self, time: Duration) {
        self.waited.set(self.waited.get() + time);
    }
}
