//! The few messages of Kafka's protocol that a producer needs, without tagged fields. <https://kafka.apache.org/protocol>

use crate::failure::{Code, Problem};

/// A kind of request with the version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    key: i16,
    version: i16,
}

pub(crate) const PRODUCE: Api = Api { key: 0, version: 7 };
pub(crate) const METADATA: Api = Api { key: 3, version: 4 };
pub(crate) const SASL_HANDSHAKE: Api = Api { key: 17, version: 1 };
pub(crate) const INIT_PRODUCER_ID: Api = Api { key: 22, version: 1 };
pub(crate) const SASL_AUTHENTICATE: Api = Api { key: 36, version: 1 };

/// Of the replicas that are in step, all.
const ACKS_ALL: i16 = -1;

/// A request being written. Its length comes first, so it is written last.
pub(crate) struct Request<'a>(&'a mut Vec<u8>);

impl<'a> Request<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>, api: Api, correlation: i32, client: &str) -> Self {
        out.clear();
        out.extend_from_slice(&[0; 4]);
        let mut request = Self(out);
        request.i16(api.key);
        request.i16(api.version);
        request.i32(correlation);
        request.text(Some(client));
        request
    }

    pub(crate) fn end(self) {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.i32(count as i32);
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                self.i16(text.len() as i16);
                self.0.extend_from_slice(text.as_bytes());
            }
            None => self.i16(-1),
        }
    }

    /// What follows is as long as `write` makes it.
    fn sized(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.i32(0);
        write(self.0);
        let length = (self.0.len() - at - 4) as u32;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(crate) fn metadata(&mut self, topics: &[String]) {
        self.count(topics.len());
        for topic in topics {
            self.text(Some(topic));
        }
        // Topics are the stacks' to make.
        self.0.push(0);
    }

    pub(crate) fn init_producer_id(&mut self) {
        self.text(None);
        self.i32(i32::MAX);
    }

    /// One batch for each partition, of which those of a topic stand together; `write` writes the batch at a place.
    pub(crate) fn produce(
        &mut self,
        timeout_ms: i32,
        batches: &[(&str, u32)],
        mut write: impl FnMut(usize, &mut Vec<u8>),
    ) {
        self.text(None);
        self.i16(ACKS_ALL);
        self.i32(timeout_ms);
        self.count(batches.chunk_by(|a, b| a.0 == b.0).count());
        let mut place = 0;
        for of_topic in batches.chunk_by(|a, b| a.0 == b.0) {
            self.text(Some(of_topic[0].0));
            self.count(of_topic.len());
            for (_, partition) in of_topic {
                self.i32(*partition as i32);
                self.sized(|out| write(place, out));
                place += 1;
            }
        }
    }

    pub(crate) fn sasl_handshake(&mut self, mechanism: &str) {
        self.text(Some(mechanism));
    }

    pub(crate) fn sasl_authenticate(&mut self, token: &[u8]) {
        self.sized(|out| out.extend_from_slice(token));
    }
}

/// An answer being read.
pub(crate) struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    /// Behind the number that says which request it answers.
    pub(crate) fn begin(bytes: &'a [u8], correlation: i32) -> Result<Self, Problem> {
        let mut answer = Self(bytes);
        if answer.i32()? == correlation { Ok(answer) } else { Err(Problem::Malformed("it answers another request")) }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Problem::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Problem::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn bool(&mut self) -> Result<bool, Problem> {
        self.array().map(|[byte]| byte != 0)
    }

    fn i16(&mut self) -> Result<i16, Problem> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Problem> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Problem> {
        self.array().map(i64::from_be_bytes)
    }

    fn code(&mut self) -> Result<Code, Problem> {
        self.i16().map(Code)
    }

    /// How many elements follow; none of a list that is null.
    fn count(&mut self) -> Result<usize, Problem> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    fn text(&mut self) -> Result<&'a str, Problem> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Problem::Malformed("a text is no UTF-8"))
    }

    fn numbers(&mut self) -> Result<(), Problem> {
        let count = self.count()?;
        self.bytes(count.saturating_mul(4)).map(drop)
    }

    pub(crate) fn metadata(mut self) -> Result<Metadata, Problem> {
        let mut found = Metadata::default();
        self.i32()?;
        for _ in 0..self.count()? {
            let (node, host, port) = (self.i32()?, self.text()?.to_owned(), self.i32()?);
            let port = u16::try_from(port).map_err(|_| Problem::Malformed("a broker's port is none"))?;
            self.text()?;
            found.brokers.push((node, host, port));
        }
        self.text()?;
        self.i32()?;
        for _ in 0..self.count()? {
            let (code, name) = (self.code()?, self.text()?.to_owned());
            self.bool()?;
            let mut leaders = Vec::new();
            for _ in 0..self.count()? {
                self.code()?;
                let (partition, leader) = (self.i32()?, self.i32()?);
                self.numbers()?;
                self.numbers()?;
                leaders.push((partition, leader));
            }
            // They come in any order, and none is left out.
            leaders.sort_unstable();
            if leaders.iter().zip(0..).any(|((partition, _), number)| *partition != number) {
                return Err(Problem::Malformed("a topic's partitions are not counted from 0"));
            }
            found.topics.push((name, code, leaders.into_iter().map(|(_, leader)| leader).collect()));
        }
        Ok(found)
    }

    pub(crate) fn producer_id(mut self) -> Result<(i64, i16), Problem> {
        self.i32()?;
        match self.code()? {
            Code::NONE => Ok((self.i64()?, self.i16()?)),
            code => Err(Problem::Refused(code)),
        }
    }

    /// Topic, partition and what became of its batch.
    pub(crate) fn produced(mut self) -> Result<Vec<(&'a str, u32, Code)>, Problem> {
        let mut produced = Vec::new();
        for _ in 0..self.count()? {
            let topic = self.text()?;
            for _ in 0..self.count()? {
                let (partition, code) = (self.i32()? as u32, self.code()?);
                // Offset, time and where the log begins.
                self.bytes(24)?;
                produced.push((topic, partition, code));
            }
        }
        Ok(produced)
    }

    pub(crate) fn handshaken(mut self) -> Result<(), Problem> {
        let code = self.code()?;
        let mut offered = Vec::new();
        for _ in 0..self.count()? {
            offered.push(self.text()?);
        }
        if code == Code::NONE {
            return Ok(());
        }
        Err(Problem::Login(format!("{code}; the broker offers {}", offered.join(", "))))
    }

    /// The broker's token, and for how many milliseconds the login lasts; 0 where it does not end.
    pub(crate) fn authenticated(mut self) -> Result<(&'a [u8], i64), Problem> {
        let (code, message) = (self.code()?, self.text()?);
        let length = usize::try_from(self.i32()?).unwrap_or(0);
        let token = self.bytes(length)?;
        if code == Code::NONE { Ok((token, self.i64()?)) } else { Err(Problem::Login(message.to_owned())) }
    }
}

/// Who leads what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Node, host and port.
    pub(crate) brokers: Vec<(i32, String, u16)>,
    /// Name, whether it is there, and each partition's leader; -1 where there is none.
    pub(crate) topics: Vec<(String, Code, Vec<i32>)>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer_of_metadata(partitions: &[i32]) -> Vec<u8> {
        // No pause, no broker, no cluster's name, a controller; one topic `t`.
        let mut bytes = [0, 0].map(i32::to_be_bytes).concat();
        bytes.extend_from_slice(&[255, 255]);
        bytes.extend_from_slice(&[7, 1].map(i32::to_be_bytes).concat());
        bytes.extend_from_slice(&[0, 0, 0, 1, b't', 0]);
        bytes.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
        for &partition in partitions {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&[partition, partition.wrapping_add(10), 0, 0].map(i32::to_be_bytes).concat());
        }
        bytes
    }

    #[test]
    fn a_leader_stands_at_its_partitions_number() {
        let found = Answer(&answer_of_metadata(&[1, 2, 0])).metadata().expect("it is well formed");
        assert_eq!(found.topics, [("t".to_owned(), Code::NONE, vec![10, 11, 12])]);
        for wrong in [&[1][..], &[0, 2], &[-1, 0], &[0, 0], &[i32::MAX]] {
            assert!(Answer(&answer_of_metadata(wrong)).metadata().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..200)) {
            let answer = || Answer(&bytes);
            // None of them holds more than came.
            prop_assert!(answer().metadata().map_or(0, |found| found.brokers.len() + found.topics.len()) <= bytes.len());
            prop_assert!(answer().produced().map_or(0, |found| found.len()) <= bytes.len());
            prop_assert!(answer().authenticated().map_or(0, |(token, _)| token.len()) <= bytes.len());
            prop_assert!(answer().producer_id().is_err() || bytes.len() >= 16);
            prop_assert!(answer().handshaken().is_err() || bytes.len() >= 6);
        }
    }
}
