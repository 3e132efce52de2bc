//! Files of every kind that people have, written here, read by the code that sends them.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use centinela_domain::Transaction;
use flate2::write::GzEncoder;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArrayType, Int32Type, Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::*;

const AT_MS: i64 = 1_795_357_920_123;
const AT_S: i64 = 1_795_357_920;

fn line(id: usize) -> String {
    format!(
        r#"{{"version":1,"transaction_id":"t{id}","timestamp":{AT_MS},"user_id":"u","amount":"12.34","currency":"EUR","device_type":"pos","device_id":"d","ip":"203.0.113.9","user_agent":"test/1"}}"#
    )
}

fn csv_with(timestamp: &str, amount: &str) -> String {
    format!(
        "amount,transaction_id,timestamp,user_id,device_type,device_id,ip,user_agent,note,currency,fraud\n\
         {amount},t0,{timestamp},u,pos,d,203.0.113.9,\"Mozilla, 5.0\",\"two\nlines\",EUR,true\n\
         12.34,t1,{AT_MS},u,pos,d,203.0.113.9,test/1,,,0\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A file whose name says nothing.
    fn with(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join("data");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

const INPUT: Input = Input { key: Key::UserId, limit: None, default_currency: Currency::DEFAULT };

fn read(path: &Path) -> Result<Vec<Message>, InputError> {
    let mut input = INPUT.open_checked(path)?;
    let mut messages = Vec::new();
    while let Some(message) = input.next()? {
        messages.push(message);
    }
    assert_eq!(input.expected(), Some(messages.len() as u64));
    Ok(messages)
}

fn transactions(path: &Path) -> Vec<Transaction> {
    let messages = read(path).unwrap_or_else(|error| panic!("{}", centinela_audit::errors::one_line(&error)));
    messages.iter().map(|message| transaction_v1::parse(&message.value).unwrap()).collect()
}

#[track_caller]
fn refused(path: &Path, named: &[&str]) {
    let error = centinela_audit::errors::one_line(&read(path).map(|messages| messages.len()).unwrap_err());
    for name in named {
        assert!(error.contains(name), "{name} is missing in: {error}");
    }
}

#[test]
fn lines_and_tables_are_read_plain_and_compressed_by_what_they_are() {
    let files = Files::new();
    let lines = format!("{}\n\n{}\r\n{}", line(0), line(1), line(2)).into_bytes();
    let mut two_members = gzip(&lines[..100]);
    two_members.extend(gzip(&lines[100..]));
    let skippable = [b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec(), zstd(&lines)].concat();
    let marked = [b"\xef\xbb\xbf".to_vec(), lines.clone()].concat();
    for bytes in [lines.clone(), gzip(&lines), zstd(&lines), two_members, skippable, gzip(&marked), marked] {
        let messages = read(&files.with(&bytes)).unwrap();
        let values: Vec<&[u8]> = messages.iter().map(|message| &message.value[..]).collect();
        assert_eq!(values, [line(0).as_bytes(), line(1).as_bytes(), line(2).as_bytes()], "{:?}", &bytes[..4]);
    }
    let table = csv_with("2026-11-22 14:32:00.123+00", "12.34").into_bytes();
    let semicolons = String::from_utf8(table.clone()).unwrap().replace("Mozilla, ", "Mozilla ").replace(',', ";");
    let tabs = semicolons.replace(';', "\t").replace('\n', "\r\n");
    for bytes in [table.clone(), gzip(&table), zstd(&table), semicolons.into_bytes(), tabs.into_bytes()] {
        let read = transactions(&files.with(&bytes));
        assert_eq!(read.len(), 2, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(read.iter().all(|row| row.occurred_at.0 == AT_MS && row.amount.minor() == 1_234));
    }
    let labels: Vec<_> = read(&files.with(&table)).unwrap().iter().map(|message| message.fraud).collect();
    assert_eq!(labels, [Some(true), Some(false)]);
}

#[test]
fn every_common_spelling_of_a_time_is_the_same_time() {
    let files = Files::new();
    for spelling in [
        "2026-11-22T14:32:00.123Z",
        "2026-11-22t14:32:00.123456z",
        "2026-11-22 14:32:00.123456789Z",
        "2026-11-22T15:32:00.123+01:00",
        "2026-11-22 15:32:00.123+01",
        "2026-11-22T09:02:00.123-0530",
        "1795357920123",
        "1795357920123456",
        "1795357920123456789",
    ] {
        assert_eq!(transactions(&files.with(csv_with(spelling, "12.34")))[0].occurred_at.0, AT_MS, "{spelling}");
    }
    assert_eq!(transactions(&files.with(csv_with("1795357920", "1")))[0].occurred_at.0, AT_S * 1_000);
}

#[test]
fn the_first_bad_row_is_named_with_its_line_its_field_and_its_value() {
    let files = Files::new();
    let euros = csv_with("22/11/2026 14:32", "12.34");
    refused(&files.with(&euros), &["line 2 of ", "timestamp must be", "RFC 3339", "`22/11/2026 14:32`"]);
    let later = csv_with("1795357920123", "1") + "12.345,t2,1795357920123,u,pos,d,203.0.113.9,a,,EUR,0\n";
    refused(&files.with(later), &["line 5 of ", "amount `12.345` has more decimals than the 2 of EUR"]);
    refused(&files.with(csv_with("1795357920123", "10000000.01")), &["line 2 of ", "is too large, the limit is"]);
    refused(&files.with(csv_with("1795357920123", "\"12,34\"")), &["amount must be a number", "it holds `12,34`"]);
    let short = csv_with("1795357920123", "1") + "1,t2\n";
    refused(&files.with(short), &["line 5 of ", "it has 2 columns and the header 11"]);
    let label = csv_with("1795357920123", "1").replace(",true", ",perhaps");
    refused(&files.with(label), &["line 2 of ", "column `fraud` holds `perhaps`; true or false is expected"]);
    let lines = format!("{}\n\n{}\n", line(0), line(1).replace("\"u\"", "\"\""));
    refused(&files.with(lines), &["line 3 of ", "user_id is empty"]);
    refused(&files.with(format!("{}\nnonsense\n", line(0))), &["line 2 of ", "not valid JSON"]);
    let long = format!("{}\n{}", line(0), "x".repeat(LINE_BYTES_MAX + 1));
    refused(&files.with(long), &["line 2 of ", "1000000 bytes"]);
    let seconds = line(0).replace(&AT_MS.to_string(), &AT_S.to_string());
    refused(&files.with(seconds), &["line 1 of ", "timestamp `1795357920` looks like seconds"]);
    let mail = line(0).replace("\"u\"", &format!("\"jane.doe@example.com{}\"", "x".repeat(128)));
    let error = read(&files.with(mail)).map(|messages| messages.len()).unwrap_err().to_string();
    assert!(error.contains("user_id has 148 bytes") && !error.contains("jane"), "{error}");
}

#[test]
fn a_row_behind_the_limit_is_not_looked_at() {
    let files = Files::new();
    let path = files.with(format!("{}\nnonsense\n", line(0)));
    assert_eq!(Input { limit: Some(1), ..INPUT }.open_checked(&path).unwrap().expected(), Some(1));
}

#[test]
fn a_file_that_was_cut_after_it_was_checked_does_not_just_end() {
    let files = Files::new();
    let path = files.with(format!("{}\n", line(0)).repeat(4_000));
    let mut rows = INPUT.open_checked(&path).unwrap();
    let whole = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(whole / 2).unwrap();
    let error = std::iter::repeat_with(|| rows.next()).find_map(Result::err).unwrap().to_string();
    assert!(error.ends_with("has changed since it was checked: it ends after 2000 of 4000 rows"), "{error}");
}

#[test]
fn an_unchecked_line_is_sent_as_it_stands_and_a_blank_one_is_not() {
    let files = Files::new();
    let path = files.with(b"nonsense\n\n\xc3\x28 broken\r\n  \nlast");
    let mut input = INPUT.open(&path, Rule::Anything).unwrap();
    let found: Vec<_> = std::iter::from_fn(|| input.next().unwrap()).map(|message| message.value).collect();
    assert_eq!(found, [&b"nonsense"[..], b"\xc3\x28 broken", b"  ", b"last"]);
}

#[test]
fn what_is_no_text_and_no_parquet_is_refused_by_name() {
    let files = Files::new();
    let text = line(0);
    for (bytes, name) in [
        (b"".to_vec(), "is empty"),
        (b"\n \n".to_vec(), "is empty"),
        (gzip(b""), "is empty"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0\0".to_vec(), "xz"),
        (b"\x04\x22\x4d\x18abc".to_vec(), "lz4"),
        (b"PK\x03\x04abc".to_vec(), "zip"),
        (b"Obj\x01abc".to_vec(), "Avro"),
        (gzip(&gzip(text.as_bytes())), "binary, once unpacked"),
        (gzip(b"PAR1abc"), "compressed Parquet"),
        (b"\x7fELF\x02\x01\x01\0\0\0".to_vec(), "binary"),
        (format!("[{text}]").into_bytes(), "JSON array"),
        (b"\xff\xfea\0".to_vec(), "UTF-16"),
        (gzip(text.as_bytes())[..40].to_vec(), "cannot read"),
        (zstd(text.as_bytes())[..40].to_vec(), "cannot read"),
        (b"PAR1 but not for long".to_vec(), "no readable Parquet"),
        (b"transaction_id,amount\n1,2\n".to_vec(), "no column `timestamp`"),
    ] {
        refused(&files.with(&bytes), &[name]);
        let unchecked = INPUT.open(&files.with(&bytes), Rule::Anything);
        assert!(unchecked.is_err(), "{name} is taken unchecked");
    }
    refused(files.0.path(), &["is no file"]);
}

#[test]
fn a_table_of_something_else_is_told_which_columns_it_has() {
    let files = Files::new();
    let renamed = csv_with("1795357920123", "1").replacen("transaction_id", "Transaction ID", 1);
    let found = ["no column `transaction_id`, only `amount`, `Transaction ID`, ", "`device_id` and 5 more", "it needs"];
    refused(&files.with(&renamed), &found);
    refused(&files.with(renamed.replacen(',', ";", 10)), &["only `amount`, `Transaction ID`"]);
    // A header that is longer than what is looked at.
    let wide: String = (0..900).map(|column| format!("measurement-{column},")).collect();
    let row = format!("{}t,{AT_MS},u,1,pos,d,203.0.113.9,a\n", ",".repeat(900));
    let own = "transaction_id,timestamp,user_id,amount,device_type,device_id,ip,user_agent\n";
    assert_eq!(transactions(&files.with(format!("{wide}{own}{row}"))).len(), 1);
    let twice = csv_with("1795357920123", "1").replacen("note", "amount", 1);
    refused(&files.with(twice), &["has column `amount` twice"]);
    // Lines are not taken for a table, whatever their first one lacks.
    refused(&files.with("  {\"id\": 1, \"amount\": 2}\n"), &["line 1 of "]);
}

#[test]
fn a_quote_that_is_never_closed_does_not_take_the_file_into_memory() {
    let files = Files::new();
    let open = csv_with("1795357920123", "1") + "\"" + "x".repeat(5 * LINE_BYTES_MAX).as_str();
    refused(&files.with(open), &["cannot read", "is a quote not closed?"]);
}

/// How a Parquet file holds its times.
#[derive(Clone, Copy, Debug)]
enum Times {
    Int64(&'static str, i64),
    Int32(i32),
    Int96,
    Text(&'static str),
}

fn parquet(path: &Path, compression: Compression, times: Times, amount: &str, rows: usize) {
    let column = match times {
        Times::Int64(annotation, _) => format!("required int64 timestamp {annotation};"),
        Times::Int32(_) => "required int32 timestamp;".to_owned(),
        Times::Int96 => "required int96 timestamp;".to_owned(),
        Times::Text(_) => "required binary timestamp (UTF8);".to_owned(),
    };
    let texts = ["transaction_id", "user_id", "amount", "device_type", "device_id", "ip", "user_agent"];
    let others: String = texts.iter().map(|name| format!("required binary {name} (UTF8);")).collect();
    // A column that nobody reads may be of a type that nobody reads.
    let schema = format!("message rows {{ required int32 when (TIME_MILLIS); {column} {others} }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int32Type>().write_batch(&vec![1; rows], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let written = match times {
        Times::Int64(_, at) => column.typed::<Int64Type>().write_batch(&vec![at; rows], None, None).unwrap(),
        Times::Int32(at) => column.typed::<Int32Type>().write_batch(&vec![at; rows], None, None).unwrap(),
        Times::Int96 => {
            let nanos_of_day = u64::try_from(AT_MS % 86_400_000).unwrap() * 1_000_000;
            let julian = u32::try_from(AT_MS / 86_400_000 + 2_440_588).unwrap();
            let mut at = Int96::new();
            at.set_data((nanos_of_day & 0xffff_ffff) as u32, (nanos_of_day >> 32) as u32, julian);
            column.typed::<Int96Type>().write_batch(&vec![at; rows], None, None).unwrap()
        }
        Times::Text(at) => {
            column.typed::<ByteArrayType>().write_batch(&vec![ByteArray::from(at); rows], None, None).unwrap()
        }
    };
    assert_eq!(written, rows);
    column.close().unwrap();
    for name in texts {
        let value = |row: usize| match name {
            "transaction_id" => format!("t{row}"),
            "amount" if row + 1 == rows => amount.to_owned(),
            "amount" => "12.34".to_owned(),
            "device_type" => "pos".to_owned(),
            "ip" => "203.0.113.9".to_owned(),
            other => other.to_owned(),
        };
        let values: Vec<ByteArray> = (0..rows).map(|row| ByteArray::from(value(row).into_bytes())).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_is_read_with_every_codec() {
    let files = Files::new();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ] {
        let path = files.with("");
        parquet(&path, compression, Times::Int64("", AT_MS), "12.34", 300);
        assert_eq!(transactions(&path).len(), 300, "{compression:?}");
    }
}

#[test]
fn parquet_times_are_read_in_every_unit() {
    let files = Files::new();
    let (micros, nanos) = (AT_MS * 1_000 + 456, AT_MS * 1_000_000 + 456_789);
    for (times, expected) in [
        (Times::Int64("(TIMESTAMP(MILLIS,true))", AT_MS), AT_MS),
        (Times::Int64("(TIMESTAMP(MICROS,true))", micros), AT_MS),
        (Times::Int64("(TIMESTAMP(NANOS,false))", nanos), AT_MS),
        (Times::Int64("(TIMESTAMP_MILLIS)", AT_MS), AT_MS),
        (Times::Int64("(TIMESTAMP_MICROS)", micros), AT_MS),
        (Times::Int64("", AT_S), AT_S * 1_000),
        (Times::Int64("", AT_MS), AT_MS),
        (Times::Int64("", micros), AT_MS),
        (Times::Int64("", nanos), AT_MS),
        (Times::Int32(i32::try_from(AT_S).unwrap()), AT_S * 1_000),
        (Times::Int96, AT_MS),
        (Times::Text("2026-11-22 14:32:00.123+00"), AT_MS),
    ] {
        let path = files.with("");
        parquet(&path, Compression::UNCOMPRESSED, times, "12.34", 2);
        assert!(transactions(&path).iter().all(|row| row.occurred_at.0 == expected), "{times:?}");
    }
    // What the type says counts, not the magnitude.
    let path = files.with("");
    parquet(&path, Compression::UNCOMPRESSED, Times::Int64("(TIMESTAMP(NANOS,true))", micros), "12.34", 1);
    refused(&path, &["row 1 of ", "timestamp `1795357920` looks like seconds"]);
}

#[test]
fn a_bad_row_of_a_parquet_file_is_named_by_its_number() {
    let files = Files::new();
    let path = files.with("");
    parquet(&path, Compression::SNAPPY, Times::Int64("", AT_MS), "-1", 7);
    refused(&path, &["row 7 of ", "amount must not be negative, got `-1`"]);
}

#[test]
fn a_parquet_file_with_a_broken_page_is_refused_before_anything_is_sent() {
    let files = Files::new();
    let path = files.with("");
    parquet(&path, Compression::UNCOMPRESSED, Times::Int64("", AT_MS), "12.34", 500);
    let mut bytes = std::fs::read(&path).unwrap();
    let value = bytes.windows(4).position(|window| window == b"t250").unwrap();
    bytes[value - 4..value].fill(0xff);
    refused(&files.with(bytes), &["no readable Parquet file"]);
}

/// One row whose amount is of this type.
fn parquet_amount(path: &Path, amount: &str, bytes: &[u8]) {
    let texts = [
        ("transaction_id", "t0"),
        ("timestamp", "2026-11-22T14:32:00Z"),
        ("user_id", "u"),
        ("device_type", "pos"),
        ("device_id", "d"),
        ("ip", "203.0.113.9"),
        ("user_agent", "test/1"),
    ];
    let others: String = texts.iter().map(|(name, _)| format!("required binary {name} (UTF8);")).collect();
    let length = bytes.len();
    let schema = format!("message rows {{ required fixed_len_byte_array ({length}) amount ({amount}); {others} }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = ByteArray::from(bytes.to_vec()).into();
    column.typed::<FixedLenByteArrayType>().write_batch(&[value], None, None).unwrap();
    column.close().unwrap();
    for (_, text) in texts {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(text)], None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn an_amount_is_read_from_every_kind_of_number() {
    let files = Files::new();
    for (amount, bytes, minor) in [
        ("DECIMAL(18,2)", &1_234_i64.to_be_bytes()[..], 1_234),
        ("DECIMAL(18,0)", &1_200_i64.to_be_bytes(), 120_000),
        ("DECIMAL(18,0)", &0_i64.to_be_bytes(), 0),
        // 12.34375, which is the nearest to 12.34 that there is.
        ("FLOAT16", &0x4a2c_u16.to_le_bytes(), 1_234),
        ("FLOAT16", &0x4a40_u16.to_le_bytes(), 1_250),
    ] {
        let path = files.with("");
        parquet_amount(&path, amount, bytes);
        assert_eq!(transactions(&path)[0].amount.minor(), minor, "{amount} {bytes:?}");
    }
}
