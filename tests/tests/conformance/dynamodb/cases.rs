//! What is asked of DynamoDB, and the answers.

use super::{Dynamo, reads, tables, writes};
use crate::case::Case;

pub const CASES: &[Case<Dynamo>] = &[
    Case::same("a created table is active at once", tables::created, "?"),
    Case::same("a table that exists is not created again", tables::created_again, "?"),
    Case::same("a table name of one letter is refused", tables::short_name, "?"),
    Case::same("a table that does not exist is not described", tables::described_unknown, "?"),
    Case::same("a table's items can expire", tables::time_to_live, "?"),
    Case::same("one read covers three tables, consistent and eventual parts", reads::three_tables, "?"),
    Case::same("a read of 101 keys is refused", reads::a_hundred_keys, "?"),
    Case::same("a read that names a key twice is refused", reads::the_same_key_twice, "?"),
    Case::same("a read of an unknown table is refused", reads::an_unknown_table, "?"),
    Case::same("a read of an empty key is refused", reads::an_empty_key, "?"),
    Case::same("a read of more than 16 MB leaves keys unprocessed", reads::more_than_16_megabytes, "?"),
    Case::same("a read reports its capacity", reads::capacity_of_reads, "?"),
    Case::same("an UPDATE whose version is current is done", writes::update_wins, "?"),
    Case::same("a lost UPDATE returns the item that won", writes::update_loses, "?"),
    Case::same("an UPDATE of an item that is not there creates nothing", writes::update_of_nothing, "?"),
    Case::same("an INSERT creates", writes::insert_wins, "?"),
    Case::same("a lost INSERT is a duplicate, without the item", writes::insert_loses, "?"),
    Case::same("statements of a batch are answered alone and in order", writes::answered_alone, "?"),
    Case::same("a batch has at most 25 statements", writes::batch_sizes, "?"),
    Case::same("a batch that names a key twice is refused", writes::same_key_twice, "?"),
    Case::same("a batch of reads and writes is refused", writes::reads_and_writes, "?"),
    Case::same("an item over 400 KB is refused alone", writes::too_large, "?"),
    Case::same("a statement on an unknown table is refused alone", writes::unknown_table, "?"),
    Case::same("what is no statement is refused alone", writes::not_a_statement, "?"),
    Case::same("an empty key is refused", writes::empty_key, "?"),
    Case::same("of many writers from one version one wins", writes::race, "?"),
    Case::same("a batch of writes reports its capacity", writes::capacity_of_writes, "?"),
    Case::same("a single conditional update returns the item that won", writes::single_update, "?"),
    Case::same("numbers over 2^53, any bytes and empty bytes pass unchanged", writes::exact_values, "?"),
];
