//! What is asked of DynamoDB, and the answers.

use super::{Dynamo, reads, tables, transactions, writes};
use crate::case::Case;

const REFUSED: &str = "the call: ValidationException";

pub const CASES: &[Case<Dynamo>] = &[
    Case::same("a created table is active at once", tables::created, r#"ACTIVE, ["pk HASH"], PAY_PER_REQUEST"#),
    Case::same("a table that exists is not created again", tables::created_again, "ResourceInUseException"),
    Case::same("a table name of one letter is refused", tables::short_name, "ValidationException"),
    Case::same("a table that does not exist is not described", tables::described_unknown, "ResourceNotFoundException"),
    Case::same("a table's items can expire", tables::time_to_live, r#"ENABLED Some("expires_s")"#),
    Case::same(
        "one read covers three tables, consistent and eventual parts",
        reads::three_tables,
        "v 1 with 10 bytes and v 2 with 20 bytes; v 3 with 30 bytes; v 4 with 40 bytes; 0 unprocessed",
    ),
    Case::same("a read of 101 keys is refused", reads::a_hundred_keys, "100: 1 found; 101: ValidationException"),
    Case::same("a read that names a key twice is refused", reads::the_same_key_twice, "ValidationException"),
    Case::same("a read of an unknown table is refused", reads::an_unknown_table, "ResourceNotFoundException"),
    Case::same("a read of an empty key is refused", reads::an_empty_key, "ValidationException"),
    Case::same(
        "a read of more than 16 MB leaves keys unprocessed",
        reads::more_than_16_megabytes,
        "some keys are left unprocessed, every key is in one of the lists: true",
    ),
    Case::differs(
        "a read reports its capacity, for a key that is not there too",
        reads::capacity_of_reads,
        ["0.5, 1, 1", "1, 2, 1.5"],
        "AWS charges for the key that is not there, and so does the embedded part",
    ),
    Case::same("an UPDATE whose version is current is done", writes::update_wins, "done; v 5 with 20 bytes"),
    Case::same(
        "a lost UPDATE returns the item that won",
        writes::update_loses,
        "ConditionalCheckFailed, v 5 with 10 bytes; v 5 with 10 bytes",
    ),
    Case::same(
        "an UPDATE of an item that is not there creates nothing",
        writes::update_of_nothing,
        "ConditionalCheckFailed, no item; nothing",
    ),
    Case::same("an INSERT creates", writes::insert_wins, "done; v 1 with 10 bytes"),
    Case::same(
        "a lost INSERT is a duplicate, without the item",
        writes::insert_loses,
        "DuplicateItem, no item; v 5 with 10 bytes",
    ),
    Case::same(
        "an item of another owner is taken over by an UPDATE",
        writes::take_over_of_another_owners,
        "DuplicateItem, no item; done; v 1 with 20 bytes; the other owner's are kept: true",
    ),
    Case::same(
        "an UPDATE that asks for no version is lost to an item that has one, and creates nothing",
        writes::take_over_loses,
        "ConditionalCheckFailed, v 5 with 10 bytes; ConditionalCheckFailed, no item; v 5 with 10 bytes; nothing",
    ),
    Case::same(
        "statements of a batch are answered alone and in order",
        writes::answered_alone,
        "done; ConditionalCheckFailed, v 9 with 10 bytes; done / DuplicateItem, no item",
    ),
    Case::same(
        "a batch has at most 25 statements",
        writes::batch_sizes,
        "25: all done; 26: the call: ValidationException",
    ),
    Case::same("a batch that names a key twice is refused", writes::same_key_twice, REFUSED),
    Case::same("a batch of reads and writes is refused", writes::reads_and_writes, REFUSED),
    Case::same(
        "an item over 400 KB is refused alone",
        writes::too_large,
        "ValidationError, no item; ValidationError, no item; done",
    ),
    Case::same(
        "a statement on an unknown table is refused alone",
        writes::unknown_table,
        "ResourceNotFound, no item; done",
    ),
    Case::same("what is no statement is refused alone", writes::not_a_statement, "ValidationError, no item; done"),
    Case::same("an empty key is refused", writes::empty_key, "ValidationError, no item"),
    Case::same("of many writers from one version one wins", writes::race, "1 won, 15 lost and saw the winner"),
    Case::differs(
        "a batch of writes reports its capacity",
        writes::capacity_of_writes,
        ["nothing", "2"],
        "AWS reports it; on DynamoDB Local units are counted from the sizes of items",
    ),
    Case::same(
        "a single conditional update returns the item that won",
        writes::single_update,
        "done; lost to v 1 with 9 bytes; done; lost to v 2 with 9 bytes; lost to no item",
    ),
    Case::same(
        "numbers over 2^53, any bytes and empty bytes pass unchanged",
        writes::exact_values,
        "done; read back exactly: true",
    ),
    Case::same(
        "a label and two risks are written together, beside what other owners keep",
        transactions::a_label,
        "done; done; rv 2, v 5; rv 2, v none",
    ),
    Case::same(
        "a transaction of which a condition does not hold writes nothing, and says which",
        transactions::a_label_again,
        "done; ConditionalCheckFailed, ConditionalCheckFailed; ConditionalCheckFailed, None; None, ConditionalCheckFailed; \
         rv 1, v none",
    ),
    Case::differs(
        "a transaction that names an item twice is refused",
        transactions::the_same_item_twice,
        ["None, ConditionalCheckFailed", REFUSED],
        "AWS refuses it, and so does the embedded part; DynamoDB Local applies the actions one after the other",
    ),
    Case::same(
        "a transaction has at most 100 actions",
        transactions::a_hundred_actions,
        "100: done; 101: the call: ValidationException",
    ),
    Case::same(
        "a transaction on an unknown table is refused",
        transactions::an_unknown_table,
        "the call: ResourceNotFoundException; rv none, v none",
    ),
    Case::same("of many transactions on one item one wins", transactions::race, "1 won, 15 lost; rv 1, v none"),
    Case::same(
        "a transaction costs twice the units, by table",
        transactions::capacity,
        "device_state 4, settled_offsets 2, user_state 2",
    ),
];
