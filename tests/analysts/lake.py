"""lake.py TABLES.sql DIR: writes the small world as a lake, in the layout that compact-lake leaves, and the answers beside it."""

import hashlib
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from answers import answers
from world import World

KINDS = {
    "INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "VARCHAR": pa.string(),
    "BLOB": pa.binary(), "TIMESTAMP": pa.timestamp("ms", tz="UTC"), "DOUBLE[]": pa.list_(pa.float64()),
    "VARCHAR[]": pa.list_(pa.string()),
    "STRUCT(code VARCHAR, contribution DOUBLE)[]": pa.list_(pa.struct([("code", pa.string()), ("contribution", pa.float64())])),
}


def schemas(tables):
    """Arrow's schema of each table; dt and hour stand in the path."""
    found = {}
    for line in tables.splitlines():
        if table := re.fullmatch(r"CREATE TABLE (\w+) \(", line):
            columns = found.setdefault(table[1], [])
        elif column := re.match(r'    "?(\w+)"? (.*)', line):
            kind = column[2].split("  ")[0].rstrip(",")
            if column[1] not in ("dt", "hour"):
                columns.append(pa.field(column[1], KINDS[kind]))
    return {table: pa.schema(columns) for table, columns in found.items()}


def write(directory, table, schema, records):
    topic = "dead-letters" if table == "dead_letters" else table
    hours = defaultdict(list)
    for record in records:
        hours[record["broker_time"].strftime("dt=%Y-%m-%d/hour=%H")].append(record)
    for hour, rows in hours.items():
        rows.sort(key=lambda row: (row["partition"], row["offset"]))
        # Two slices, so that an hour has several files; and one file that compaction has replaced, which nobody may read.
        middle = len(rows) // 2
        keys = []
        for slice_number, part in enumerate([rows[:middle], rows[middle:]]):
            if not part:
                continue
            name = hashlib.sha256(repr((hour, slice_number)).encode()).hexdigest()[:16]
            keys.append(f"lake/{topic}/{hour}/part-{slice_number}-{name}.parquet")
            put(directory / keys[-1], pa.Table.from_pylist(part, schema=schema))
        put(directory / f"lake/{topic}/{hour}/part-0-replaced.parquet", pa.Table.from_pylist(rows, schema=schema))
        manifest = directory / f"manifests/{topic}/{hour}/symlink.txt"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("".join(f"s3://lake/{key}\n" for key in keys))
        (manifest.parent / "_state.json").write_text("{}")


def put(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def main(tables, directory):
    world = World()
    for table, schema in schemas(Path(tables).read_text()).items():
        write(Path(directory), table, schema, world.records[table])
    expected = answers(world)
    (Path(directory) / "answers.json").write_text(json.dumps(expected, default=shown, indent=1))


def shown(value):
    """Times as DuckDB prints them."""
    text = value.strftime("%Y-%m-%d %H:%M:%S")
    return text + (f".{value.microsecond // 1000:03}".rstrip("0") if value.microsecond else "")


if __name__ == "__main__":
    main(*sys.argv[1:])
