"""What all configs share: a label and bounds for each field, checks, JSON."""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self

from napari_bloodcell.core.errors import ConfigError


@dataclass(frozen=True)
class Knob:
    """Label and bounds of one field. Bounds are inclusive."""

    label: str
    low: float | None = None
    high: float | None = None
    unit: str = ""


def knobs_of(config_class: type) -> dict[str, Knob]:
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {
        name: next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Knob)), Knob(name))
        for name, hint in hints.items()
    }


def types_of(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configs: checks its fields, goes to JSON and back."""

    def __post_init__(self) -> None:
        hints, knobs = types_of(type(self)), knobs_of(type(self))
        for name in knobs:
            _check(f"{type(self).__name__}.{name}", getattr(self, name), hints[name], knobs[name])

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuild from stored JSON; an unknown field is named, not ignored."""
        hints = types_of(cls)
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(
                f"{cls.__name__} has no setting {unknown[0]!r}. It has: {', '.join(sorted(hints))}. "
                "A file written by a newer release needs that release."
            )
        ready: dict[str, Any] = {}
        for name, value in values.items():
            hint = hints[name]
            if isinstance(hint, type) and issubclass(hint, Config):
                ready[name] = hint.from_json(value)
            else:
                ready[name] = tuple(value) if isinstance(value, list) else value
        return cls(**ready)


def _check(where: str, value: Any, hint: Any, knob: Knob) -> None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return
    if not any(_fits(value, option) for option in options):
        raise ConfigError(f"{where} = {value!r} is not accepted; it takes {_describe(options)}.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low = knob.low is not None and value < knob.low
        too_high = knob.high is not None and value > knob.high
        if too_low or too_high or value != value:  # noqa: PLR0124 (NaN)
            low = "-inf" if knob.low is None else f"{knob.low:g}"
            high = "inf" if knob.high is None else f"{knob.high:g}"
            unit = f" {knob.unit}" if knob.unit else ""
            raise ConfigError(f"{where} = {value!r} is out of range; it takes {low} to {high}{unit}.")


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(isinstance(v, typing.get_args(hint)[0]) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(options: tuple[Any, ...]) -> str:
    plain = {"int": "a whole number", "float": "a number", "str": "text", "bool": "yes or no"}
    words: list[str] = []
    for option in options:
        if typing.get_origin(option) is Literal:
            words.extend(repr(v) for v in typing.get_args(option))
        elif option is type(None):
            words.append("none")
        elif typing.get_origin(option) is tuple:
            words.append(f"a list of {typing.get_args(option)[0].__name__}")
        else:
            words.append(plain.get(option.__name__, option.__name__))
    return " or ".join(words)
