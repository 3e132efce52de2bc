//! Evaluates the intrinsic functions of all stacks together, as CloudFormation would with one environment's parameters.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::error::{InfraError, Problem, Site};
use super::model::Export;
use super::parameters;
use super::template::{Template, mistyped};
use super::{LAPTOP_ACCOUNT, LAPTOP_REGION, PLACEHOLDER_SECRET};

/// Deeper nesting than any sensible stack has; what reaches it is a circle.
const MAX_DEPTH: u16 = 64;

/// How the description of an output begins that other deployments import.
const FOR_OTHERS: &str = "For others:";

/// `None` is `AWS::NoValue`: the property is absent.
pub(super) type Evaluated = Result<Option<Value>, InfraError>;

/// All stacks of one environment.
pub(super) struct Stacks {
    pub(super) templates: Vec<Template>,
    /// Value of every parameter, per stack.
    parameters: Vec<BTreeMap<String, Value>>,
    /// Export name to the stack and the output.
    exports: BTreeMap<String, (usize, String)>,
    imported: RefCell<BTreeSet<String>>,
}

impl Stacks {
    /// Takes the stacks in the order in which they are deployed.
    pub(super) fn new(templates: Vec<Template>, environment: (&str, &str)) -> Result<Self, InfraError> {
        let parameters = parameters::resolve(&templates, environment.0, environment.1)?;
        let mut stacks = Self { templates, parameters, exports: BTreeMap::new(), imported: RefCell::default() };
        stacks.exports = stacks.collect_exports()?;
        Ok(stacks)
    }

    /// Whether the resource or output exists in this environment.
    pub(super) fn exists(&self, stack: usize, body: &Map<String, Value>, site: &Site) -> Result<bool, InfraError> {
        match body.get("Condition") {
            None => Ok(true),
            Some(Value::String(name)) => self.condition(stack, name, &site.child("Condition"), 0),
            Some(other) => Err(site.child("Condition").error(mistyped("the name of a condition", other))),
        }
    }

    /// A resource's properties, resolved.
    pub(super) fn properties(&self, stack: usize, body: &Map<String, Value>, site: &Site) -> Result<Value, InfraError> {
        let Some(properties) = body.get("Properties") else {
            return Ok(Value::Object(Map::new()));
        };
        Ok(self.evaluate(stack, properties, site, 0)?.unwrap_or(Value::Null))
    }

    /// A parameter's value.
    pub(super) fn parameter(&self, stack: usize, name: &str) -> Option<&Value> {
        self.parameters[stack].get(name)
    }

    /// Evaluates every output and lists the exports.
    pub(super) fn export_list(&self) -> Result<Vec<Export>, InfraError> {
        for (stack, template) in self.templates.iter().enumerate() {
            for (name, output) in &template.outputs {
                let site = Site::new(&template.file, name, "Value");
                let body = output.as_object().ok_or_else(|| site.error(mistyped("a map", output)))?;
                if self.exists(stack, body, &site)? {
                    let value =
                        body.get("Value").ok_or_else(|| site.error(Problem::Missing("every output has one")))?;
                    self.evaluate(stack, value, &site, 0)?;
                }
            }
        }
        let imported = self.imported.borrow();
        Ok(self
            .exports
            .iter()
            .map(|(name, (stack, output))| Export {
                file: self.templates[*stack].file.clone(),
                output: output.clone(),
                name: name.clone(),
                imported: imported.contains(name),
                for_others: self.is_for_others(*stack, output),
            })
            .collect())
    }

    fn is_for_others(&self, stack: usize, output: &str) -> bool {
        let output = self.templates[stack].outputs.get(output);
        let description = output.and_then(|output| output.get("Description")).and_then(Value::as_str);
        description.is_some_and(|description| description.starts_with(FOR_OTHERS))
    }

    fn collect_exports(&self) -> Result<BTreeMap<String, (usize, String)>, InfraError> {
        let mut exports: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for (stack, template) in self.templates.iter().enumerate() {
            for (output, declaration) in &template.outputs {
                let site = Site::new(&template.file, output, "Export.Name");
                let Some(name) = declaration.pointer("/Export/Name") else {
                    continue;
                };
                if let Some(body) = declaration.as_object()
                    && !self.exists(stack, body, &site)?
                {
                    continue;
                }
                let name = self.text(stack, name, &site, 0)?;
                if let Some((other, _)) = exports.get(&name) {
                    let other = self.templates[*other].file.clone();
                    return Err(site.error(Problem::DuplicateExport { name, other }));
                }
                exports.insert(name, (stack, output.clone()));
            }
        }
        Ok(exports)
    }

    pub(super) fn evaluate(&self, stack: usize, value: &Value, site: &Site, depth: u16) -> Evaluated {
        if depth > MAX_DEPTH {
            return Err(site.error(Problem::Circular(MAX_DEPTH)));
        }
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Some(value.clone())),
            Value::String(text) => dynamic_reference(text.clone(), site).map(|text| Some(Value::String(text))),
            Value::Array(items) => self.list(stack, items, site, depth).map(|items| Some(Value::Array(items))),
            Value::Object(entries) => {
                if let Some(name) = entries.keys().find(|key| key.starts_with("Fn::") || *key == "Ref") {
                    let single = entries.len() == 1;
                    let argument = entries.get(name).filter(|_| single);
                    let argument = argument
                        .ok_or_else(|| site.error(Problem::UnknownIntrinsic(format!("{name} beside other keys"))))?;
                    return self.intrinsic(stack, name, argument, site, depth + 1);
                }
                let mut object = Map::new();
                for (key, value) in entries {
                    if let Some(value) = self.evaluate(stack, value, &site.child(key), depth + 1)? {
                        object.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(object)))
            }
        }
    }

    fn list(&self, stack: usize, items: &[Value], site: &Site, depth: u16) -> Result<Vec<Value>, InfraError> {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.extend(self.evaluate(stack, item, &site.child(index), depth + 1)?);
        }
        Ok(list)
    }

    /// Evaluates to a text; numbers and booleans become one, as CloudFormation does it.
    pub(super) fn text(&self, stack: usize, value: &Value, site: &Site, depth: u16) -> Result<String, InfraError> {
        match self.evaluate(stack, value, site, depth)? {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            other => Err(site.error(mistyped("a text", &other.unwrap_or(Value::Null)))),
        }
    }

    fn array(&self, stack: usize, value: &Value, site: &Site, depth: u16) -> Result<Vec<Value>, InfraError> {
        match self.evaluate(stack, value, site, depth)? {
            Some(Value::Array(items)) => Ok(items),
            other => Err(site.error(mistyped("a list", &other.unwrap_or(Value::Null)))),
        }
    }

    fn intrinsic(&self, stack: usize, name: &str, argument: &Value, site: &Site, depth: u16) -> Evaluated {
        match name {
            "Ref" => {
                let name = argument.as_str();
                let name =
                    name.ok_or_else(|| site.error(Problem::Arguments { intrinsic: "Ref", expected: "a name" }))?;
                self.reference(stack, name, site, depth)
            }
            "Fn::GetAtt" => {
                let (resource, attribute) = get_att(argument).ok_or_else(|| {
                    site.error(Problem::Arguments { intrinsic: "GetAtt", expected: "a resource and an attribute" })
                })?;
                self.attribute(stack, &resource, &attribute, site, depth).map(|text| Some(Value::String(text)))
            }
            "Fn::Sub" => self.substitute(stack, argument, site, depth).map(|text| Some(Value::String(text))),
            "Fn::If" => {
                let [name, yes, no] = arguments(argument, "If", "a condition and two values", site)?;
                let name = name.as_str().ok_or_else(|| site.error(mistyped("the name of a condition", name)))?;
                let chosen = if self.condition(stack, name, site, depth)? { yes } else { no };
                self.evaluate(stack, chosen, site, depth)
            }
            "Fn::ImportValue" => self.import(stack, argument, site, depth),
            "Fn::Join" => {
                let [separator, items] = arguments(argument, "Join", "a separator and a list", site)?;
                let separator = self.text(stack, separator, site, depth)?;
                let items = self.array(stack, items, site, depth)?;
                let items =
                    items.iter().map(|item| self.text(stack, item, site, depth)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(Value::String(items.join(&separator))))
            }
            "Fn::Select" => {
                let [index, items] = arguments(argument, "Select", "an index and a list", site)?;
                let index = self.text(stack, index, site, depth)?;
                let items = self.array(stack, items, site, depth)?;
                let item = index.parse::<usize>().ok().and_then(|index| items.get(index).cloned());
                item.map(Some).ok_or_else(|| {
                    let limit = format!("an index below {}", items.len());
                    site.error(Problem::OutOfRange { value: index, limit })
                })
            }
            "Fn::Split" => {
                let [separator, text] = arguments(argument, "Split", "a separator and a text", site)?;
                let separator = self.text(stack, separator, site, depth)?;
                let text = self.text(stack, text, site, depth)?;
                Ok(Some(text.split(separator.as_str()).map(Value::from).collect::<Vec<_>>().into()))
            }
            "Fn::Base64" => {
                let text = self.text(stack, argument, site, depth)?;
                Ok(Some(Value::String(base64_simd::STANDARD.encode_to_string(text))))
            }
            "Fn::FindInMap" => {
                let keys: &[Value; 3] = arguments(argument, "FindInMap", "a map and two keys", site)?;
                self.find_in_map(stack, keys, site, depth)
            }
            "Fn::GetAZs" => {
                Ok(Some(["a", "b", "c"].map(|zone| Value::String(format!("{LAPTOP_REGION}{zone}"))).to_vec().into()))
            }
            other => Err(site.error(Problem::UnknownIntrinsic(other.to_owned()))),
        }
    }

    fn reference(&self, stack: usize, name: &str, site: &Site, depth: u16) -> Evaluated {
        if let Some(value) = self.parameters[stack].get(name) {
            return Ok(Some(value.clone()));
        }
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => LAPTOP_ACCOUNT.to_owned(),
            "AWS::Region" => LAPTOP_REGION.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => self.templates[stack].file.trim_end_matches(".yaml").replace('/', "-"),
            _ => self.resource_reference(stack, name, site, depth)?,
        };
        Ok(Some(Value::String(text)))
    }

    fn substitute(&self, stack: usize, argument: &Value, site: &Site, depth: u16) -> Result<String, InfraError> {
        let expected = Problem::Arguments { intrinsic: "Sub", expected: "a text, or a text and a map" };
        let (template, variables) = match argument {
            Value::String(template) => (template, None),
            Value::Array(items) => match items.as_slice() {
                [Value::String(template), Value::Object(variables)] => (template, Some(variables)),
                _ => return Err(site.error(expected)),
            },
            _ => return Err(site.error(expected)),
        };
        let mut text = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(site.error(Problem::UnknownReference(after.to_owned())));
            };
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str("${");
                text.push_str(literal);
                text.push('}');
            } else if let Some(value) = variables.and_then(|variables| variables.get(name)) {
                text.push_str(&self.text(stack, value, &site.child(name), depth)?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                text.push_str(&self.attribute(stack, resource, attribute, site, depth)?);
            } else {
                let value = self.reference(stack, name, site, depth)?.unwrap_or(Value::Null);
                text.push_str(&self.text(stack, &value, site, depth)?);
            }
        }
        text.push_str(rest);
        dynamic_reference(text, site)
    }

    fn import(&self, stack: usize, argument: &Value, site: &Site, depth: u16) -> Evaluated {
        let name = self.text(stack, argument, site, depth)?;
        let Some((exporter, output)) = self.exports.get(&name) else {
            return Err(site.error(Problem::UnknownImport(name)));
        };
        if *exporter >= stack {
            let exporter = self.templates[*exporter].file.clone();
            return Err(site.error(Problem::ImportFromLater { name, exporter }));
        }
        self.imported.borrow_mut().insert(name);
        let template = &self.templates[*exporter];
        let site = Site::new(&template.file, output, "Value");
        let value = template.outputs.get(output).and_then(|output| output.get("Value"));
        let value = value.ok_or_else(|| site.error(Problem::Missing("every output has one")))?;
        self.evaluate(*exporter, value, &site, depth)
    }

    fn find_in_map(&self, stack: usize, keys: &[Value], site: &Site, depth: u16) -> Evaluated {
        let keys = keys.iter().map(|key| self.text(stack, key, site, depth)).collect::<Result<Vec<_>, _>>()?;
        let entry = keys
            .iter()
            .skip(1)
            .fold(keys.first().and_then(|key| self.templates[stack].mappings.get(key)), |entry, key| {
                entry.and_then(|entry| entry.get(key))
            });
        entry.cloned().map(Some).ok_or_else(|| site.error(Problem::UnknownMappingEntry(keys.join(" / "))))
    }

    fn condition(&self, stack: usize, name: &str, site: &Site, depth: u16) -> Result<bool, InfraError> {
        let expression = self.templates[stack].conditions.get(name);
        let expression = expression.ok_or_else(|| site.error(Problem::UnknownCondition(name.to_owned())))?;
        self.condition_expression(
            stack,
            expression,
            &Site::new(&self.templates[stack].file, "Conditions", name),
            depth + 1,
        )
    }

    fn condition_expression(
        &self,
        stack: usize,
        expression: &Value,
        site: &Site,
        depth: u16,
    ) -> Result<bool, InfraError> {
        if depth > MAX_DEPTH {
            return Err(site.error(Problem::Circular(MAX_DEPTH)));
        }
        let entry = expression.as_object().and_then(|entries| entries.iter().next().filter(|_| entries.len() == 1));
        let (function, argument) = entry.ok_or_else(|| site.error(mistyped("a condition function", expression)))?;
        let operands = || argument.as_array().ok_or_else(|| site.error(mistyped("a list of conditions", argument)));
        match function.as_str() {
            "Condition" => {
                let name =
                    argument.as_str().ok_or_else(|| site.error(mistyped("the name of a condition", argument)))?;
                self.condition(stack, name, site, depth)
            }
            "Fn::Equals" => match operands()?.as_slice() {
                [left, right] => Ok(self.text(stack, left, site, depth)? == self.text(stack, right, site, depth)?),
                _ => Err(site.error(Problem::Arguments { intrinsic: "Equals", expected: "two values" })),
            },
            "Fn::Not" => match operands()?.as_slice() {
                [one] => Ok(!self.condition_expression(stack, one, site, depth + 1)?),
                _ => Err(site.error(Problem::Arguments { intrinsic: "Not", expected: "one condition" })),
            },
            "Fn::And" | "Fn::Or" => {
                let mut all = true;
                let mut any = false;
                for operand in operands()? {
                    let holds = self.condition_expression(stack, operand, site, depth + 1)?;
                    all &= holds;
                    any |= holds;
                }
                Ok(if function == "Fn::And" { all } else { any })
            }
            other => Err(site.error(Problem::UnknownIntrinsic(other.to_owned()))),
        }
    }
}

fn arguments<'a, const COUNT: usize>(
    argument: &'a Value,
    intrinsic: &'static str,
    expected: &'static str,
    site: &Site,
) -> Result<&'a [Value; COUNT], InfraError> {
    let items = argument.as_array().and_then(|items| items.as_slice().try_into().ok());
    items.ok_or_else(|| site.error(Problem::Arguments { intrinsic, expected }))
}

fn get_att(argument: &Value) -> Option<(String, String)> {
    match argument {
        Value::String(path) => {
            path.split_once('.').map(|(resource, attribute)| (resource.to_owned(), attribute.to_owned()))
        }
        Value::Array(items) => match items.as_slice() {
            [Value::String(resource), Value::String(attribute)] => Some((resource.clone(), attribute.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// A secret's value exists only in an account, so the laptop has a stand-in of the same form.
fn dynamic_reference(text: String, site: &Site) -> Result<String, InfraError> {
    let Some(start) = text.find("{{resolve:") else {
        return Ok(text);
    };
    if text.starts_with("{{resolve:secretsmanager:") && text.ends_with("}}") {
        return Ok(PLACEHOLDER_SECRET.to_owned());
    }
    Err(site.error(Problem::DynamicReference(text[start..].to_owned())))
}
