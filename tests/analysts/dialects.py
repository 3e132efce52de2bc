"""dialects.py SQL_DIRECTORY OUT_DIRECTORY: is what is in sql/ the same question to DuckDB and to Athena (Trino)?

Prints one line per problem. A question with one spelling must be read the same way by both dialects; one with two is written down in
OUT_DIRECTORY as Athena's spelling turned into DuckDB's words where there are such words, so that it can be asked too. Whether Athena answers alike, only Athena can
tell; what is known to differ and no parser sees is refused here.
"""

import sys
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


def alike(tree):
    """The tree without what the dialects write differently and mean alike."""
    tree = tree.copy()
    for node in list(tree.walk()):
        node.comments = None
        if isinstance(node, exp.Div):
            node.set("typed", None)
            node.set("safe", None)
        elif isinstance(node, exp.DPipe):
            node.set("safe", None)
        elif isinstance(node, exp.Ordered):
            node.set("nulls_first", None)
        elif isinstance(node, exp.DataType) and node.is_type("timestamp"):
            node.set("expressions", [])
    return tree.sql("trino")


def without_truncation(text):
    """DuckDB counts boundaries of milliseconds and Trino whole ones: of times to the millisecond it is the same number."""
    tree = sqlglot.parse_one(text, read="trino")
    for node in list(tree.find_all(exp.DateDiff)):
        for part in ("this", "expression"):
            inner = node.args.get(part)
            if isinstance(inner, exp.TimestampTrunc) and inner.unit.name.upper() == "MILLISECOND":
                node.set(part, inner.this)
    for node in list(tree.find_all(exp.Concat)):
        for cast in list(node.find_all(exp.Cast)):
            if cast.is_type("varchar"):
                cast.replace(cast.this)
    return tree


def problems(sql, is_athena):
    """What no parser sees: integer division, units that are counted differently, functions that Trino has not."""
    tree = sqlglot.parse_one(sql, read="trino")
    for function in tree.find_all(exp.Anonymous):
        yield f"{function.name} is no function that the parser knows of Trino"
    for division in tree.find_all(exp.Div):
        literals = [node.this.lower() for node in division.find_all(exp.Literal) if not node.is_string]
        if not any("e" in literal for literal in literals):
            yield f"{division.sql('trino')} would be a division of whole numbers in Athena; write one of them as 1e0"
    for difference in tree.find_all(exp.DateDiff):
        if difference.text("unit").upper() != "MILLISECOND":
            yield f"{difference.sql('trino')} is counted differently; take milliseconds"
    if is_athena:
        return
    for node in tree.find_all(exp.Unnest, exp.ApproxQuantile):
        yield f"{node.sql('trino')} is spelled differently in the other dialect"


def concatenations(tree):
    return "CONCAT" in tree.upper() or "||" in tree


def main(directory, out):
    directory, out, found = Path(directory), Path(out), 0
    for path in sorted([*directory.glob("*.sql"), *directory.glob("views/*.sql")]):
        if path.name == "tables.sql":
            continue
        sql, other = path.read_text(), directory / "athena" / path.name
        try:
            lines = list(problems(other.read_text() if other.exists() else sql, other.exists()))
            if other.exists():
                tree = sqlglot.parse_one(other.read_text(), read="trino")
                # A list of structures becomes columns in Trino, which the parser cannot say in DuckDB's words.
                if not tree.find(exp.Unnest):
                    (out / path.name).write_text(tree.sql("duckdb") + "\n")
            else:
                duckdb, trino = (alike(sqlglot.parse_one(sql, read=dialect)) for dialect in ("duckdb", "trino"))
                if duckdb != trino:
                    duckdb, trino = (alike(without_truncation(text)) for text in (duckdb, trino))
                if duckdb != trino and not concatenations(trino):
                    lines.append(f"the dialects read it differently:\n  DuckDB {duckdb}\n  Trino  {trino}")
        except SqlglotError as error:
            lines = [f"cannot be read: {error}"]
        for line in lines:
            print(f"{path.name}: {line}")
        found += len(lines)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
