//! Answers, read in one pass.

use base64_simd::STANDARD;
use centinela_contracts::json::{Kind, Reader, Text};

use super::{Found, Item, KeysOf, Refusal, Stored};
use crate::failure::Malformed;
use crate::json::{elements, members, optional_text, text};

/// Of `BatchGetItem`. A table that was not asked for is passed over, and so is a key that is no text.
pub(super) fn found(
    answer: &[u8],
    key: &str,
    wanted: &[&'static str],
    tables: &[KeysOf<'_>],
) -> Result<Found, Malformed> {
    let mut found =
        Found { items: Vec::with_capacity(tables.iter().map(|table| table.keys.len()).sum()), unprocessed: vec![] };
    let mut reader = Reader::new(answer);
    members(&mut reader, |reader, name| {
        let (responses, unprocessed) = (name.is("Responses"), name.is("UnprocessedKeys"));
        if !responses && !unprocessed {
            return skipped(reader);
        }
        members(reader, |reader, table| {
            let Some(place) = tables.iter().position(|known| table.is(known.table)) else { return skipped(reader) };
            if responses {
                return elements(reader, |reader| {
                    found.items.push((place, item(reader, wanted)?));
                    Ok(())
                });
            }
            members(reader, |reader, name| {
                if !name.is("Keys") {
                    return skipped(reader);
                }
                elements(reader, |reader| {
                    found.unprocessed.extend(key_in(reader, key)?.map(|key| (place, key)));
                    Ok(())
                })
            })
        })
    })?;
    reader.end()?;
    Ok(found)
}

/// Of `BatchExecuteStatement`.
pub(super) fn refusals(
    answer: &[u8],
    wanted: &[&'static str],
    expected: usize,
) -> Result<Vec<Option<Refusal>>, Malformed> {
    let mut refusals = Vec::with_capacity(expected);
    let mut reader = Reader::new(answer);
    members(&mut reader, |reader, name| {
        if !name.is("Responses") {
            return skipped(reader);
        }
        elements(reader, |reader| {
            if refusals.len() == expected {
                return Err(Malformed::Unexpected("more answers than statements"));
            }
            let mut refusal = None;
            members(reader, |reader, name| {
                if !name.is("Error") || reader.peek()? == Kind::Null {
                    return skipped(reader);
                }
                refusal = Some(refused(reader, wanted)?);
                Ok(())
            })?;
            refusals.push(refusal);
            Ok(())
        })
    })?;
    reader.end()?;
    if refusals.len() == expected { Ok(refusals) } else { Err(Malformed::Unexpected("fewer answers than statements")) }
}

/// The item of `GetItem`, or of the error of a condition that did not hold.
pub(super) fn item_of(answer: &[u8], wanted: &[&'static str]) -> Result<Option<Item>, Malformed> {
    let mut found = None;
    let mut reader = Reader::new(answer);
    members(&mut reader, |reader, name| {
        if !name.is("Item") || reader.peek()? == Kind::Null {
            return skipped(reader);
        }
        found = Some(item(reader, wanted)?);
        Ok(())
    })?;
    reader.end()?;
    Ok(found)
}

/// An answer of which nothing is wanted.
pub(super) fn nothing(answer: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(answer);
    members(&mut reader, |reader, _| skipped(reader))?;
    Ok(reader.end()?)
}

fn refused(reader: &mut Reader<'_>, wanted: &[&'static str]) -> Result<Refusal, Malformed> {
    let mut refusal = Refusal { code: String::new(), message: String::new(), item: None };
    members(reader, |reader, name| {
        if name.is("Code") {
            refusal.code = optional_text(reader, "a code")?.unwrap_or_default();
        } else if name.is("Message") {
            refusal.message = optional_text(reader, "a message")?.unwrap_or_default();
        } else if name.is("Item") && reader.peek()? != Kind::Null {
            refusal.item = Some(item(reader, wanted)?);
        } else {
            return skipped(reader);
        }
        Ok(())
    })?;
    Ok(refusal)
}

fn item(reader: &mut Reader<'_>, wanted: &[&'static str]) -> Result<Item, Malformed> {
    let mut item = Item(Vec::with_capacity(wanted.len().min(8)));
    members(reader, |reader, name| {
        let Some(name) = wanted.iter().find(|wanted| name.is(wanted)) else { return skipped(reader) };
        let value = stored(reader)?;
        item.0.push((name, value));
        Ok(())
    })?;
    Ok(item)
}

/// The partition key of an item, if it is text.
fn key_in(reader: &mut Reader<'_>, key: &str) -> Result<Option<String>, Malformed> {
    let mut found = None;
    members(reader, |reader, name| {
        if !name.is(key) {
            return skipped(reader);
        }
        if let Stored::Text(text) = stored(reader)? {
            found = Some(text);
        }
        Ok(())
    })?;
    Ok(found)
}

fn stored(reader: &mut Reader<'_>) -> Result<Stored, Malformed> {
    let mut value = None;
    members(reader, |reader, kind| {
        let one = if kind.is("S") {
            Stored::Text(text(reader, "a value")?.into_owned())
        } else if kind.is("N") {
            Stored::Number(text(reader, "a number")?.into_owned())
        } else if kind.is("B") {
            Stored::Bytes(bytes(reader.text()?)?)
        } else {
            reader.skip()?;
            Stored::Other
        };
        match value.replace(one) {
            None => Ok(()),
            Some(_) => Err(Malformed::Unexpected("a value of two types")),
        }
    })?;
    value.ok_or(Malformed::Unexpected("a value without a type"))
}

fn bytes(text: Text<'_>) -> Result<Vec<u8>, Malformed> {
    const WHAT: &str = "a value";
    let decoded = match text.plain() {
        Some(raw) => STANDARD.decode_to_vec(raw),
        // Some servers escape the slash of the alphabet.
        None => STANDARD.decode_to_vec(text.decode().map_err(|_| Malformed::Text(WHAT))?.as_bytes()),
    };
    decoded.map_err(|_| Malformed::Base64(WHAT))
}

fn skipped(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    reader.skip()?;
    Ok(())
}
