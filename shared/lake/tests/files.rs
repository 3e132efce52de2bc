//! What is written is read back, whatever it is; what is not a file of ours is an error.

use bytes::Bytes;
use centinela_lake::parquet_read::{FileRows, read_all};
use centinela_lake::parquet_write::{Effort, FileWriter, GROUP_ROWS_MAX};
use centinela_lake::row::{Cell, Place, Row};
use centinela_lake::table::{Kind, Table};
use proptest::prelude::*;

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        8 => "[ -~]{0,24}",
        1 => any::<String>(),
        // What other writers of Parquet stumble over: nothing, a zero, a surrogate's neighbour, 64 KB.
        1 => prop_oneof![Just(String::new()), Just("a\0b".to_owned()), Just("\u{ffff}\u{10ffff}".to_owned())],
        1 => Just("x".repeat(65_536)),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<f64> {
    prop_oneof![any::<f64>().prop_filter("numbers", |number| !number.is_nan()), Just(0.8), Just(-0.0)].boxed()
}

fn cell(kind: Kind) -> BoxedStrategy<Cell> {
    let value = match kind {
        Kind::Int => any::<i32>().prop_map(|number| Cell::Int(number.into())).boxed(),
        Kind::Long | Kind::Time => any::<i64>().prop_map(Cell::Int).boxed(),
        Kind::Double => number().prop_map(Cell::Double).boxed(),
        Kind::Bool => any::<bool>().prop_map(Cell::Bool).boxed(),
        Kind::Text => text().prop_map(Cell::from).boxed(),
        Kind::Binary => prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| Cell::Bytes(bytes.into())).boxed(),
        Kind::Doubles => {
            prop::collection::vec(prop::option::of(number()), 0..6).prop_map(|list| Cell::Doubles(list.into())).boxed()
        }
        Kind::Texts => {
            let list = prop::collection::vec(text().prop_map(String::into_boxed_str), 0..4);
            list.prop_map(|list| Cell::Texts(list.into())).boxed()
        }
        Kind::Reasons => {
            let list = prop::collection::vec((text().prop_map(String::into_boxed_str), number()), 0..4);
            list.prop_map(|list| Cell::Reasons(list.into())).boxed()
        }
    };
    prop_oneof![1 => Just(Cell::Null), 4 => value].boxed()
}

fn row(table: Table) -> BoxedStrategy<Row> {
    let cells: Vec<_> = table.columns().iter().map(|column| cell(column.kind)).collect();
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..64));
    (any::<i32>(), any::<i64>(), any::<i64>(), prop::option::of(text()), value, cells)
        .prop_map(|(partition, offset, broker_time, problem, value, cells)| Row {
            place: Place { partition, offset },
            broker_time,
            problem: problem.map(String::into_boxed_str),
            value: value.map(Bytes::from),
            cells: cells.into(),
        })
        .boxed()
}

fn table() -> impl Strategy<Value = Table> {
    prop::sample::select(Table::ALL.to_vec())
}

fn written(table: Table, effort: Effort, rows: &[Row]) -> Bytes {
    let mut file = FileWriter::new(table, effort).expect("a table of ours");
    rows.iter().for_each(|row| file.push(row.clone()).expect("a row of the table"));
    file.finish().expect("a file")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        (table, rows) in table().prop_flat_map(|table| (Just(table), prop::collection::vec(row(table), 0..40))),
        thorough in any::<bool>(),
    ) {
        let effort = if thorough { Effort::Thorough } else { Effort::Quick };
        let file = written(table, effort, &rows);
        prop_assert_eq!(&file, &written(table, effort, &rows));
        prop_assert_eq!(read_all(table, file).expect("readable"), rows);
    }

    #[test]
    fn half_a_file_or_another_one_is_an_error(
        rows in prop::collection::vec(row(Table::Approved), 1..8),
        part in 0.0..1.0f64,
        flipped in any::<prop::sample::Index>(),
    ) {
        let file = written(Table::Approved, Effort::Quick, &rows);
        let half = file.slice(..(file.len() as f64 * part) as usize);
        prop_assert!(read_all(Table::Approved, half).is_err());
        // A flipped bit may go unnoticed in a value; it is never a panic.
        let mut bytes = file.to_vec();
        let place = flipped.index(bytes.len());
        bytes[place] ^= 0x55;
        drop(read_all(Table::Approved, bytes.into()));
        prop_assert!(read_all(Table::Approved, Bytes::from_static(b"PAR1 is not enough")).is_err());
    }
}

#[test]
fn a_file_has_row_groups_so_that_memory_has_a_bound() {
    let row = |offset| Row::unreadable(Table::Events, Place { partition: 0, offset }, 5, "odd".to_owned(), None);
    let rows: Vec<Row> = (0..GROUP_ROWS_MAX as i64 + 5).map(row).collect();
    let mut file = FileRows::open(Table::Events, written(Table::Events, Effort::Thorough, &rows)).expect("readable");
    assert_eq!(file.row_count(), rows.len() as i64);
    let groups = std::iter::from_fn(|| file.next_group().expect("readable").map(|rows| rows.len()));
    assert_eq!(groups.collect::<Vec<_>>(), [GROUP_ROWS_MAX, 5]);
}

#[test]
fn a_file_of_an_earlier_release_lacks_columns_that_are_null_now() {
    // A table with the common columns only, as every table could have begun.
    let rows = [Row::unreadable(Table::Events, Place { partition: 1, offset: 2 }, 3, "odd".to_owned(), None)];
    let events = written(Table::Events, Effort::Quick, &rows);
    let read = read_all(Table::DeadLetters, events).expect("columns that are not there are null");
    assert_eq!((read[0].place, read[0].cells.iter().all(|cell| *cell == Cell::Null)), (rows[0].place, true));
}
