"""The parts of a bundle, by role and kind. A kind's module is imported when it is asked for, so that a
bundle without a network never loads torch."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, Self

from napari_bloodcell.core.errors import ArtifactError


class Part(Protocol):
    """What segmenters, embedders and classifiers share. ``hash`` changes whenever the answers would."""

    @property
    def kind(self) -> str: ...

    @property
    def hash(self) -> str: ...

    def save(self, folder: Path) -> list[str]:
        """Write files whose names start with the part's role; returns their names, none where nothing is
        to be kept."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Registry(Mapping[str, type[Any]]):
    """Kind -> class of one role. ``homes`` are written ``"module:Class"``. Packages of others bring theirs
    under the entry points ``group``; a script brings its own by ``register``."""

    def __init__(self, role: str, homes: Mapping[str, str], group: str = "") -> None:
        self.role = role
        self._homes = dict(homes)
        self._group = group
        self._brought: dict[str, type[Any]] = {}

    def register(self, kind: str, made: type[Any]) -> None:
        """From now on, in this program. Kinds of ours stay ours: bundles name them."""
        if kind in self._homes:
            raise ArtifactError(f"The {self.role} {kind!r} is one of ours. Give yours another name.")
        if not re.fullmatch(r"[A-Za-z][\w.+-]*", kind):
            raise ArtifactError(f"{kind!r} is no name for an {self.role}: take letters, digits and . _ + -.")
        self._brought[kind] = made

    def __getitem__(self, kind: str) -> type[Any]:
        if kind in self._homes:
            module, _, name = self._homes[kind].partition(":")
            found: type[Any] = getattr(import_module(module), name)
            return found
        if kind in self._brought:
            return self._brought[kind]
        if kind in self._points:
            loaded: type[Any] = self._points[kind].load()
            return loaded
        raise ArtifactError(
            f"There is no {self.role} {kind!r}; there are {', '.join(self)}. Install a newer release (pip "
            "install -U napari-bloodcell), or the package that brings it."
        )

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        """Installed packages that bring one; none is loaded before it is asked for."""
        found = entry_points(group=self._group) if self._group else ()
        return {point.name: point for point in found if point.name not in self._homes}

    def __iter__(self) -> Iterator[str]:
        return iter({**self._homes, **self._brought, **self._points})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, kind: object) -> bool:
        return kind in self._homes or kind in self._brought or kind in self._points
