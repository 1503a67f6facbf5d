"""Configurations as data: conversion from dicts to dataclasses and back.

A configuration is a frozen dataclass whose fields are settings, or further dataclasses (sections)
that group some of them. No two settings have the same name, so a dict may group them or not:
`{"epochs": 3, "vit": {"dim": 64}}` and `{"epochs": 3, "dim": 64}` mean the same.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from minivit.errors import UserError, shown

Config = TypeVar("Config")


def overlay(base: Config, values: Mapping[str, Any], where: str = "") -> Config:
    """A copy of `base` in which the settings in `values` replace its own.

    Args:
        base: a dataclass instance; it is not changed. values: settings by name, as in JSON
            (lists for tuples, strings for paths), grouped by section or not.
        where: the beginning of an error message, such as the file that the values come from.

    Raises:
        UserError: an unknown name, a value of the wrong type, or one that the class rejects.
    """
    prefix = f"{where}: " if where else ""
    hints = dict(_settings(type(base)))
    flat = _flatten(values, _sections(type(base)), prefix)
    for name in flat:
        if name not in hints:
            raise UserError(f"{prefix}setting {shown(name)} is unknown; {_meant(name, hints)}")
    converted = {name: _convert(name, value, hints[name], prefix) for name, value in flat.items()}
    try:
        return _replace(base, converted)
    except UserError as error:
        raise UserError(f"{prefix}{error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as a JSON-compatible dict, grouped by section."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    return str(value) if isinstance(value, Path) else value


def _sections(cls: type) -> dict[str, Any]:
    """The fields of a dataclass that are dataclasses themselves."""
    hints = get_type_hints(cls)
    named = ((field.name, hints[field.name]) for field in dataclasses.fields(cls))
    return {name: hint for name, hint in named if dataclasses.is_dataclass(hint)}


def _settings(cls: type) -> Iterator[tuple[str, Any]]:
    """(name, type) of every setting, including those of its sections."""
    hints, sections = get_type_hints(cls), _sections(cls)
    for field in dataclasses.fields(cls):
        if field.name in sections:
            yield from _settings(sections[field.name])
        else:
            yield field.name, hints[field.name]


def _flatten(values: Mapping[str, Any], sections: dict[str, type], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name not in sections:
            flat[name] = value
        elif isinstance(value, Mapping):
            flat |= _flatten(value, _sections(sections[name]), prefix)
        else:
            raise UserError(f"{prefix}{name} is {shown(value)}; expected an object of settings")
    return flat


def _convert(name: str, value: Any, hint: Any, prefix: str) -> Any:
    try:
        return msgspec.convert(value, hint, dec_hook=_path)
    except msgspec.ValidationError as error:
        reason = str(error)[:1].lower() + str(error)[1:]
        raise UserError(f"{prefix}{name} is {shown(value)}; {reason}") from None


def _path(kind: type, value: Any) -> Any:
    """Convert what JSON has no type for: a string becomes a path."""
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise msgspec.ValidationError(f"expected `{kind.__name__}`, got `{type(value).__name__}`")


def _replace(base: Config, values: dict[str, Any]) -> Config:
    """`dataclasses.replace`, with each setting put into its section."""
    changes: dict[str, Any] = {}
    sections = _sections(type(base))
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        if field.name in sections:
            changes[field.name] = _replace(getattr(base, field.name), values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
