"""Flags whose defaults are those of a recipe.

A config that is partly given on the command line is filled up from the defaults of its class. Where those of
a method differ, the class must be one that has them: else one flag would throw the rest of the recipe away.
"""

import typing
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, cast

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.config.base import Config

C = TypeVar("C", bound=Config)


def with_defaults(recipe: C) -> type[C]:
    """The class of ``recipe``, with the recipe's values as defaults; the help names them."""
    kind = type(recipe)
    body = {field.name: getattr(recipe, field.name) for field in fields(kind)}
    about = {
        "__annotations__": typing.get_type_hints(kind, include_extras=True),
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    return dataclass(frozen=True, kw_only=True)(type(kind.__name__, (kind,), body | about))


def plain(given: C) -> C:
    """As scripts write it: equal to a recipe where nothing was changed."""
    kind: type[Config] | None = type(given).__base__
    if kind is None or kind is Config:  # not of ``with_defaults``
        return given
    return cast("C", kind.from_json(given.to_json()))


def asked(config: type[Any], **parts: type[Any]) -> type[Any]:
    """``config`` as flags that may be left out: what was not said is None, and is settled later. With
    ``parts``, only these parts of it are such."""
    hints, defaults = typing.get_type_hints(config, include_extras=True), dict[str, Any]()
    for name, hint in hints.items():
        if name in parts:
            hints[name], defaults[name] = parts[name], parts[name]()
        elif not parts:
            said, *told = typing.get_args(hint)
            hints[name], defaults[name] = Annotated[(said | None, *told)], None
    body: dict[str, Any] = {
        "__annotations__": hints,
        "__module__": config.__module__,
        "__doc__": config.__doc__,
    }
    if not parts:
        body["__post_init__"] = lambda _: None  # checked once it is settled
    return dataclass(frozen=True, kw_only=True)(type(config.__name__, (config,), body | defaults))


def said(config: CountConfig) -> dict[str, Any]:
    """The settings that were said, of flags that may be left out."""
    return {name: value for name, value in config.to_json().items() if value is not None}
