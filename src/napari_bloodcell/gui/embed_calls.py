"""What the embed panel has done in its task: fields and a way to describe cells -> a map of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, within
from napari_bloodcell.gui.loading import load_for, load_torch
from napari_bloodcell.gui.outlines import Outlined

if TYPE_CHECKING:
    from napari_bloodcell.core.cellmap import CellVectors
    from napari_bloodcell.core.embed import Embedder
    from napari_bloodcell.core.embed.plane import How, Plane


@dataclass(frozen=True)
class Way:
    """A way to describe cells: a model by name or place, or measurements alone where ``bundle`` is empty."""

    text: str
    bundle: str = ""
    one_stain: bool = False  # bring all fields to one stain first


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapped:
    way: Way
    vectors: "CellVectors"
    plane: "Plane"


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Rows of all maps are the same cells."""

    maps: tuple[Mapped, ...]
    fields: tuple[Outlined, ...]

    @property
    def field(self) -> Any:
        return self.maps[0].vectors.field

    @property
    def cell_id(self) -> Any:
        return self.maps[0].vectors.cell_id


def prepare(progress: Progress) -> list[str]:
    from napari_bloodcell.core.bundle import shipped
    from napari_bloodcell.core.cellmap import vectors_of  # noqa: F401
    from napari_bloodcell.core.embed.plane import to_plane  # noqa: F401

    progress("Loading", 0, 0)
    return shipped()


def kept_ways() -> list[Way]:
    """Embedders and models a person trained or adapted and kept. By name alone, nothing is read."""
    from napari_bloodcell.core.bundle.kept import kept_bundles
    from napari_bloodcell.core.embed.choose import kept_embedders

    embedders = [Way(f"Embedder {path.name}", str(path)) for path in kept_embedders()]
    return [*embedders, *(Way(f"Model {path.stem}", str(path)) for path in kept_bundles())]


def embed_fields(fields: "list[Outlined]", ways: list[Way], how: "How", progress: Progress) -> Embedded:
    from napari_bloodcell.core.cellmap import in_one_stain, vectors_of
    from napari_bloodcell.core.embed.plane import to_plane

    progress("Reading the images", 0, 0)
    as_they_are = [one.read() for one in fields]
    alike = None
    maps = []
    for way in ways:
        seen = within(progress, way.text) if len(ways) > 1 else progress
        seen("Loading the model", 0, 0)
        if way.one_stain:
            load_torch(seen)
        if way.bundle:
            if _is_embedder(way.bundle):
                load_torch(seen)
            else:
                load_for(way.bundle, seen)
        if way.one_stain and alike is None:
            alike = in_one_stain(as_they_are, progress=seen)
        taken = alike if way.one_stain and alike is not None else as_they_are
        vectors = vectors_of(taken, embedder_of(way), progress=seen)
        maps.append(Mapped(way=way, vectors=vectors, plane=to_plane(vectors.values, how, progress=seen)))
    return Embedded(maps=tuple(maps), fields=tuple(fields))


def _is_embedder(place: str) -> bool:
    """Whether a folder holds a trained embedder alone, and no model."""
    from napari_bloodcell.core.bundle.members import MANIFEST
    from napari_bloodcell.core.embed.choose import FILE

    folder = Path(place)
    return (folder / FILE).is_file() and not (folder / MANIFEST).is_file()


def embedder_of(way: Way) -> "Embedder":
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.embed.measurements import MeasurementEmbedder

    if not way.bundle:
        return MeasurementEmbedder()
    if _is_embedder(way.bundle):
        from napari_bloodcell.core.embed.choose import find_embedder

        return find_embedder(way.bundle)
    return load_bundle(way.bundle).embedder


def judge(maps: tuple[Mapped, ...], classes: list[str], images: list[str], progress: Progress) -> str:
    """The figures of each map in words; each image counts as a lab."""
    from napari_bloodcell.core.embed.judge import judge as judge_labs
    from napari_bloodcell.core.embed.plane import class_in_words, standardised

    texts = []
    for one in maps:
        progress("Judging", 0, 0)
        try:
            ready = standardised(one.vectors.values)
            words = judge_labs(ready, images, classes, name=one.way.text, progress=progress).words()
        except DataError as refused:
            words = f"{one.way.text}: {refused}"
        texts.append(f"{words}\n{class_in_words(one.vectors.values, classes)}")
    return "\n\n".join(texts)


def write_vectors(path: Path, embedded: Embedded, columns: dict[str, list[str]], progress: Progress) -> Path:
    """A row a cell: image, cell, class, place on each map, and the vectors of the first one."""
    import pandas as pd

    from napari_bloodcell.core.artifact import atomic_path

    progress("Writing", 0, 0)
    first = embedded.maps[0].vectors
    table = pd.DataFrame({**columns, "cell_id": embedded.cell_id})
    for number, one in enumerate(embedded.maps, 1):
        table[f"map{number}_1"], table[f"map{number}_2"] = one.plane.xy.T
    vectors = pd.DataFrame(first.values, columns=list(first.names))
    from napari_bloodcell.core.rows import harmless_table

    with atomic_path(path) as temporary:
        harmless_table(pd.concat([table, vectors], axis=1)).to_csv(temporary, index=False)
    return path


Asked = Callable[["list[Outlined]", list[Way], "How", Progress], Embedded]
