"""Frozen dataclasses to TOML and back; a key that no dataclass knows is refused by name."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomlkit

from ghostgo.engine.errors import UserError

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "config") -> T:
    """An instance of dataclass `kind` from nested plain values; missing keys take their defaults.

    Raises UserError naming the key for an unknown one, a wrong type or a value outside a Literal.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{where}: unknown key {key!r}; {hint}")
        arguments[key] = _convert(hints[key], value, f"{where}: {key}")
    return kind(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{where} = {value!r} is not a table")
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return None if value is None else _convert(options[0], value, where)
    if origin is Literal:
        if value not in get_args(hint):
            allowed = ", ".join(map(str, get_args(hint)))
            raise UserError(f"{where} = {value!r} is not one of: {allowed}")
        return value
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} = {value!r} is not a table")
        return dict(value)
    if origin is list:
        if not isinstance(value, list):
            raise UserError(f"{where} = {value!r} is not a list")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where} = {value!r} is not of type {hint.__name__}")
    return value


def to_mapping(config: Any) -> dict[str, Any]:
    """Nested plain values of a dataclass, without those that are None."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None:
            out[field.name] = to_mapping(value) if dataclasses.is_dataclass(value) else value
    return out


def read_toml(path: Path) -> dict[str, Any]:
    """The file's values; raises UserError if it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not TOML: {error}") from None


def dump_toml(config: Any) -> str:
    """A dataclass as TOML text, tables last."""
    return tomlkit.dumps(to_mapping(config))


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `extra` in place of its own, table by table."""
    out = dict(base)
    for key, value in extra.items():
        before = out.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        out[key] = overlay(before, value) if both else value  # type: ignore[arg-type]
    return out
