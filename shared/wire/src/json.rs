//! What the answers of both services have in common.

use std::borrow::Cow;

use centinela_contracts::json::{Kind, Reader, Text};

use crate::failure::Malformed;

/// Reads the members of an object, or nothing of a `null`. What `member` does not want it skips.
pub(crate) fn members<'a>(
    reader: &mut Reader<'a>,
    mut member: impl FnMut(&mut Reader<'a>, Text<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if reader.peek()? == Kind::Null {
        return Ok(reader.null()?);
    }
    let mut object = reader.object()?;
    while let Some(name) = reader.member(&mut object)? {
        member(reader, name)?;
    }
    Ok(())
}

/// Reads the elements of a list, or nothing of a `null`.
pub(crate) fn elements<'a>(
    reader: &mut Reader<'a>,
    mut element: impl FnMut(&mut Reader<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if reader.peek()? == Kind::Null {
        return Ok(reader.null()?);
    }
    let mut list = reader.array()?;
    while reader.element(&mut list)? {
        element(reader)?;
    }
    Ok(())
}

/// A text.
pub(crate) fn text<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Cow<'a, str>, Malformed> {
    reader.text()?.decode().map_err(|_| Malformed::Text(what))
}

/// A text, or nothing of a `null`.
pub(crate) fn optional_text(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<String>, Malformed> {
    if reader.peek()? == Kind::Null {
        reader.null()?;
        return Ok(None);
    }
    text(reader, what).map(|text| Some(text.into_owned()))
}
