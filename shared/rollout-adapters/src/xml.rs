//! XML as a tree: the answers of the older services, of which a few fields are wanted.

use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};

/// Deeper than any answer that is read.
const DEPTH_MAX: usize = 24;
/// Elements that hold a text which is wanted. Every other one is looked through for elements.
const TEXTS: [&str; 33] = [
    "Account",
    "Action",
    "AlarmName",
    "Arn",
    "Attribute",
    "Code",
    "EventId",
    "ExecutionStatus",
    "LogicalResourceId",
    "Message",
    "Name",
    "NextToken",
    "OutputKey",
    "OutputValue",
    "ParameterKey",
    "ParameterValue",
    "PhysicalResourceId",
    "Replacement",
    "ResourceStatus",
    "ResourceStatusReason",
    "ResourceType",
    "StackId",
    "StackStatus",
    "StackStatusReason",
    "StateValue",
    "Status",
    "StatusReason",
    "Sum",
    "ValidationStatusReason",
    "optInStatus",
    "zoneId",
    "zoneName",
    "zoneState",
];

/// An element: a text, or others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// Reads a document, whose size was limited when it was received.
pub(crate) fn parse(body: &[u8]) -> Result<Element, XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    element(&mut root, 0)
}

fn element(tag: &mut ScopedDecoder<'_, '_>, depth: usize) -> Result<Element, XmlDecodeError> {
    if depth > DEPTH_MAX {
        return Err(XmlDecodeError::custom("elements are nested too deep"));
    }
    let name = tag.start_el().local().to_owned();
    if TEXTS.contains(&name.as_str()) {
        let text = try_data(tag)?.into_owned();
        return Ok(Element { name, text, children: Vec::new() });
    }
    let mut children = Vec::new();
    while let Some(mut child) = tag.next_tag() {
        children.push(element(&mut child, depth + 1)?);
    }
    Ok(Element { name, text: String::new(), children })
}

impl Element {
    /// The first element of this name, however deep.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        let own = self.children.iter().find(|child| child.name == name);
        own.or_else(|| self.children.iter().find_map(|child| child.find(name)))
    }

    /// What the first element of this name among its own says; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.children.iter().find(|child| child.name == name).map_or("", |child| &child.text)
    }

    /// The entries of the first list of this name, however deep.
    pub(crate) fn list(&self, name: &str) -> &[Self] {
        self.find(name).map_or(&[], |list| &list.children)
    }

    /// What the first element of this name says, however deep.
    pub(crate) fn deep_text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|found| found.text.as_str()).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_tree_of_what_is_wanted() {
        let body = br#"<?xml version="1.0"?><R xmlns="http://x/"><DescribeStacksResult><Stacks><member>
<StackId>arn:1</StackId><Tags/><Outputs><member><OutputKey>A</OutputKey><OutputValue>1 &amp; 2</OutputValue></member></Outputs>
</member></Stacks></DescribeStacksResult></R>"#;
        let tree = parse(body).expect("an answer");
        let stacks = tree.list("Stacks");
        assert_eq!((stacks.len(), stacks[0].text("StackId"), stacks[0].text("Reason")), (1, "arn:1", ""));
        assert_eq!(stacks[0].list("Outputs")[0].text("OutputValue"), "1 & 2");
        assert_eq!((tree.deep_text("OutputKey"), tree.deep_text("Message")), (Some("A"), None));
        assert!(parse(b"no xml").is_err());
        assert!(parse("<a>".repeat(40).as_bytes()).is_err());
    }
}
