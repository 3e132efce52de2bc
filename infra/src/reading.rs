//! Reads the properties of one resource and keeps account of which of them were read, so that the rest can be named.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::error::{InfraError, Problem, Site};
use super::model::{Ignored, Resource};
use super::template::mistyped;

/// A resource being read. Paths are property names joined by dots.
pub(super) struct Reading<'a> {
    resource: &'a Resource,
    read: BTreeSet<&'static str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(resource: &'a Resource) -> Self {
        Self { resource, read: BTreeSet::new() }
    }

    pub(super) fn site(&self, path: &str) -> Site {
        Site::new(&self.resource.file, &self.resource.logical_id, path)
    }

    /// Notes that the property needs no reading because one machine has what it asks for.
    pub(super) fn accept(&mut self, path: &'static str) {
        self.read.insert(path);
    }

    /// Notes that the property was read, but that one machine does not do what it asks for.
    pub(super) fn ignore(&mut self, path: &'static str) {
        self.read.remove(path);
    }

    /// The value at a path.
    pub(super) fn value(&mut self, path: &'static str) -> Option<&'a Value> {
        self.read.insert(path);
        path.split('.').try_fold(&self.resource.properties, |value, step| value.get(step))
    }

    pub(super) fn text(&mut self, path: &'static str) -> Result<Option<String>, InfraError> {
        match self.value(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.site(path).error(mistyped("a text", other))),
        }
    }

    pub(super) fn required_text(&mut self, path: &'static str, why: &'static str) -> Result<String, InfraError> {
        self.text(path)?.ok_or_else(|| self.site(path).error(Problem::Missing(why)))
    }

    pub(super) fn integer(
        &mut self,
        path: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, InfraError> {
        let Some(value) = self.value(path) else { return Ok(None) };
        let site = self.site(path);
        let integer = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let integer = integer.ok_or_else(|| site.error(mistyped("a whole number", value)))?;
        if range.contains(&integer) {
            return Ok(Some(integer));
        }
        let limit = format!("between {} and {}", range.start(), range.end());
        Err(site.error(Problem::OutOfRange { value: integer.to_string(), limit }))
    }

    /// Like [`Self::integer`] for ranges inside `u32`.
    pub(super) fn count(&mut self, path: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>, InfraError> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        Ok(self.integer(path, range)?.and_then(|integer| u32::try_from(integer).ok()))
    }

    pub(super) fn required_count(
        &mut self,
        path: &'static str,
        range: RangeInclusive<u32>,
        why: &'static str,
    ) -> Result<u32, InfraError> {
        self.count(path, range)?.ok_or_else(|| self.site(path).error(Problem::Missing(why)))
    }

    /// `-1`, which is AWS's way to say "without limit", and absence are `None`.
    pub(super) fn limit(&mut self, path: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>, InfraError> {
        match self.integer(path, -1..=i64::from(*range.end()))? {
            None | Some(-1) => Ok(None),
            Some(_) => self.count(path, range),
        }
    }

    pub(super) fn flag(&mut self, path: &'static str) -> Result<Option<bool>, InfraError> {
        match self.value(path) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(other) => Err(self.site(path).error(mistyped("true or false", other))),
        }
    }

    pub(super) fn list(&mut self, path: &'static str) -> Result<&'a [Value], InfraError> {
        match self.value(path) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.site(path).error(mistyped("a list", other))),
        }
    }

    pub(super) fn map(&mut self, path: &'static str) -> Result<Option<&'a Map<String, Value>>, InfraError> {
        match self.value(path) {
            None => Ok(None),
            Some(Value::Object(entries)) => Ok(Some(entries)),
            Some(other) => Err(self.site(path).error(mistyped("a map", other))),
        }
    }

    /// Every property that was not read.
    pub(super) fn ignored(&self) -> Vec<Ignored> {
        let mut ignored = Vec::new();
        self.unread(&self.resource.properties, "", &mut ignored);
        ignored
    }

    fn unread(&self, value: &Value, path: &str, ignored: &mut Vec<Ignored>) {
        let Value::Object(entries) = value else { return };
        for (name, value) in entries {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if self.read.contains(path.as_str()) {
                continue;
            }
            let below = format!("{path}.");
            if self.read.iter().any(|read| read.starts_with(&below)) {
                self.unread(value, &path, ignored);
            } else {
                let (file, resource) = (self.resource.file.clone(), self.resource.logical_id.clone());
                ignored.push(Ignored { file, resource, property: path });
            }
        }
    }
}
