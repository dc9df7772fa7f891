"""The parts of a bundle, by role and kind. A kind's module is imported when it is asked for, so that a
bundle without a network never loads torch."""

from collections.abc import Iterator, Mapping
from importlib import import_module
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
    """Kind -> class of one role. ``homes`` are written ``"module:Class"``."""

    def __init__(self, role: str, homes: Mapping[str, str]) -> None:
        self.role = role
        self._homes = dict(homes)

    def __getitem__(self, kind: str) -> type[Any]:
        if kind not in self._homes:
            raise ArtifactError(
                f"There is no {self.role} {kind!r}; this release has {', '.join(self._homes)}. "
                "Install a newer release: pip install -U napari-bloodcell"
            )
        module, _, name = self._homes[kind].partition(":")
        found: type[Any] = getattr(import_module(module), name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __contains__(self, kind: object) -> bool:
        return kind in self._homes
