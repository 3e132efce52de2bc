//! Which requests are served with which versions, and the shape of their bodies.
//!
//! The codec makes room for an array as its length says, before an element is there: nine bytes could ask for more than the machine
//! has. So a body is first walked through by its shape, and one that says more elements than it has bytes is no request.

use std::sync::LazyLock;

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

/// Elements of all arrays of a request. Each takes some hundred bytes in memory, and a batch of records is none.
const ELEMENTS_MAX: usize = 100_000;

/// A request that is served.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    shape: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    min: i16,
    max: i16,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Bytes(usize),
    Text,
    Blob,
    /// Elements that are one value each.
    Values(Box<Part>),
    Structs(Vec<Field>),
}

/// Keys, versions and shapes. The newest versions are those of which every field is understood; the oldest those that Apache Kafka 4
/// still serves, or older where librdkafka from 0.11 on asks for them.
///
/// A shape lists the fields in order: `i1` to `i8` and `u16` are bytes, `str` and `bin` have their length before them, `[…]` are
/// structures and `(…)` plain values. `3+:` and `-2:` say in which versions a field is there. What comes behind the last array is
/// left out.
const SERVED: &[(ApiKey, i16, i16, &str)] = &[
    (ApiKey::Produce, 3, 12, "str i2 i4 [ str [ i4 bin ] ]"),
    (
        ApiKey::Fetch,
        4,
        16,
        "-14:i4 i4 i4 i4 i1 7+:i4 7+:i4 [ -12:str 13+:u16 [ i4 9+:i4 i8 12+:i4 5+:i8 i4 ] ] 7+:[ -12:str 13+:u16 ( i4 ) ] 11+:str",
    ),
    (ApiKey::ListOffsets, 1, 10, "i4 2+:i1 [ str [ i4 4+:i4 i8 ] ]"),
    (ApiKey::Metadata, 0, 13, "[ 10+:u16 str ]"),
    (ApiKey::OffsetCommit, 2, 9, "str i4 str 7+:str -4:i8 [ str [ i4 i8 6+:i4 str ] ]"),
    (ApiKey::OffsetFetch, 1, 9, "-7:str -7:[ str ( i4 ) ] 8+:[ str 9+:str 9+:i4 [ str ( i4 ) ] ]"),
    (ApiKey::FindCoordinator, 0, 6, "-3:str 1+:i1 4+:( str )"),
    (ApiKey::JoinGroup, 0, 9, "str i4 1+:i4 str 5+:str str [ str bin ]"),
    (ApiKey::Heartbeat, 0, 4, ""),
    (ApiKey::LeaveGroup, 0, 5, "str -2:str 3+:[ str str 5+:str ]"),
    (ApiKey::SyncGroup, 0, 5, "str i4 str 3+:str 5+:str 5+:str [ str bin ]"),
    (ApiKey::DescribeGroups, 0, 6, "( str )"),
    (ApiKey::ListGroups, 0, 5, "4+:( str ) 5+:( str )"),
    (ApiKey::ApiVersions, 0, 4, ""),
    (ApiKey::CreateTopics, 2, 7, "[ str i4 i2 [ i4 ( i4 ) ] [ str str ] ]"),
    (ApiKey::DeleteTopics, 1, 6, "-5:( str ) 6+:[ str u16 ]"),
    (ApiKey::DeleteRecords, 0, 2, "[ str [ i4 i8 ] ]"),
    (ApiKey::InitProducerId, 0, 5, ""),
    (ApiKey::OffsetForLeaderEpoch, 2, 4, "3+:i4 [ str [ i4 i4 i4 ] ]"),
    (ApiKey::DescribeConfigs, 1, 4, "[ i1 str ( str ) ]"),
    (ApiKey::CreatePartitions, 0, 3, "[ str i4 [ ( i4 ) ] ]"),
    (ApiKey::DeleteGroups, 0, 2, "( str )"),
    (ApiKey::IncrementalAlterConfigs, 0, 1, "[ i1 str [ str i1 str ] ]"),
    (ApiKey::OffsetDelete, 0, 0, "str [ str [ i4 ] ]"),
    (ApiKey::DescribeCluster, 0, 2, ""),
    (ApiKey::DescribeTopicPartitions, 0, 0, "[ str ]"),
];

static TABLE: LazyLock<Vec<Api>> = LazyLock::new(|| {
    let api = |(key, min, max, shape): &(ApiKey, i16, i16, &str)| {
        let shape = fields(&mut shape.split_whitespace());
        Api { key: *key, min: *min, max: *max, shape }
    };
    SERVED.iter().map(api).collect()
});

/// All requests that are served.
pub(crate) fn all() -> &'static [Api] {
    &TABLE
}

/// The request with this key; none when it is not served.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    TABLE.iter().find(|api| api.key as i16 == key)
}

fn fields<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<Field> {
    let mut found = Vec::new();
    while let Some(word) = words.next().filter(|word| !["]", ")"].contains(word)) {
        let (versions, part) = word.split_once(':').unwrap_or(("0+", word));
        let number = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("{word} is no field of a shape"));
        let (min, max) = match versions.strip_suffix('+') {
            Some(min) => (number(min), i16::MAX),
            None => (0, number(versions.trim_start_matches('-'))),
        };
        let part = match part {
            "[" => Part::Structs(fields(words)),
            "(" => Part::Values(Box::new(fields(words).swap_remove(0).part)),
            "str" => Part::Text,
            "bin" => Part::Blob,
            bytes => Part::Bytes(bytes[1..].parse().unwrap_or_else(|_| unreachable!("{word} is no field of a shape"))),
        };
        found.push(Field { min, max, part });
    }
    found
}

impl Api {
    pub(crate) fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether strings and arrays have compact lengths, and tags follow structures.
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        self.key.request_header_version(version) > 1
    }

    /// Whether a body holds as many elements as it says.
    pub(crate) fn fits(&self, body: &[u8], version: i16) -> bool {
        let mut walk = Walk { rest: body, version, is_flexible: self.is_flexible(version), elements: 0 };
        walk.fields(&self.shape).is_some()
    }
}

/// A way through a body. Every step is none where the bytes end.
struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    is_flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        let version = self.version;
        fields
            .iter()
            .filter(|field| (field.min..=field.max).contains(&version))
            .try_for_each(|field| self.part(&field.part))
    }

    fn part(&mut self, part: &Part) -> Option<()> {
        match part {
            Part::Bytes(bytes) => self.skip(*bytes),
            Part::Text => {
                let bytes = if self.is_flexible {
                    self.compact()?
                } else {
                    usize::try_from(self.rest.try_get_i16().ok()?).unwrap_or(0)
                };
                self.skip(bytes)
            }
            Part::Blob => {
                let bytes = self.length()?;
                self.skip(bytes)
            }
            Part::Values(value) => (0..self.count()?).try_for_each(|_| self.part(value)),
            Part::Structs(fields) => (0..self.count()?).try_for_each(|_| {
                self.fields(fields)?;
                if self.is_flexible { self.tags() } else { Some(()) }
            }),
        }
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// A length; that of what is null is 0.
    fn length(&mut self) -> Option<usize> {
        if self.is_flexible {
            self.compact()
        } else {
            Some(usize::try_from(self.rest.try_get_i32().ok()?).unwrap_or(0))
        }
    }

    fn compact(&mut self) -> Option<usize> {
        Some(self.varint()?.saturating_sub(1) as usize)
    }

    fn count(&mut self) -> Option<usize> {
        let count = self.length()?;
        self.elements += count;
        (count <= self.rest.len() && self.elements <= ELEMENTS_MAX).then_some(count)
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.elements += 1;
            self.varint()?;
            let bytes = self.varint()? as usize;
            self.skip(bytes)?;
        }
        Some(())
    }

    /// As the codec reads it: what goes on behind the fifth byte is another number.
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().ok()?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                break;
            }
        }
        Some(value)
    }
}

/// What a body is made of that has every field and one element in every array.
#[cfg(test)]
pub(crate) struct Filler {
    pub(crate) text: &'static str,
    pub(crate) byte: u8,
}

#[cfg(test)]
impl Api {
    /// Writes a body of the shape.
    pub(crate) fn fill(&self, body: &mut Vec<u8>, version: i16, filler: &Filler) {
        fill(body, &self.shape, version, self.is_flexible(version), filler);
    }
}

#[cfg(test)]
fn fill(body: &mut Vec<u8>, fields: &[Field], version: i16, is_flexible: bool, filler: &Filler) {
    let length = |body: &mut Vec<u8>, length: u8, bytes: usize| {
        if is_flexible {
            body.push(length + 1);
        } else {
            body.extend(std::iter::repeat_n(0, bytes - 1).chain([length]));
        }
    };
    for field in fields.iter().filter(|field| (field.min..=field.max).contains(&version)) {
        match &field.part {
            Part::Bytes(bytes) => body.extend(std::iter::repeat_n(filler.byte, *bytes)),
            Part::Text => {
                length(body, filler.text.len() as u8, 2);
                body.extend(filler.text.as_bytes());
            }
            Part::Blob => length(body, 0, 4),
            Part::Values(value) => {
                length(body, 1, 4);
                let value = match &**value {
                    Part::Bytes(bytes) => Part::Bytes(*bytes),
                    _ => Part::Text,
                };
                fill(body, &[Field { min: 0, max: i16::MAX, part: value }], version, is_flexible, filler);
            }
            Part::Structs(fields) => {
                length(body, 1, 4);
                fill(body, fields, version, is_flexible, filler);
                body.extend(is_flexible.then_some(0));
            }
        }
    }
}
