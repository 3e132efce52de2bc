//! The few documents that S3 answers with, and the one that it is sent.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use centinela_domain::Millis;
use centinela_lake::store::{Listed, Tag};

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub objects: Vec<Listed>,
    pub folders: Vec<String>,
    /// Where it goes on.
    pub next: Option<String>,
}

/// Reads the answer to ListObjectsV2.
pub(crate) fn page(body: &[u8]) -> Result<Page, XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    let (mut page, mut goes_on) = (Page::default(), false);
    while let Some(mut tag) = root.next_tag() {
        match tag.start_el().local() {
            "Contents" => page.objects.push(listed(&mut tag)?),
            "CommonPrefixes" => page.folders.extend(text_of(&mut tag, "Prefix")?),
            "NextContinuationToken" => page.next = Some(text(&mut tag)?),
            "IsTruncated" => goes_on = text(&mut tag)? == "true",
            _ => {}
        }
    }
    if goes_on && page.next.is_none() {
        return Err(XmlDecodeError::custom("a listing that goes on does not say where"));
    }
    page.next = page.next.filter(|_| goes_on);
    Ok(page)
}

fn listed(tag: &mut ScopedDecoder<'_, '_>) -> Result<Listed, XmlDecodeError> {
    let (mut key, mut etag, mut bytes, mut modified) = (None, None, 0, Millis(0));
    while let Some(mut field) = tag.next_tag() {
        match field.start_el().local() {
            "Key" => key = Some(text(&mut field)?),
            "ETag" => etag = Some(text(&mut field)?),
            "Size" => bytes = text(&mut field)?.parse().map_err(XmlDecodeError::unhandled)?,
            "LastModified" => {
                let time =
                    DateTime::from_str(&text(&mut field)?, Format::DateTime).map_err(XmlDecodeError::unhandled)?;
                modified = Millis(time.to_millis().map_err(XmlDecodeError::unhandled)?);
            }
            _ => {}
        }
    }
    let key = key.ok_or_else(|| XmlDecodeError::custom("an object without a key"))?;
    // The embedded store lists no tags.
    let tag = etag.unwrap_or_else(|| format!("{bytes}@{}", modified.0));
    Ok(Listed { key, tag: Tag(tag), bytes, modified })
}

/// Code and message of an error.
pub(crate) fn error(body: &[u8]) -> Option<(String, String)> {
    let mut document = Document::try_from(body).ok()?;
    let mut root = document.root_element().ok()?;
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(mut tag) = root.next_tag() {
        match tag.start_el().local() {
            "Code" => code = text(&mut tag).ok()?,
            "Message" => message = text(&mut tag).ok()?,
            _ => {}
        }
    }
    Some((code, message))
}

/// How many objects were not deleted, and the code of the first; reads the answer to DeleteObjects.
pub(crate) fn not_deleted(body: &[u8]) -> Result<Option<(usize, String)>, XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    let mut failed: Option<(usize, String)> = None;
    while let Some(mut tag) = root.next_tag() {
        if tag.start_el().local() == "Error" {
            let code = text_of(&mut tag, "Code")?.unwrap_or_default();
            failed.get_or_insert((0, code)).0 += 1;
        }
    }
    Ok(failed)
}

/// What DeleteObjects is sent.
pub(crate) fn delete(keys: &[String]) -> String {
    let mut body = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    for key in keys {
        let key = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        body.push_str(&format!("<Object><Key>{key}</Key></Object>"));
    }
    body.push_str("</Delete>");
    body
}

fn text(tag: &mut ScopedDecoder<'_, '_>) -> Result<String, XmlDecodeError> {
    try_data(tag).map(|text| text.into_owned())
}

fn text_of(tag: &mut ScopedDecoder<'_, '_>, name: &str) -> Result<Option<String>, XmlDecodeError> {
    let mut found = None;
    while let Some(mut field) = tag.next_tag() {
        if field.start_el().local() == name {
            found = Some(text(&mut field)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_or_without_tags() {
        // As the documentation of ListObjectsV2 shows it.
        let body = br#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix/><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>
<IsTruncated>true</IsTruncated><NextContinuationToken>1ueG&#43;cbQ==</NextContinuationToken>
<Contents><Key>a&amp;b.parquet</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9&quot;</ETag><Size>434234</Size>
<StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>c</Key><LastModified>2009-10-12T17:50:30Z</LastModified><Size>0</Size></Contents>
<CommonPrefixes><Prefix>raw/x/</Prefix></CommonPrefixes></ListBucketResult>"#;
        let page = page(body).expect("a page");
        let modified = Millis(1_255_369_830_000);
        let first = Listed { key: "a&b.parquet".into(), tag: Tag("\"fba9\"".into()), bytes: 434_234, modified };
        let second = Listed { key: "c".into(), tag: Tag("0@1255369830000".into()), bytes: 0, modified };
        let expected =
            Page { objects: vec![first, second], folders: vec!["raw/x/".into()], next: Some("1ueG+cbQ==".into()) };
        assert_eq!(page, expected);
    }

    #[test]
    fn what_was_not_deleted_is_counted() {
        let body = b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error><Error><Key>b</Key></Error></DeleteResult>";
        assert_eq!(not_deleted(body).expect("an answer"), Some((2, "AccessDenied".to_owned())));
        assert_eq!(not_deleted(b"<DeleteResult/>").expect("an answer"), None);
        assert_eq!(error(b"no xml"), None);
    }
}
