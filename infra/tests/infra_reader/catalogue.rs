//! Athena sees the lake as DuckDB does: the tables of `60-catalogue.yaml` have the columns of `sql/tables.sql`, and its views say what
//! `sql/views` says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use centinela_infra::{Infrastructure, Resource};
use serde_json::Value;

use super::{ENVIRONMENTS, infra_directory, load};

/// A type of DuckDB, of Hive, of Trino.
const TYPES: &[(&str, &str, &str)] = &[
    ("BIGINT", "bigint", "bigint"),
    ("BLOB", "binary", "varbinary"),
    ("BOOLEAN", "boolean", "boolean"),
    ("DOUBLE", "double", "double"),
    ("DOUBLE[]", "array<double>", "array(double)"),
    ("INTEGER", "int", "integer"),
    (
        "STRUCT(code VARCHAR, contribution DOUBLE)[]",
        "array<struct<code:string,contribution:double>>",
        "array(row(\"code\" varchar, \"contribution\" double))",
    ),
    ("TIMESTAMP", "timestamp", "timestamp(3)"),
    ("VARCHAR", "string", "varchar"),
    ("VARCHAR[]", "array<string>", "array(varchar)"),
];

/// A type of DuckDB, and how Parquet prints a column `c` of it; of a list how it begins.
const PARQUET: &[(&str, &str)] = &[
    ("BIGINT", "INT64 c;"),
    ("BLOB", "BYTE_ARRAY c;"),
    ("BOOLEAN", "BOOLEAN c;"),
    ("DOUBLE", "DOUBLE c;"),
    ("DOUBLE[]", "group c (LIST) { REPEATED group list { OPTIONAL DOUBLE element; } }"),
    ("INTEGER", "INT32 c;"),
    (
        "STRUCT(code VARCHAR, contribution DOUBLE)[]",
        "group c (LIST) { REPEATED group list { OPTIONAL group element { OPTIONAL BYTE_ARRAY code (STRING); OPTIONAL DOUBLE contribution; } } }",
    ),
    ("TIMESTAMP", "INT64 c (TIMESTAMP(MILLIS,true));"),
    ("VARCHAR", "BYTE_ARRAY c (STRING);"),
    ("VARCHAR[]", "group c (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (STRING); } }"),
];

type Columns = Vec<(String, String)>;

fn sql(name: &str) -> String {
    let path: PathBuf = infra_directory().join("../sql").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tables of `sql/tables.sql` with columns and types.
fn declared() -> BTreeMap<String, Columns> {
    let (mut tables, mut current) = (BTreeMap::new(), String::new());
    for line in sql("tables.sql").lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE ").and_then(|rest| rest.strip_suffix(" (")) {
            current = name.to_owned();
            tables.insert(current.clone(), Columns::new());
        } else if let Some(column) = line.strip_prefix("    ") {
            let column = column.split("  ").next().expect("a column").trim_end_matches(',');
            let (name, kind) = column.split_once(' ').expect("a name and a type");
            tables.get_mut(&current).expect("a table").push((name.trim_matches('"').to_owned(), kind.to_owned()));
        }
    }
    tables
}

/// The same columns in Hive's or Trino's words.
fn spelled(columns: &Columns, of: fn(&(&str, &'static str, &'static str)) -> &'static str) -> Columns {
    let type_of =
        |kind: &str| TYPES.iter().find(|known| known.0 == kind).map(of).unwrap_or_else(|| panic!("type {kind}"));
    columns.iter().map(|(name, kind)| (name.clone(), type_of(kind).to_owned())).collect()
}

fn tables(infrastructure: &Infrastructure) -> BTreeMap<&str, &Value> {
    let glue = infrastructure.resources.iter().filter(|resource: &&Resource| resource.kind == "AWS::Glue::Table");
    let inputs = glue.map(|resource| &resource.properties["TableInput"]);
    inputs.map(|input| (input["Name"].as_str().expect("a name"), input)).collect()
}

fn columns(list: &Value, name: &str, kind: &str) -> Columns {
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    let list = list.as_array().unwrap_or_else(|| panic!("columns: {list}"));
    list.iter().map(|column| (text(column, name), text(column, kind))).collect()
}

/// The schemas of the files, as Parquet prints them.
const LAKE_SCHEMAS: &str = "../shared/lake/tests/golden";
/// The first three columns of a table are never null.
const REQUIRED: usize = 3;

#[test]
fn the_files_of_a_table_have_its_columns() {
    for (name, declared) in declared() {
        let path = infra_directory().join(LAKE_SCHEMAS).join(format!("{name}.schema"));
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The hour stands in the path.
        let in_files = declared.iter().filter(|(column, _)| column != "dt" && column != "hour").enumerate();
        let columns = in_files.map(|(index, (column, kind))| {
            let printed = PARQUET.iter().find(|known| known.0 == kind).unwrap_or_else(|| panic!("type {kind}")).1;
            let repetition = if index < REQUIRED { "REQUIRED" } else { "OPTIONAL" };
            format!("{repetition} {}", printed.replacen(" c", &format!(" {column}"), 1))
        });
        let wanted = format!("message {name} {{ {} }}", columns.collect::<Vec<_>>().join(" "));
        assert_eq!(golden.split_whitespace().collect::<Vec<_>>().join(" "), wanted, "{name}");
    }
}

#[test]
fn every_table_of_the_lake_is_in_the_catalogue_with_its_columns() {
    for environment in ENVIRONMENTS {
        let infrastructure = load(environment);
        let (found, bucket) = (tables(&infrastructure), lake(&infrastructure));
        for (name, declared) in declared() {
            let table = found.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
            let mut all = columns(&table["StorageDescriptor"]["Columns"], "Name", "Type");
            all.extend(columns(&table["PartitionKeys"], "Name", "Type"));
            assert_eq!(all, spelled(&declared, |known| known.1), "{name}");

            let topic = if name == "dead_letters" { "dead-letters" } else { &name };
            let parameters = &table["Parameters"];
            let place = format!("s3://{bucket}/manifests/{topic}/dt=${{dt}}/hour=${{hour}}/");
            assert_eq!(parameters["storage.location.template"], Value::from(place));
            assert_eq!(parameters["projection.enabled"], "true");
            let hours: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
            assert_eq!(parameters["projection.hour.values"], Value::from(hours.join(",")));
            let storage = &table["StorageDescriptor"];
            assert_eq!(storage["InputFormat"], "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat");
            assert_eq!(storage["Location"], Value::from(format!("s3://{bucket}/manifests/{topic}/")));
        }
    }
}

fn lake(infrastructure: &Infrastructure) -> &str {
    let lake = infrastructure.buckets.iter().find(|bucket| bucket.logical_id == "Lake");
    &lake.expect("a lake").name
}

/// The view of `sql/views`, in one line as the catalogue has it.
fn one_line(view: &str) -> String {
    let file = sql(&format!("views/{view}.sql"));
    let code = file.lines().filter(|line| !line.starts_with("--"));
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Writes what the file says into the catalogue's template, in the place of what begins alike.
fn write(view: &str) {
    let path = infra_directory().join("60-catalogue.yaml");
    let template = std::fs::read_to_string(&path).expect("the template");
    let wanted = format!("{{\"originalSql\": {},", Value::from(one_line(view)));
    let beginning: String = wanted.chars().take(40).collect();
    let line = |line: &str| match line.trim_start().starts_with(&beginning) {
        true => format!("{}{wanted}\n", &line[..line.len() - line.trim_start().len()]),
        false => format!("{line}\n"),
    };
    std::fs::write(&path, template.lines().map(line).collect::<String>()).expect("the template");
}

#[test]
fn every_view_says_what_its_file_says() {
    if std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() {
        ["decisions", "feature_names"].into_iter().for_each(write);
    }
    let infrastructure = load("prod");
    let found = tables(&infrastructure);
    let approved = declared()["approved"].clone();
    let names = ["features_version", "position"].map(|name| (name.to_owned(), "INTEGER".to_owned()));
    let names: Columns = names.into_iter().chain([("name".to_owned(), "VARCHAR".to_owned())]).collect();
    for (name, declared) in [("decisions", approved), ("feature_names", names)] {
        let view = found.get(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(view["TableType"], "VIRTUAL_VIEW");
        let text = view["ViewOriginalText"].as_str().expect("a text");
        let encoded =
            text.strip_prefix("/* Presto View: ").and_then(|text| text.strip_suffix(" */")).expect("a view of Presto");
        let decoded = base64_simd::STANDARD.decode_to_vec(encoded).expect("base64");
        let definition: Value = serde_json::from_slice(&decoded).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(definition["originalSql"], Value::from(one_line(name)), "{name}");
        assert_eq!(columns(&definition["columns"], "name", "type"), spelled(&declared, |known| known.2), "{name}");
        let stored = columns(&view["StorageDescriptor"]["Columns"], "Name", "Type");
        assert_eq!(stored, spelled(&declared, |known| known.1), "{name}");
    }
}

#[test]
fn analysts_read_the_compacted_lake_and_nothing_else_of_it() {
    let infrastructure = load("prod");
    let role = infrastructure.resources.iter().find(|resource| resource.logical_id == "AnalystRole").expect("a role");
    let statements = role.properties["Policies"][0]["PolicyDocument"]["Statement"].as_array().expect("statements");
    let allowed = |service: &str| -> Vec<(String, String)> {
        let texts = |value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            one => vec![one.as_str().unwrap_or_default().to_owned()],
        };
        let pairs = statements.iter().flat_map(|statement| {
            let resources: Vec<String> = texts(&statement["Resource"]);
            let actions: Vec<String> = texts(&statement["Action"]);
            actions
                .into_iter()
                .flat_map(move |action| resources.clone().into_iter().map(move |on| (action.clone(), on)))
        });
        pairs.filter(|(action, _)| action.starts_with(service)).collect()
    };
    let lake = format!("arn:aws:s3:::{}", lake(&infrastructure));
    let of_lake: Vec<_> = allowed("s3:").into_iter().filter(|(_, on)| on.starts_with(&lake)).collect();
    let wanted = [
        ("s3:GetObject", "/lake/*"),
        ("s3:GetObject", "/manifests/*"),
        ("s3:ListBucket", ""),
        ("s3:GetBucketLocation", ""),
    ];
    assert_eq!(of_lake, wanted.map(|(action, below)| (action.to_owned(), format!("{lake}{below}"))));
    assert!(allowed("glue:").iter().all(|(action, _)| action.contains(":Get") || action.contains(":BatchGet")));
    let group =
        infrastructure.resources.iter().find(|resource| resource.logical_id == "WorkGroup").expect("a workgroup");
    let settings = &group.properties["WorkGroupConfiguration"];
    assert_eq!(settings["EnforceWorkGroupConfiguration"], true);
    assert_eq!(settings["BytesScannedCutoffPerQuery"], "200000000000");
}
