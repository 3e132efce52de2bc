"""Holds Grafana boards against the schema that Grafana publishes as its foundation SDK: `python3 check.py FILE...` prints what is wrong, one
a line, and ends with 1 when something is.

The SDK reads what it knows and checks nothing, so what it read is compared here with what stood there: a field that it lost is unknown, one
that it added was required, and every value has to be of the type that the SDK declares.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.models import dashboard, units

# What the SDK leaves as it stands when it does not know the panel.
OF_A_PLUGIN = {(dashboard.Panel, "options"), (dashboard.FieldConfig, "custom")}
UNITS = {value for name, value in vars(units).items() if name[0] != "_"}


def is_of(value, declared):
    """Whether a value is of a declared type. Into objects of the SDK `problems` looks."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(is_of(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_of(one, arguments[1]) for one in value.values())
    if declared in (int, float):
        return isinstance(value, (int, declared)) and not isinstance(value, bool)
    if isinstance(declared, type) and issubclass(declared, enum.Enum):
        return value in [one.value for one in declared]
    return declared is typing.Any or isinstance(value, declared)


def plain(name):
    """The same for `showPercentChange` and for the SDK's `show_percent_change`, for `type` and its `type_val`."""
    return name.removesuffix("_val").replace("_", "").lower()


def problems(at, stands, read):
    """What is wrong with the JSON that stands at a place, by what the SDK read there."""
    if isinstance(read, list) and isinstance(stands, list):
        for place, (one, as_read) in enumerate(zip(stands, read)):
            yield from problems(f"{at}[{place}]", one, as_read)
    if isinstance(read, dict) and isinstance(stands, dict):
        for name in stands.keys() & read.keys():
            yield from problems(f"{at}.{name}", stands[name], read[name])
    if isinstance(read, dashboard.DynamicConfigValue):
        overridden = {read.id_val: read.value}
        yield from problems(at, overridden, dashboard.FieldConfig.from_json(overridden))
    if isinstance(read, runtime.UnknownDataquery):
        yield f"{at}: no data source is known that is asked like this"
    elif hasattr(read, "to_json") and not isinstance(stands, dict):
        yield f"{at}: {stands!r} is no {type(read).__name__}"
    elif hasattr(read, "to_json"):
        declared = {plain(name): one for name, one in typing.get_type_hints(type(read)).items()}
        fields = read.to_json()
        for name in sorted(stands.keys() | fields.keys()):
            here, of = f"{at}.{name}", declared.get(plain(name))
            if name not in fields:
                # The SDK leaves null out.
                if stands[name] is not None or of is None:
                    yield f"{here}: {type(read).__name__} has no such field"
            elif name not in stands:
                if not is_of(None, of):
                    yield f"{here}: {type(read).__name__} needs it"
            elif not is_of(fields[name], of):
                yield f"{here}: {stands[name]!r} is no {getattr(of, '__name__', of)}"
            elif isinstance(fields[name], dict) and (type(read), name) in OF_A_PLUGIN:
                yield f"{here}: no panel is known that has these"
            elif name == "unit" and stands[name] not in UNITS:
                yield f"{here}: {stands[name]!r} is no unit"
            else:
                yield from problems(here, stands[name], fields[name])


def main():
    plugins.register_default_plugins()
    found = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            board = json.load(file)
        for problem in problems("board", board, dashboard.Dashboard.from_json(board)):
            print(f"{path}: {problem}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
