"""Data sets -> one table of labelled cells: class at one level, lab, and what belongs together."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.datasets import CellImage, Dataset, contradictions, left_out, load_dataset
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy

REPORT_EVERY = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class CellTable:
    """All arrays have one entry a cell. ``key`` is a hash of its pixels and place, ``group`` of what must
    stay together: a patient or slide where known, else the picture itself."""

    cells: tuple[CellImage, ...]
    labels: NDArray[np.str_]
    lab: NDArray[np.str_]
    group: NDArray[np.str_]
    key: NDArray[np.str_]
    level: str
    notes: tuple[str, ...]
    taxonomy: Taxonomy = DEFAULT  # with the sets' own classes

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def labs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.lab.tolist()))

    def kept(self, rows: NDArray[np.int64]) -> "CellTable":
        """Some of the cells."""
        arrays = {name: getattr(self, name)[rows] for name in ("labels", "lab", "group", "key")}
        return replace(self, cells=tuple(self.cells[row] for row in rows), **arrays)

    def rows_of(self, lab: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.lab == lab)


def gather(
    paths: Sequence[str | Path],
    config: EvaluateConfig,
    answers: Collection[str] = (),
    *,
    progress: Progress = silent,
) -> CellTable:
    """Every labelled cell of the folders. Labs of the same name in two folders keep apart. ``answers``: the
    classes of models that are not trained here; whether they name bands matters as it does for a lab."""
    sets = [load_dataset(Path(path), preset=config.preset) for path in paths]
    sets = _keep_apart(sets)
    cells = tuple(cell for one in sets for cell in one.cells)
    taxonomy = Taxonomy.joined([one.taxonomy for one in sets])
    labels, level, notes = _at_level([cell.class_name for cell in cells], config.level, taxonomy, answers)
    images, keys = _keys(cells, progress)
    group = [
        f"{cell.domain}/{cell.group}" if cell.group else image
        for cell, image in zip(cells, images, strict=True)
    ]
    return CellTable(
        cells=cells,
        labels=np.asarray(labels, np.str_),
        lab=np.asarray([cell.domain for cell in cells], np.str_),
        group=np.asarray(group, np.str_),
        key=np.asarray(keys, np.str_),
        level=level,
        taxonomy=taxonomy,
        notes=(
            *notes,
            *(note for one in sets for note in one.notes),
            *left_out(sets),
            *contradictions(cells),
        ),
    )


def _keep_apart(sets: list[Dataset]) -> list[Dataset]:
    """Labs of one name are called by the folder they lie in too: ``cells (north)`` and ``cells (south)``."""
    times = Counter(domain for one in sets for domain in one.domains)
    taken: set[str] = set()
    result = []
    for one in sets:
        ready, above = one, one.root.absolute().parent.name
        for domain in one.domains:
            name, number = f"{domain} ({above})" if times[domain] > 1 and above else domain, 2
            while name in taken:
                name, number = f"{domain} ({number})", number + 1
            ready = ready.renamed(domain, name) if name != domain else ready
            taken.add(name)
        result.append(ready)
    return result


def _at_level(
    labels: list[str], level: str, taxonomy: Taxonomy, answers: Collection[str]
) -> tuple[list[str], str, list[str]]:
    """Labs that name only "neutrophil" cannot be compared with labs that tell bands, but as neutrophils."""
    found = {*labels, *answers}
    parents = {parent for name in found if (parent := taxonomy.coarse(name)) != name}
    mixed = sorted(parents & found)
    if level == "fine" or (level == "auto" and not mixed):
        return labels, "fine", []
    notes = []
    if mixed and level == "auto":
        who = "some labs" if set(mixed) & set(labels) else "a bundle"
        whom = "names" if who == "a bundle" else "name"
        notes = [f"Classes are compared at the coarse level: {who} {whom} {', '.join(mixed)} as a whole."]
    return [taxonomy.coarse(name) for name in labels], "coarse", notes


def _keys(cells: Sequence[CellImage], progress: Progress) -> tuple[list[str], list[str]]:
    """Hash of each picture; and of picture, mask, box and scale together."""
    hashes: dict[Path, str] = {}

    def of(path: Path | None) -> str:
        if path is None:
            return ""
        if path not in hashes:
            hashes[path] = _hash_or_name(path)
        return hashes[path]

    images, keys = [], []
    for row, cell in enumerate(cells):
        if row % REPORT_EVERY == 0:
            progress("Reading cells", row, len(cells))
        parts = f"{of(cell.path)} {of(cell.mask_path)} {cell.box_xyxy} {cell.um_per_px}"
        parts += "" if cell.outline is None else f" {cell.outline}"
        images.append(of(cell.path))
        keys.append(hashlib.sha256(parts.encode()).hexdigest())
    return images, keys


def _hash_or_name(path: Path) -> str:
    """A picture that cannot be read is told later, when it is cut out."""
    try:
        return hash_file(path)
    except OSError:
        return hashlib.sha256(str(path).encode()).hexdigest()


def check_cells(table: CellTable) -> None:
    if not len(table):
        raise DataError("No labelled cell was found. See what is there: napari-bloodcell datasets check DATA")


def check_labs(table: CellTable, protocol: str) -> None:
    """Before long work: enough labs, and more than one class in what is trained on."""
    check_cells(table)
    if protocol != "cross-domain" and len(table.labs) < 2:
        raise DataError(
            f"{protocol} needs two labs at least; there is only {table.labs[0]!r}. Give folders of several "
            "labs, or take --protocol cross-domain."
        )
    for lab in table.labs:
        classes = sorted(set(table.labels[table.rows_of(lab)].tolist()))
        if protocol == "cross-domain" and len(classes) < 2:
            raise DataError(
                f"All {len(table.rows_of(lab))} cells of {lab} are {classes[0]}: no classifier can be "
                "trained on one class. Leave this lab out, or take --protocol leave-one-lab-out."
            )
