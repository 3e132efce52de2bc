//! Plants a defect in the stacks: a change at a place in the tree of a stack, so that it does not depend on how the file is laid out.

use centinela_infra::Sources;
use serde_json::Value as Json;
use serde_yaml_ng::Value;

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// The beginning of a stack's file name, or `env` for the parameters.
    pub stack: String,
    /// Keys from the resource's name on, with a slash between them; `#Outputs` before them is another section than the resources.
    /// `[Name=value]` is the element of a list that has it, `[2]` the third.
    pub path: Vec<String>,
    pub operation: Operation,
}

/// What happens at the place.
#[derive(Debug, Clone)]
pub enum Operation {
    Set(String),
    Remove,
    /// Puts an element to the end of a list.
    Add(String),
    /// Replaces a part of a text.
    Replace(String, String),
    /// Takes an action out of every statement of a role that allows it.
    Drop(String),
    /// Lets a role do one more thing.
    Grant(String, String),
    /// Denies a role something on everything.
    Deny(String),
}

impl Change {
    /// Reads `STACK PATH OPERATION`; panics over what is none, since the table is the test's own.
    pub fn parse(text: &str) -> Self {
        let (stack, rest) = text.trim().split_once(' ').unwrap_or_else(|| panic!("a stack: {text}"));
        let (path, operation) = rest.split_once(' ').unwrap_or_else(|| panic!("a place: {text}"));
        let (word, argument) = operation.split_once(' ').unwrap_or((operation, ""));
        let two = |separator: &str| {
            let (first, second) = argument.split_once(separator).unwrap_or_else(|| panic!("two arguments: {text}"));
            (first.to_owned(), second.to_owned())
        };
        let operation = match word {
            "=" => Operation::Set(argument.to_owned()),
            "remove" => Operation::Remove,
            "add" => Operation::Add(argument.to_owned()),
            "replace" => {
                let (from, to) = two(" => ");
                Operation::Replace(from, to)
            }
            "drop" => Operation::Drop(argument.to_owned()),
            "grant" => {
                let (action, on) = two(" on ");
                Operation::Grant(action, on)
            }
            "deny" => Operation::Deny(argument.to_owned()),
            other => panic!("{other} is no operation: {text}"),
        };
        Self { stack: stack.to_owned(), path: steps(path), operation }
    }

    /// Carries the change out; says which stack it touched, none where it was a parameter.
    pub fn plant(&self, sources: &mut Sources) -> Option<String> {
        if self.stack == "env" {
            let mut file: Json = serde_json::from_str(&sources.parameters).expect("the parameter file is JSON");
            let name = &self.path[0];
            assert!(file["Parameters"][name].is_string(), "{name} is no parameter");
            let Operation::Set(value) = &self.operation else { panic!("a parameter is set") };
            file["Parameters"][name] = Json::from(value.as_str());
            sources.parameters = file.to_string();
            return None;
        }
        let is_meant = |file: &str| file.rsplit('/').next().is_some_and(|file| file.starts_with(&self.stack));
        let (file, text) = sources.stacks.iter_mut().find(|(file, _)| is_meant(file)).expect("the stack is there");
        let mut stack: Value = serde_yaml_ng::from_str(text).expect("the stack is YAML");
        let before = stack.clone();
        let (section, path) = match self.path.split_first() {
            Some((first, rest)) if first.starts_with('#') => (&first[1..], rest.to_vec()),
            _ => ("Resources", self.path.clone()),
        };
        let section = stack.get_mut(section).expect("it has this section");
        Self { path, ..self.clone() }.apply(section);
        assert_ne!(before, stack, "{self:?} changes nothing in {file}");
        *text = serde_yaml_ng::to_string(&stack).expect("it can be written");
        Some(file.clone())
    }

    fn apply(&self, resources: &mut Value) {
        match &self.operation {
            Operation::Drop(action) => {
                let role = find(resources, &self.path).unwrap_or_else(|| panic!("{self:?}: no such role"));
                drop_action(role, action);
            }
            Operation::Grant(action, on) => self.add_statement(resources, "Allow", action, on),
            Operation::Deny(action) => self.add_statement(resources, "Deny", action, "'*'"),
            Operation::Remove => {
                let (last, above) = self.path.split_last().expect("a place");
                let above = find(resources, above).unwrap_or_else(|| panic!("{self:?}: nothing above"));
                remove(above, last);
            }
            Operation::Set(yaml) => {
                let value = yaml_of(yaml);
                let (last, above) = self.path.split_last().expect("a place");
                let above = find(resources, above).unwrap_or_else(|| panic!("{self:?}: nothing above"));
                match find(above, std::slice::from_ref(last)) {
                    Some(place) => *place = value,
                    None => drop(inner(above).as_mapping_mut().expect("a map").insert(last.as_str().into(), value)),
                }
            }
            Operation::Add(yaml) => {
                let place = find(resources, &self.path).unwrap_or_else(|| panic!("{self:?}: no such list"));
                let list = inner(place);
                if !list.is_sequence() {
                    let one = list.clone();
                    *list = Value::Sequence(vec![one]);
                }
                list.as_sequence_mut().expect("a list").push(yaml_of(yaml));
            }
            Operation::Replace(from, to) => {
                let place = find(resources, &self.path).unwrap_or_else(|| panic!("{self:?}: no such text"));
                let Value::String(text) = inner(place) else { panic!("{self:?}: no text") };
                assert!(text.contains(from.as_str()), "{self:?}: {text}");
                *text = text.replace(from.as_str(), to);
            }
        }
    }

    fn add_statement(&self, resources: &mut Value, effect: &str, action: &str, on: &str) {
        let role = find(resources, &self.path).unwrap_or_else(|| panic!("{self:?}: no such role"));
        let policies = role["Properties"]["Policies"].as_sequence_mut().expect("it has policies");
        let statements = &mut policies[0]["PolicyDocument"]["Statement"];
        let statement = yaml_of(&format!("{{Effect: {effect}, Action: '{action}', Resource: {on}}}"));
        statements.as_sequence_mut().expect("statements").push(statement);
    }
}

fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step.find('[') {
            Some(at) => {
                if at > 0 {
                    steps.push(step[..at].to_owned());
                }
                steps.push(step[at..].to_owned());
            }
            None => steps.push(step.to_owned()),
        }
    }
    steps
}

fn yaml_of(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What a tag such as `!Sub` is about.
fn inner(value: &mut Value) -> &mut Value {
    match value {
        Value::Tagged(tagged) => &mut tagged.value,
        other => other,
    }
}

fn find<'a>(mut value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    for step in path {
        value = next(value, step)?;
    }
    Some(value)
}

fn next<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    let value = inner(value);
    // The first resource of a kind.
    if let Some(kind) = step.strip_prefix('@') {
        let mut of_kind = value.as_mapping_mut()?.iter_mut();
        return of_kind.find(|(_, one)| one.get("Type").and_then(Value::as_str) == Some(kind)).map(|(_, one)| one);
    }
    let Some(selector) = step.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return value.get_mut(step);
    };
    let list = value.as_sequence_mut()?;
    match selector.split_once('=') {
        None => list.get_mut(selector.parse::<usize>().ok()?),
        Some((name, wanted)) => list.iter_mut().find(|one| one.get(name).and_then(Value::as_str) == Some(wanted)),
    }
}

fn remove(above: &mut Value, step: &str) {
    let above = inner(above);
    if step.starts_with('[') {
        let wanted = next(above, step).unwrap_or_else(|| panic!("no element {step}")).clone();
        above.as_sequence_mut().expect("a list").retain(|one| *one != wanted);
    } else {
        above.as_mapping_mut().expect("a map").remove(step).unwrap_or_else(|| panic!("no key {step}"));
    }
}

/// An action that is alone in its statement takes the statement along.
fn drop_action(role: &mut Value, action: &str) {
    for policy in role["Properties"]["Policies"].as_sequence_mut().expect("it has policies") {
        let Some(statements) = policy["PolicyDocument"]["Statement"].as_sequence_mut() else { continue };
        statements.retain_mut(|statement| {
            if statement["Effect"].as_str() != Some("Allow") {
                return true;
            }
            match &mut statement["Action"] {
                Value::String(one) => one != action,
                Value::Sequence(actions) => {
                    actions.retain(|one| one.as_str() != Some(action));
                    !actions.is_empty()
                }
                _ => true,
            }
        });
    }
}
