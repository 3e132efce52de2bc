//! What CloudFormation answers, as plain data.

use std::collections::BTreeMap;

use centinela_rollout::{Action, Change, ChangeSetState, Event, Replacement, StackFacts, StackResource};

use crate::xml::Element;

/// Words of a change set that has nothing to change; there is no code for that.
const EMPTY: [&str; 2] = ["didn't contain changes", "No updates are to be performed"];

pub(crate) fn stack(member: &Element) -> StackFacts {
    let pairs = |list: &str, key: &str, value: &str| -> BTreeMap<String, String> {
        let entries = member.list(list).iter();
        entries.map(|entry| (entry.text(key).to_owned(), entry.text(value).to_owned())).collect()
    };
    StackFacts {
        id: member.text("StackId").to_owned(),
        word: member.text("StackStatus").to_owned(),
        reason: member.text("StackStatusReason").to_owned(),
        parameters: pairs("Parameters", "ParameterKey", "ParameterValue"),
        outputs: pairs("Outputs", "OutputKey", "OutputValue"),
    }
}

pub(crate) fn resource(member: &Element) -> StackResource {
    StackResource {
        logical_id: member.text("LogicalResourceId").to_owned(),
        kind: member.text("ResourceType").to_owned(),
        physical_id: member.text("PhysicalResourceId").to_owned(),
        word: member.text("ResourceStatus").to_owned(),
    }
}

pub(crate) fn event(member: &Element) -> Event {
    Event {
        id: member.text("EventId").to_owned(),
        logical_id: member.text("LogicalResourceId").to_owned(),
        word: member.text("ResourceStatus").to_owned(),
        reason: member.text("ResourceStatusReason").to_owned(),
    }
}

/// What was found before anything was made; other events of the operation are among the stack's.
pub(crate) fn validation(member: &Element) -> Option<Event> {
    let reason = member.text("ValidationStatusReason");
    (!reason.is_empty()).then(|| Event {
        id: member.text("EventId").to_owned(),
        logical_id: member.text("LogicalResourceId").to_owned(),
        word: "VALIDATION_FAILED".to_owned(),
        reason: reason.to_owned(),
    })
}

/// How far a change set is, by its two statuses.
pub(crate) fn state(answer: &Element) -> ChangeSetState {
    let Some(result) = answer.find("DescribeChangeSetResult") else { return ChangeSetState::Over };
    let reason = result.text("StatusReason");
    match (result.text("Status"), result.text("ExecutionStatus")) {
        ("FAILED", _) if EMPTY.iter().any(|words| reason.contains(words)) => ChangeSetState::Empty,
        ("FAILED", _) => ChangeSetState::Failed(reason.to_owned()),
        ("CREATE_COMPLETE", "AVAILABLE") => ChangeSetState::Ready,
        ("CREATE_COMPLETE", "UNAVAILABLE") => ChangeSetState::Failed(reason.to_owned()),
        ("CREATE_COMPLETE", "EXECUTE_COMPLETE" | "EXECUTE_FAILED" | "OBSOLETE") => ChangeSetState::Over,
        ("CREATE_PENDING" | "CREATE_IN_PROGRESS" | "CREATE_COMPLETE", _) => ChangeSetState::AtWork,
        _ => ChangeSetState::Over,
    }
}

pub(crate) fn change(member: &Element) -> Change {
    let nothing = Element::default();
    let change = member.find("ResourceChange").unwrap_or(&nothing);
    let action = match change.text("Action") {
        "Add" => Action::Add,
        "Remove" => Action::Remove,
        "Import" => Action::Import,
        "Modify" => Action::Modify,
        _ => Action::Dynamic,
    };
    let replacement = match (change.text("Replacement"), action) {
        ("True", _) => Replacement::Always,
        ("False", _) | ("", Action::Add | Action::Remove | Action::Import) => Replacement::Never,
        // `Conditional`, and what does not say.
        _ => Replacement::Maybe,
    };
    let mut properties: Vec<String> = Vec::new();
    for detail in change.list("Details") {
        let Some(target) = detail.find("Target") else { continue };
        let named = match (target.text("Attribute"), target.text("Name")) {
            ("Properties", name) if !name.is_empty() => name.to_owned(),
            (attribute, _) => attribute.to_owned(),
        };
        if !named.is_empty() && !properties.contains(&named) {
            properties.push(named);
        }
    }
    Change {
        action,
        logical_id: change.text("LogicalResourceId").to_owned(),
        kind: change.text("ResourceType").to_owned(),
        physical_id: Some(change.text("PhysicalResourceId").to_owned()).filter(|id| !id.is_empty()),
        replacement,
        properties,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    fn described(status: &str, execution: &str, reason: &str) -> ChangeSetState {
        let body = format!(
            "<DescribeChangeSetResponse><DescribeChangeSetResult><Status>{status}</Status><StatusReason>{reason}</StatusReason>\
             <ExecutionStatus>{execution}</ExecutionStatus></DescribeChangeSetResult></DescribeChangeSetResponse>"
        );
        state(&parse(body.as_bytes()).expect("an answer"))
    }

    #[test]
    fn a_change_set_without_changes_is_told_from_one_that_cannot_be_made() {
        assert_eq!(described("CREATE_PENDING", "UNAVAILABLE", ""), ChangeSetState::AtWork);
        assert_eq!(described("CREATE_COMPLETE", "AVAILABLE", ""), ChangeSetState::Ready);
        assert_eq!(described("CREATE_COMPLETE", "EXECUTE_IN_PROGRESS", ""), ChangeSetState::AtWork);
        assert_eq!(described("CREATE_COMPLETE", "EXECUTE_FAILED", ""), ChangeSetState::Over);
        let words =
            "The submitted information didn't contain changes. Submit different information to create a change set.";
        assert_eq!(described("FAILED", "UNAVAILABLE", words), ChangeSetState::Empty);
        assert_eq!(described("FAILED", "UNAVAILABLE", "No updates are to be performed."), ChangeSetState::Empty);
        assert_eq!(described("FAILED", "UNAVAILABLE", "no rights"), ChangeSetState::Failed("no rights".into()));
        assert_eq!(described("DELETE_COMPLETE", "UNAVAILABLE", ""), ChangeSetState::Over);
    }

    #[test]
    fn a_change_is_read_with_what_it_does_to_what() {
        let body = b"<member><Type>Resource</Type><ResourceChange><Action>Modify</Action><LogicalResourceId>T</LogicalResourceId>\
<PhysicalResourceId>dev-echo</PhysicalResourceId><ResourceType>AWS::DynamoDB::Table</ResourceType><Replacement>Conditional</Replacement>\
<Scope><member>Properties</member></Scope><Details><member><Target><Attribute>Properties</Attribute><Name>KeySchema</Name></Target></member>\
<member><Target><Attribute>Properties</Attribute><Name>KeySchema</Name></Target></member><member><Target><Attribute>Tags</Attribute></Target></member>\
</Details></ResourceChange></member>";
        let change = change(&parse(body).expect("a change"));
        assert_eq!((change.action, change.replacement), (Action::Modify, Replacement::Maybe));
        assert_eq!(change.properties, ["KeySchema", "Tags"]);
        assert!(change.loses_data());
        assert_eq!(change.physical_id.as_deref(), Some("dev-echo"));
    }
}
