//! The columns of every table are part of the contract: analysts' questions and Athena's catalogue name them.

use std::path::Path;

use centinela_lake::table::Table;
use parquet::schema::printer::print_schema;

/// Goal: nobody changes a table by accident.
/// Method: each table's schema, as Parquet prints it, against a file; `CENTINELA_WRITE_GOLDEN=1` writes those that are missing.
#[test]
fn every_table_has_the_columns_that_its_golden_file_says() {
    for table in Table::ALL {
        let mut printed = Vec::new();
        print_schema(&mut printed, &table.schema().expect("a schema"));
        let printed = String::from_utf8(printed).expect("text");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.schema", table.name()));
        if !file.exists() && std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() {
            std::fs::write(&file, &printed).expect("the golden file is written");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(printed, golden, "{}", table.name());
    }
}

#[test]
fn no_two_columns_of_a_table_have_the_same_name() {
    for table in Table::ALL {
        let mut names: Vec<_> = table.all_columns().map(|(column, _)| column.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", table.name());
    }
}
