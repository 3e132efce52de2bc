//! Templates that take over what outlived an earlier stack.
//!
//! CloudFormation takes over only what a template names by a plain text, and ours name by a prefix. So the template that makes the stack has
//! the names as texts, and the next one the prefix again: the values are the same, so nothing changes.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html>

use std::collections::BTreeMap;

use crate::deployment::{Deployment, name_property};
use crate::preflight::Facts;

/// The template, by the stack's file, of each stack to be made of which something exists and may be taken over.
#[must_use]
pub fn adopting(facts: &Facts, deployment: &Deployment) -> BTreeMap<String, String> {
    let mut templates = BTreeMap::new();
    for taken in facts.taken.iter().filter(|taken| taken.may_be_adopted) {
        let Some(stack) = deployment.stacks.iter().find(|stack| stack.file == taken.file) else { continue };
        let Some(property) = name_property(&taken.kind) else { continue };
        let body = templates.entry(taken.file.clone()).or_insert_with(|| stack.body.clone());
        let resolved = |text: &str| {
            text.replace("${NamePrefix}", &deployment.prefix)
                .replace("${AWS::AccountId}", &facts.caller.account)
                .replace("${AWS::Region}", &facts.region)
        };
        *body = with_plain_name(body, property, &taken.identifier, &resolved);
    }
    templates
}

/// The template with a name as a plain text, wherever a property has it by `!Sub`, or by an `!If` with that `!Sub` as one of its values.
fn with_plain_name(body: &str, property: &str, name: &str, resolved: &dyn Fn(&str) -> String) -> String {
    let is_it = |text: &str| {
        let substituted = text.split("!Sub '").skip(1).filter_map(|rest| rest.split('\'').next());
        substituted.map(resolved).any(|value| value == name)
    };
    let key = format!("{property}: ");
    let mut plain = String::with_capacity(body.len());
    let mut lines = body.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let Some((before, value)) = line.split_once(&key).filter(|(before, _)| ends_a_word(before)) else {
            plain.push_str(line);
            continue;
        };
        if !value.trim_start().starts_with("!If") {
            plain.push_str(before);
            plain.push_str(&key);
            plain.push_str(&in_one_line(value, name, &is_it));
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        let mut block = line.to_owned();
        while let Some(next) = lines.next_if(|next| next.len() - next.trim_start().len() > depth) {
            block.push_str(next);
        }
        let replaced = format!("{before}{key}'{name}'\n");
        plain.push_str(if is_it(&block) { &replaced } else { &block });
    }
    plain
}

/// Whether the key that follows is no end of a longer one.
fn ends_a_word(before: &str) -> bool {
    before.chars().last().is_none_or(|last| !last.is_alphanumeric())
}

/// What follows the key, with the first `!Sub` replaced if that is the name.
fn in_one_line(value: &str, name: &str, is_it: &dyn Fn(&str) -> bool) -> String {
    let end = value.strip_prefix("!Sub '").and_then(|rest| rest.find('\'')).map(|end| end + "!Sub ''".len());
    match end {
        Some(end) if is_it(&value[..end]) => format!("'{name}'{}", &value[end..]),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(body: &str, property: &str, name: &str) -> String {
        with_plain_name(body, property, name, &|text| text.replace("${NamePrefix}", "dev-"))
    }

    #[test]
    fn only_the_name_that_is_taken_over_becomes_a_text() {
        let body =
            "    Properties:\n      TableName: !Sub '${NamePrefix}users'\n      Other: !Sub '${NamePrefix}users'\n";
        let expected = "    Properties:\n      TableName: 'dev-users'\n      Other: !Sub '${NamePrefix}users'\n";
        assert_eq!(plain(body, "TableName", "dev-users"), expected);
        assert_eq!(plain(body, "TableName", "dev-others"), body);
        let flow = "    Properties: {BucketName: !Sub '${NamePrefix}code', Tags: []}\n";
        assert_eq!(plain(flow, "BucketName", "dev-code"), "    Properties: {BucketName: 'dev-code', Tags: []}\n");
        assert_eq!(plain(flow, "Name", "dev-code"), flow, "a longer key is another one");
    }

    #[test]
    fn a_name_that_is_one_of_two_is_found() {
        let body = "      BucketName: !If\n        - Derives\n        - !Sub '${NamePrefix}lake'\n        - !Ref Given\n      Next: x\n";
        assert_eq!(plain(body, "BucketName", "dev-lake"), "      BucketName: 'dev-lake'\n      Next: x\n");
        assert_eq!(plain(body, "BucketName", "given"), body);
    }
}
