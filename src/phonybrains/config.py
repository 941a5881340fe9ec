"""Configuration: one frozen pydantic model per stage, from a TOML file and the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, field_validator

from .errors import ConfigError
from .files import at_home

WRONG_KIND = {
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "path_type": "should be a path, in quotes",
    "tuple_type": "should be a list",
}
"""What TOML calls what pydantic has other names for, by the kind of its error."""


class Config(BaseModel):
    """Base of the stages' configurations: frozen; a key that is not known is an error, and so is nan or inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    free_tables: ClassVar[tuple[str, ...]] = ()
    """Tables whose keys are the user's own: the name of a setting in one of them is a setting at the wrong level."""

    @classmethod
    def spelt_out(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values with short forms written at length, so that one layer can be laid over another."""
        return values

    @field_validator("*", mode="wrap")
    @classmethod
    def _true_is_no_number(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        found = read(value)
        if isinstance(value, bool) and not isinstance(found, bool):
            raise ValueError(f"should be something else than {str(value).lower()}")
        return found


C = TypeVar("C", bound="Config")


def load_config(kind: type[C], *paths: str | Path | None, **given: Any) -> C:
    """Read TOML files, later ones laid over earlier ones table by table, and the given values that are not None on top.

    Raises ConfigError naming the file, the key and what is wrong with its value.
    """
    layers = [(str(path), kind.spelt_out(_read_toml(Path(path)))) for path in paths if path is not None]
    given = {name: value for name, value in given.items() if value is not None}
    layers.append(("configuration", kind.spelt_out(given)))
    where = ", ".join(str(path) for path in paths if path) or "configuration"
    values: dict[str, Any] = {}
    for _, layer in layers:
        _lay_over(values, layer)
    for table in kind.free_tables:
        for key in _keys_below(values.get(table)):
            if key in kind.model_fields:
                how = "Write it above the first line in brackets."
                raise ConfigError(f"{where}: {key} stands in the table [{table}], where it is no setting. {how}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = next((name for name, layer in reversed(layers) if _holds(layer, first["loc"])), where)
        key = ".".join(_written(first["loc"], values))
        wrong = WRONG_KIND.get(first["type"], first["msg"].removeprefix("Value error, ").rstrip("."))
        known = f" Known: {', '.join(kind.model_fields)}." if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{where}: {f'{key}: ' if key else ''}{wrong}.{known}") from None


def _holds(values: Any, place: tuple[int | str, ...]) -> bool:
    """Whether a layer says something of the setting at a place."""
    if not place or not isinstance(values, dict) or place[0] not in values:
        return False
    below = values[place[0]]
    return len(place) == 1 or not isinstance(below, dict) or _holds(below, place[1:])


def _written(place: tuple[int | str, ...], values: Any) -> Iterator[str]:
    """The keys of a place as the person wrote them, without the kinds that pydantic tried one after the other."""
    for part in place:
        if not isinstance(values, (dict, list, tuple) if isinstance(part, int) else dict):
            return
        yield str(part)
        values = values.get(part) if isinstance(values, dict) else values[int(part)]


def _keys_below(table: object) -> Iterator[str]:
    for key, value in table.items() if isinstance(table, dict) else ():
        yield key
        yield from _keys_below(value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return _at_home(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from None


def _at_home(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _at_home(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_at_home(value) for value in values]
    return at_home(values) if isinstance(values, str) else values


def _lay_over(values: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _lay_over(values[name], value)
        else:
            values[name] = value
