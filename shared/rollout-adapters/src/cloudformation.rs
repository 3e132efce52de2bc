//! Stacks and change sets.
//!
//! Contract: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Operations.html>.

use std::time::{SystemTime, UNIX_EPOCH};

use centinela_rollout::{ChangeRequest, ChangeSet, ChangeSetState, CloudError, Event, StackFacts, StackResource};

use crate::aws::Aws;
use crate::call::Failure;
use crate::cloudformation_answers as answers;
use crate::xml::Element;

const SERVICE: &str = "cloudformation";
const VERSION: &str = "2010-05-15";
/// More pages than a stack of 500 resources has.
const PAGES_MAX: usize = 50;

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Aws {
    fn cloudformation(&self, action: &str, fields: &[(String, String)]) -> Result<(Element, bool), Failure> {
        self.query(SERVICE, VERSION, action, fields)
    }

    pub(crate) fn describe_stack(&self, name: &str) -> Result<Option<StackFacts>, CloudError> {
        match self.cloudformation("DescribeStacks", &[field("StackName", name)]) {
            Ok((answer, _)) => Ok(answer.list("Stacks").first().map(answers::stack)),
            Err(Failure::Refused(refusal)) if refusal.message.contains("does not exist") => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn list_resources(&self, stack: &str) -> Result<Vec<StackResource>, CloudError> {
        let (mut resources, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut fields = vec![field("StackName", stack)];
            fields.extend(token.as_deref().map(|token| field("NextToken", token)));
            let (answer, _) = self.cloudformation("ListStackResources", &fields)?;
            resources.extend(answer.list("StackResourceSummaries").iter().map(answers::resource));
            token = answer.deep_text("NextToken").map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        Ok(resources)
    }

    pub(crate) fn describe_events(&self, stack_id: &str) -> Result<Vec<Event>, CloudError> {
        let (answer, _) = self.cloudformation("DescribeStackEvents", &[field("StackName", stack_id)])?;
        let mut events: Vec<_> = answer.list("StackEvents").iter().map(answers::event).collect();
        if events.iter().any(|event| is_said_elsewhere(&event.reason)) {
            let (answer, _) = self.cloudformation("DescribeEvents", &[field("StackName", stack_id)])?;
            // They are the cause of all others.
            events.extend(answer.list("OperationEvents").iter().filter_map(answers::validation));
        }
        Ok(events)
    }

    /// Why a change set cannot be made, where its own reason says only whom to ask.
    fn reason_of(&self, stack: &str, name: &str, reason: String) -> Result<String, CloudError> {
        if !is_said_elsewhere(&reason) {
            return Ok(reason);
        }
        let fields = [field("StackName", stack), field("ChangeSetName", name)];
        let (answer, _) = self.cloudformation("DescribeEvents", &fields)?;
        let found = answer.list("OperationEvents").iter().filter_map(answers::validation);
        let said: Vec<_> = found.map(|event| format!("{}: {}", event.logical_id, event.reason)).collect();
        Ok(if said.is_empty() { reason } else { said.join("; ") })
    }

    pub(crate) fn create_change_set(&self, request: &ChangeRequest<'_>) -> Result<String, CloudError> {
        let name = change_set_name();
        let mut fields = vec![
            field("StackName", request.stack),
            field("ChangeSetName", &name),
            field("ChangeSetType", if request.is_new { "CREATE" } else { "UPDATE" }),
            field("TemplateBody", request.body),
            field("Description", "Made by cargo xtask deploy"),
            field("ClientToken", &name),
        ];
        for (place, (parameter, value)) in request.parameters.iter().enumerate() {
            let member = format!("Parameters.member.{}", place + 1);
            fields.push((format!("{member}.ParameterKey"), parameter.clone()));
            fields.push((format!("{member}.ParameterValue"), value.clone()));
        }
        if request.makes_roles {
            fields.push(field("Capabilities.member.1", "CAPABILITY_NAMED_IAM"));
        }
        if request.adopts {
            fields.push(field("ImportExistingResources", "true"));
        }
        match self.cloudformation("CreateChangeSet", &fields) {
            Ok(_) => Ok(name),
            // An attempt without an answer was carried out: nobody else uses this name.
            Err(Failure::Refused(refusal)) if refusal.is_repeated && refusal.code == "AlreadyExistsException" => {
                Ok(name)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn describe_change_set(&self, stack: &str, name: &str) -> Result<ChangeSet, CloudError> {
        let (mut state, mut changes, mut token) = (ChangeSetState::Over, Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut fields = vec![field("StackName", stack), field("ChangeSetName", name)];
            fields.extend(token.as_deref().map(|token| field("NextToken", token)));
            let answer = match self.cloudformation("DescribeChangeSet", &fields) {
                Ok((answer, _)) => answer,
                Err(Failure::Refused(refusal)) if is_gone(&refusal.code, &refusal.message) => {
                    return Ok(ChangeSet { state: ChangeSetState::Over, changes: Vec::new() });
                }
                Err(failure) => return Err(failure.into()),
            };
            state = answers::state(&answer);
            changes.extend(answer.list("Changes").iter().map(answers::change));
            token = answer.deep_text("NextToken").map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        if let ChangeSetState::Failed(reason) = state {
            state = ChangeSetState::Failed(self.reason_of(stack, name, reason)?);
        }
        Ok(ChangeSet { state, changes })
    }

    pub(crate) fn execute_change_set(&self, stack: &str, name: &str) -> Result<(), CloudError> {
        let fields = [
            field("StackName", stack),
            field("ChangeSetName", name),
            field("ClientRequestToken", name),
            // What a failed creation made is deleted, also what a standing stack would retain: or the second try meets its name.
            field("RetainExceptOnCreate", "true"),
        ];
        match self.cloudformation("ExecuteChangeSet", &fields) {
            Ok(_) => Ok(()),
            // An attempt without an answer was carried out; how the stack is shows the rest.
            Err(Failure::Refused(refusal))
                if refusal.is_repeated
                    && (refusal.code == "InvalidChangeSetStatus" || is_gone(&refusal.code, &refusal.message)) =>
            {
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn delete_change_set(&self, stack: &str, name: &str) -> Result<(), CloudError> {
        match self.cloudformation("DeleteChangeSet", &[field("StackName", stack), field("ChangeSetName", name)]) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if is_gone(&refusal.code, &refusal.message) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn continue_rollback(&self, stack: &str) -> Result<(), CloudError> {
        let token = change_set_name();
        let fields = [field("StackName", stack), field("ClientRequestToken", &token)];
        self.cloudformation("ContinueUpdateRollback", &fields)?;
        Ok(())
    }

    pub(crate) fn delete_stack(&self, stack: &str) -> Result<(), CloudError> {
        self.cloudformation("DeleteStack", &[field("StackName", stack)])?;
        Ok(())
    }
}

/// What CloudFormation finds before it makes anything is told by an operation of its own.
fn is_said_elsewhere(reason: &str) -> bool {
    reason.contains("DescribeEvents")
}

/// A change set, or its stack, is not there.
fn is_gone(code: &str, message: &str) -> bool {
    code.starts_with("ChangeSetNotFound") || message.contains("does not exist")
}

/// No other run makes one in the same microsecond for the same stack.
fn change_set_name() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("deploy-{}-{}", since_1970.as_micros(), std::process::id())
}
