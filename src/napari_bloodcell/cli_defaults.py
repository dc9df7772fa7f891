"""Flags whose defaults are those of a recipe.

A config that is partly given on the command line is filled up from the defaults of its class. Where those of
a method differ, the class must be one that has them: else one flag would throw the rest of the recipe away.
"""

import typing
from dataclasses import dataclass, fields

from napari_bloodcell.core.config import TrainConfig


def with_defaults(recipe: TrainConfig) -> type[TrainConfig]:
    """``TrainConfig``, with the recipe's values as defaults; the help names them."""
    body = {field.name: getattr(recipe, field.name) for field in fields(TrainConfig)}
    about = {
        "__annotations__": typing.get_type_hints(TrainConfig, include_extras=True),
        "__module__": TrainConfig.__module__,
        "__doc__": TrainConfig.__doc__,
    }
    return dataclass(frozen=True, kw_only=True)(type(TrainConfig.__name__, (TrainConfig,), body | about))


def plain(loop: TrainConfig) -> TrainConfig:
    """As scripts write it: equal to a recipe where nothing was changed."""
    return TrainConfig.from_json(loop.to_json())
