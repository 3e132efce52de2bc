"""rows.py SQL_DIRECTORY WORLD_DIRECTORY: the small world as one SELECT per table, in Trino's words.
rows.py answers OUT_DIRECTORY: compares the rows that Trino wrote with the answers that Python computes."""

import csv
import math
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import json

from answers import answers
from lake import shown
from world import World

TYPES = {
    "BIGINT": "bigint", "BLOB": "varbinary", "BOOLEAN": "boolean", "DOUBLE": "double", "DOUBLE[]": "array(double)", "INTEGER": "integer",
    "TIMESTAMP": "timestamp(3)", "VARCHAR": "varchar", "VARCHAR[]": "array(varchar)",
    "STRUCT(code VARCHAR, contribution DOUBLE)[]": 'array(row("code" varchar, "contribution" double))',
}


def literal(value, kind):
    if value is None:
        return "NULL"
    if kind == "BLOB":
        return f"X'{value.hex()}'"
    if kind == "TIMESTAMP":
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}'"
    if kind == "DOUBLE":
        return repr(value) if "e" in repr(value) else f"{value!r}e0"
    if kind.startswith("STRUCT"):
        rows = (f"ROW({literal(reason['code'], 'VARCHAR')}, {literal(reason['contribution'], 'DOUBLE')})" for reason in value)
        return f"ARRAY[{', '.join(rows)}]"
    if kind.endswith("[]"):
        return f"ARRAY[{', '.join(literal(item, kind[:-2]) for item in value)}]"
    if kind == "VARCHAR":
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


def write(sql, out):
    world, tables = World(), {}
    for line in (Path(sql) / "tables.sql").read_text().splitlines():
        if table := re.fullmatch(r"CREATE TABLE (\w+) \(", line):
            columns = tables.setdefault(table[1], [])
        elif column := re.match(r'    "?(\w+)"? (.*)', line):
            columns.append((column[1], column[2].split("  ")[0].rstrip(",")))
    for table, columns in tables.items():
        rows = []
        for record in world.records[table]:
            record = {**record, "dt": f"{record['broker_time']:%Y-%m-%d}", "hour": f"{record['broker_time']:%H}"}
            rows.append("(" + ", ".join(literal(record[name], kind) for name, kind in columns) + ")")
        typed = ", ".join(f'CAST("{name}" AS {TYPES[kind]}) AS "{name}"' for name, kind in columns)
        named = ", ".join(f'"{name}"' for name, _ in columns)
        text = f"SELECT {typed} FROM (VALUES\n" + ",\n".join(rows) + f"\n) AS records ({named})\n"
        (Path(out) / f"{table}.sql").write_text(text)


def is_same(found, wanted):
    if wanted is None:
        return found == "null"
    if isinstance(wanted, bool):
        return found == str(wanted).lower()
    if isinstance(wanted, (int, float)):
        return found != "null" and math.isclose(float(found), wanted, rel_tol=1e-9, abs_tol=1e-9)
    if time := re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(:\d\d)?(\.\d+)?", found):
        fraction = (time[4] or "").rstrip("0").rstrip(".")
        found = f"{time[1]} {time[2]}{time[3] or ':00'}{fraction}"
    return found == wanted


def compare(out):
    differ = 0
    for name, wanted in json.loads(json.dumps(answers(World()), default=shown)).items():
        header, *rows = csv.reader((Path(out) / f"{name}.tsv").open(), delimiter="\t", quoting=csv.QUOTE_NONE)
        found = [dict(zip(header, row)) for row in rows]
        wrong = [f"{len(found)} rows and not {len(wanted)}"] if len(found) != len(wanted) else []
        wrong += [f"{column} is {row[column]} and not {value}" for row, answer in zip(found, wanted) for column, value in answer.items()
                  if not is_same(row[column], value)]
        if wrong:
            differ += 1
            print(f"{name}: {wrong[0]}")
    print(f"{len(list(Path(out).glob('*.tsv')))} questions, {differ} with another answer")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    compare(sys.argv[2]) if sys.argv[1] == "answers" else write(*sys.argv[1:])
