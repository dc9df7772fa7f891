"""Flags whose defaults are those of a recipe.

A config that is partly given on the command line is filled up from the defaults of its class. Where those of
a method differ, the class must be one that has them: else one flag would throw the rest of the recipe away.
"""

import typing
from dataclasses import dataclass, fields
from typing import TypeVar, cast

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
