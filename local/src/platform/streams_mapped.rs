//! The mappings of the embedded streams: which function reads which stream, and how they come to an end.

use std::sync::Arc;
use std::time::Duration;

use centinela_aws::{Kinesis, StreamReader};
use centinela_infra as infra;
use centinela_lambda_host::mapping::stream::{
    Page, Place, ShardInfo, StreamCut, StreamMapping, StreamMappingSpec, StreamRecord, StreamSource, StreamStart,
    StreamUnreadable,
};
use centinela_lambda_host::mapping::{MappingError, MappingStats};
use futures::future::join_all;
use tokio::sync::watch;

use super::Platform;
use super::backlog::{DRAIN_SLICE, until_drained};
use super::error::PlatformError;
use super::mapped::MappingKey;

/// What is left of the streams' mappings to drain.
#[derive(Clone, Debug, Default)]
pub struct StreamDrain(Vec<(MappingKey, StreamCut)>);

impl StreamDrain {
    /// The functions that read streams.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.function.as_str())
    }
}

/// The mappings of streams at work.
pub(super) struct StreamsMapped(Vec<(MappingKey, Arc<StreamMapping>)>);

impl StreamsMapped {
    pub(super) fn stats(&self) -> impl Iterator<Item = (MappingKey, MappingStats)> + '_ {
        self.0.iter().map(|(key, mapping)| (key.clone(), mapping.stats()))
    }

    pub(super) async fn stop(self) {
        join_all(self.0.iter().map(|(_, mapping)| mapping.stop())).await;
    }
}

impl Platform {
    /// Lets the embedded streams keep what comes before their mappings are started: a stream that nobody reads forgets it soon.
    pub(super) fn keep_for_stream_mappings(&self) {
        for declared in self.infrastructure.stream_mappings.iter().filter(|mapping| mapping.enabled) {
            // To be a reader is enough; that one is not there is said when its mapping is started.
            let _kept_for = self.stream_reader(&declared.stream, &declared.function);
        }
    }

    /// Starts the mappings of the streams, unless they run or the streams are external.
    pub(super) fn start_stream_mappings(&self) -> Result<(), PlatformError> {
        let Some(embedded) = self.services.embedded_streams().filter(|_| self.streams.get().is_none()) else {
            return Ok(());
        };
        let mut mapped = Vec::new();
        for declared in self.infrastructure.stream_mappings.iter().filter(|mapping| mapping.enabled) {
            let (topic, function) = (declared.stream.clone(), declared.function.clone());
            let Some(host) = self.function(&function) else {
                return Err(PlatformError::UnknownFunction { topic, function });
            };
            let source = source(embedded, declared)?;
            let mapping = StreamMapping::start(spec(declared), source, Arc::clone(host))?;
            let key = MappingKey { topic, function };
            mapping.set_faults((self.mapping_faults)(&key, declared.window));
            self.control.add_stream(declared, host, &mapping);
            mapped.push((key, mapping));
        }
        // Nobody starts them twice at a time.
        let _started_before = self.streams.set(StreamsMapped(mapped));
        Ok(())
    }

    /// The mappings of streams, by stream and function.
    pub fn stream_mappings(&self) -> impl Iterator<Item = (&MappingKey, &Arc<StreamMapping>)> {
        self.streams.get().into_iter().flat_map(|mapped| &mapped.0).map(|(key, mapping)| (key, mapping))
    }

    /// A reader of an embedded stream, by a name of its own; what it has not handled is kept. None where the streams are external, or
    /// no stack declares this one.
    #[must_use]
    pub fn stream_reader(&self, stream: &str, name: &str) -> Option<StreamReader> {
        self.services.embedded_streams()?.reader(stream, name)
    }

    /// Splits an open shard of the stream that functions read, or merges two adjacent ones. False where the streams are external,
    /// nothing reads one, or nothing is left to merge.
    #[must_use]
    pub fn reshard(&self, split: bool, pick: u64) -> bool {
        self.reshaped(split, pick).unwrap_or(false)
    }

    fn reshaped(&self, split: bool, pick: u64) -> Option<bool> {
        let (key, _) = self.stream_mappings().next()?;
        let reader = self.services.embedded_streams()?.reader(&key.topic, &key.function)?;
        let mut open: Vec<_> = reader.shards()?.into_iter().filter(|shard| shard.is_open).collect();
        open.sort_by_key(|shard| shard.hash_keys);
        let choices = if split { open.len() } else { open.len().saturating_sub(1) };
        let place = usize::try_from(pick >> 8).unwrap_or(0).checked_rem(choices)?;
        Some(match split {
            true => reader.split(&open[place].id),
            false => reader.merge(&open[place].id, &open[place + 1].id),
        })
    }

    /// Lets the mappings of streams take nothing that comes from now on.
    ///
    /// # Errors
    /// When a stream is gone.
    pub fn cut_streams(&self) -> Result<StreamDrain, PlatformError> {
        let cuts = self.stream_mappings().map(|(key, mapping)| Ok((key.clone(), mapping.cut()?)));
        Ok(StreamDrain(cuts.collect::<Result<_, MappingError>>()?))
    }

    /// Lets functions handle what a backlog left on the streams, so that a report covers its own run only; the mappings run on.
    pub(super) async fn work_off_streams(&mut self) -> Result<(), PlatformError> {
        self.start_stream_mappings()?;
        let drain = self.cut_streams()?;
        until_drained(
            || self.drain_streams(&drain, DRAIN_SLICE),
            |records| {
                let functions = drain.functions().collect::<Vec<_>>().join(", ");
                PlatformError::StreamBacklog { records, functions }
            },
        )
        .await?;
        self.stream_mappings().for_each(|(_, mapping)| mapping.resume());
        self.past.streams = drain;
        Ok(())
    }

    /// Where this run begins on a stream: by shard the newest record before it; none of a shard without any, and nothing at all where
    /// the stream began with the run.
    #[must_use]
    pub fn stream_start(&self, stream: &str) -> Option<&StreamCut> {
        self.past.streams.0.iter().find(|(key, _)| key.topic == stream).map(|(_, cut)| cut)
    }

    /// Waits until they have handled everything before, and no window is open.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] after `limit`, with the records of all of them.
    pub async fn drain_streams(&self, drain: &StreamDrain, limit: Duration) -> Result<(), PlatformError> {
        let mappings = self.stream_mappings().filter_map(|(key, mapping)| {
            let (_, cut) = drain.0.iter().find(|(of, _)| of == key)?;
            Some(mapping.drain_to(cut, limit))
        });
        let mut waiting = 0;
        for outcome in join_all(mappings).await {
            match outcome {
                Ok(()) => {}
                Err(MappingError::NotDrained { records, .. }) => waiting += records,
                Err(error) => return Err(error.into()),
            }
        }
        if waiting == 0 { Ok(()) } else { Err(MappingError::NotDrained { records: waiting, deadline: limit }.into()) }
    }
}

fn spec(declared: &infra::StreamMapping) -> StreamMappingSpec {
    StreamMappingSpec {
        batch_size: declared.batch_size as usize,
        window: declared.window,
        tumbling_window: declared.tumbling_window,
        start: if declared.from_oldest { StreamStart::TrimHorizon } else { StreamStart::Latest },
        report_batch_item_failures: declared.report_batch_item_failures,
        bisect_batch_on_function_error: declared.bisect,
        maximum_retry_attempts: declared.maximum_retry_attempts,
        maximum_record_age: declared.maximum_record_age,
        on_failure: declared.on_failure.clone(),
        ..StreamMappingSpec::new(&declared.function, &declared.stream)
    }
}

fn source(embedded: &Kinesis, declared: &infra::StreamMapping) -> Result<Arc<Embedded>, PlatformError> {
    let reader = embedded.reader(&declared.stream, &declared.function);
    let reader = reader.ok_or_else(|| MappingError::Stream { why: gone(&declared.stream).to_string() })?;
    Ok(Arc::new(Embedded { reader, stream: declared.stream.clone() }))
}

/// A stream of this process.
struct Embedded {
    reader: StreamReader,
    stream: String,
}

fn gone(stream: &str) -> StreamUnreadable {
    StreamUnreadable(format!("there is no stream `{stream}`, or the shard is not there any more"))
}

fn after(place: &Place) -> Option<&str> {
    match place {
        Place::Oldest => None,
        Place::After(number) => Some(number),
    }
}

impl StreamSource for Embedded {
    fn shards(&self) -> Result<Vec<ShardInfo>, StreamUnreadable> {
        let shards = self.reader.shards().ok_or_else(|| gone(&self.stream))?;
        let info =
            |shard: centinela_aws::ShardState| ShardInfo { id: shard.id, parents: shard.parents, newest: shard.newest };
        Ok(shards.into_iter().map(info).collect())
    }

    fn read(&self, shard: &str, from: &Place, limit: usize) -> Result<Page, StreamUnreadable> {
        let page = self.reader.read(shard, after(from), limit).ok_or_else(|| gone(&self.stream))?;
        // Who begins at the oldest record misses nothing. How many are missing, nobody counts: at least one is.
        let is_gap = page.is_gap && *from != Place::Oldest;
        let records = page.records.into_iter().map(|record| StreamRecord {
            sequence_number: record.sequence_number,
            partition_key: record.partition_key,
            data_base64: record.data_base64,
            arrived_ms: record.arrived_ms,
        });
        Ok(Page { records: records.collect(), is_last: page.is_last, lost: u64::from(is_gap) })
    }

    fn behind(&self, shard: &str, from: &Place) -> u64 {
        self.reader.behind(shard, after(from))
    }

    fn written(&self) -> watch::Receiver<u64> {
        self.reader.written()
    }

    fn handled(&self, shard: &str, sequence_number: &str) {
        self.reader.handled(shard, sequence_number);
    }
}
