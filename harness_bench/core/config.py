"""Config dataclasses: read from TOML, checked strictly, written into every output folder.

A step's settings are one frozen dataclass made with `pydantic.dataclasses.dataclass` and
`config=STRICT`. Fields carry fairseq's names where fairseq has one.
"""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from harness_bench.core.files import check_given

_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; a missing or broken one is a `ValueError` that says where it breaks."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        check_given(path, "Config file", "file")
        raise
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of names and values, running nothing in it; else a ValueError."""
    import yaml  # noqa: PLC0415 - comes with ESPnet

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        check_given(path, "Config file", "file")
        raise
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML ({str(error).splitlines()[0]}).") from error
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{path}: expected names and values, found {type(found).__name__}.")
    return found or {}


def build[T](kind: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """Make the config dataclass `kind` from TOML values (lists for tuples, strings for paths).

    Unknown keys, wrong types and impossible values are one `ValueError` that begins with `source`
    and names every offender, its value, what was expected and, for an unknown key, near ones.
    """
    try:
        # Through JSON, because strict mode then still turns a list into a tuple, a string into
        # a path, and nothing else into anything. TOML's dates, which no config has, become text.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        raise ValueError(f"{source}: " + "\n  ".join(lines)) from None


def typed(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn text into numbers, truth values and tuples (blanks or commas between) as `kind` wants.

    For options of a command line, where all is text; what cannot be turned stays for `build`.
    """
    wanted = {name: info.annotation for name, info in _fields(kind).items()}
    return {key: _typed(wanted.get(key), value) for key, value in values.items()}


def _typed(wanted: Any, value: Any) -> Any:
    if isinstance(value, str) and get_origin(wanted) is tuple:
        return [_typed(get_args(wanted)[0], word) for word in value.replace(",", " ").split()]
    if isinstance(value, str) and wanted in (int, float, bool):
        with suppress(ValueError):
            return json.loads(value)
    return value


def load[T](kind: type[T], path: Path) -> T:
    """Read `path` as TOML and build the config dataclass `kind` from all of it."""
    return build(kind, read_toml(path), source=str(path))


def resolved(config: object) -> dict[str, Any]:
    """Return a config dataclass as JSON-ready values, defaults filled in."""
    values = TypeAdapter(type(config)).dump_python(config, mode="json")
    assert isinstance(values, dict)
    return values


def _explain(kind: type, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = list(_fields(_dataclass_at(kind, problem["loc"][:-1])))
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}."
        return f"unknown key {key!r}; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"key {key!r} is missing; add it."
    if problem["type"] == "value_error":
        # From a __post_init__, which quotes what matters of its table; the input is all of it.
        return ": ".join(filter(None, (key, f"{problem['ctx']['error']}.")))
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    given = f"{key} = {problem['input']!r}".removeprefix(" = ")
    return f"{given}: {message}{_allowed(kind, problem['loc'])}."


def _allowed(kind: type, parts: tuple[Any, ...]) -> str:
    """Say the allowed range of a number that is bounded on both sides; else nothing."""
    info = _fields(_dataclass_at(kind, parts[:-1])).get(str(parts[-1])) if parts else None
    bounds = [
        f"{sign} {getattr(constraint, name)}"
        for constraint in (info.metadata if info else ())
        for name, sign in _SIGNS.items()
        if hasattr(constraint, name)
    ]
    return f" (allowed: {' and '.join(bounds)})" if len(bounds) > 1 else ""


def _dataclass_at(kind: Any, parts: tuple[Any, ...]) -> Any:
    here = kind
    for part in parts:
        if not isinstance(part, int) and dataclasses.is_dataclass(here):
            info = _fields(here).get(str(part))
            here = _dataclass_in(info.annotation) if info else None
    return here


def _fields(kind: Any) -> dict[str, FieldInfo]:
    return getattr(kind, "__pydantic_fields__", {})


def _dataclass_in(hint: Any) -> Any:
    """Find the dataclass inside an annotation such as `X`, `X | None` or `tuple[X, ...]`."""
    if dataclasses.is_dataclass(hint):
        return hint
    inner = map(_dataclass_in, getattr(hint, "__args__", ()))
    return next((found for found in inner if found is not None), None)
