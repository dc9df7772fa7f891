"""What is in a folder of cells: counts, gaps, and everything that was left out with its reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_bloodcell.core.datasets.doubles import contradictions
from napari_bloodcell.core.datasets.headers import read_header
from napari_bloodcell.core.datasets.records import CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.registry import load_dataset
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.datasets.usable import is_mask, why_not
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT, Taxonomy

UNREADABLE_MASK = "unreadable mask (its cell is kept)"
OTHER_SIZE_MASK = "mask of another size than its image (its cell is kept)"

_PROGRESS_EVERY = 200


@dataclass(frozen=True)
class SkipGroup:
    reason: str
    count: int
    example: str  # relative to the root


@dataclass(frozen=True)
class DomainReport:
    name: str
    counts: dict[str, int]  # cells by class
    unlabelled: int
    with_mask: int
    with_group: int
    groups: int
    with_scale: int
    um_per_px: tuple[float, float] | None  # least and greatest
    missing: tuple[str, ...]  # classes that other domains have, or any differential has
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None  # (width, height), least and greatest
    other_sizes: int = 0  # images that differ from the size the set is known for
    modes: dict[str, int] | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class CheckReport:
    root: Path
    dataset: str
    domains: tuple[DomainReport, ...]
    skipped: tuple[SkipGroup, ...]
    notes: tuple[str, ...]
    deep: bool

    @property
    def total(self) -> int:
        return sum(domain.total for domain in self.domains)

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class found, the most frequent first."""
        whole: Counter[str] = Counter()
        for domain in self.domains:
            whole.update(domain.counts)
        return tuple(sorted(whole, key=lambda name: (-whole[name], name)))

    def text(self) -> str:
        from napari_bloodcell.core.datasets.check_text import render

        return render(self)

    def to_json(self) -> dict[str, Any]:
        return {
            "root": str(self.root),
            "dataset": self.dataset,
            "deep": self.deep,
            "cells": self.total,
            "domains": [_domain_json(domain) for domain in self.domains],
            "skipped": [vars(group) | {} for group in self.skipped],
            "notes": list(self.notes),
        }


def _domain_json(domain: DomainReport) -> dict[str, Any]:
    values = vars(domain) | {"total": domain.total, "missing": list(domain.missing)}
    values["um_per_px"] = list(domain.um_per_px) if domain.um_per_px else None
    values["sizes"] = [list(size) for size in domain.sizes] if domain.sizes else None
    return values


@dataclass
class _Looked:
    """What opening the pictures of one domain told."""

    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    other_sizes: int = 0


def check(
    path: Path,
    *,
    name: str | None = None,
    deep: bool = False,
    taxonomy: Taxonomy | None = None,
    preset: Preset = "standard",
    progress: Progress = silent,
) -> CheckReport:
    """Look a folder through. ``deep`` reads every picture, which also finds those that cannot be used."""
    dataset = load_dataset(path, name, taxonomy=taxonomy, preset=preset)
    looked: dict[str, _Looked] = {}
    if deep:
        dataset, looked = _open_all(dataset, progress)
    present = {cell.class_name for cell in dataset.cells}
    domains = tuple(
        _domain(dataset, domain, present, dataset.taxonomy, looked.get(domain)) for domain in dataset.domains
    )
    notes = (*dataset.notes, *contradictions(dataset.cells), *_lonely(dataset))
    return CheckReport(
        dataset.root, dataset.name, domains, _grouped(dataset.skipped, dataset.root), notes, deep
    )


def _lonely(dataset: Dataset) -> list[str]:
    counts = Counter(cell.class_name for cell in dataset.cells)
    lonely = sorted(name for name, cells in counts.items() if cells == 1)
    if not lonely:
        return []
    return [f"Classes with a single cell, which no classifier can be trained on: {', '.join(lonely)}."]


def _domain(
    dataset: Dataset, name: str, present: set[str], taxonomy: Taxonomy, looked: _Looked | None
) -> DomainReport:
    cells = dataset.of_domain(name)
    counts = Counter(cell.class_name for cell in cells)
    scales = [cell.um_per_px for cell in cells if cell.um_per_px is not None]
    groups = [cell.group for cell in cells if cell.group is not None]
    report = DomainReport(
        name,
        dict(counts),
        sum(cell.domain == name for cell in dataset.unlabelled),
        sum(cell.has_mask for cell in cells),
        len(groups),
        len(set(groups)),
        len(scales),
        (min(scales), max(scales)) if scales else None,
        missing_classes(set(counts), present, taxonomy),
    )
    return report if looked is None else _with_headers(report, looked)


def _with_headers(report: DomainReport, looked: _Looked) -> DomainReport:
    widths = [width for width, _ in looked.sizes]
    heights = [height for _, height in looked.sizes]
    span = ((min(widths), min(heights)), (max(widths), max(heights))) if widths else None
    return replace(report, sizes=span, other_sizes=looked.other_sizes, modes=dict(looked.modes))


def missing_classes(have: set[str], present: Iterable[str], taxonomy: Taxonomy = DEFAULT) -> tuple[str, ...]:
    """Classes found elsewhere, and coarse ones, that a domain lacks.

    A coarse label may hide any of its fine ones, and a fine one stands for its coarse one.
    """
    parents = {taxonomy.coarse(name) for name in have}

    def lacks(name: str) -> bool:
        parent = taxonomy.coarse(name)
        hidden = parent != name and parent in have
        as_parent = parent == name and name in parents
        return name not in have and not hidden and not as_parent

    return tuple(sorted(name for name in {*present, *COARSE} if lacks(name)))


def _grouped(skipped: Iterable[Skipped], root: Path) -> tuple[SkipGroup, ...]:
    first: dict[str, Path] = {}
    counts: Counter[str] = Counter()
    for item in skipped:
        first.setdefault(item.reason, item.path)
        counts[item.reason] += item.count
    return tuple(SkipGroup(reason, n, _relative(first[reason], root)) for reason, n in counts.most_common())


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _open_all(dataset: Dataset, progress: Progress) -> tuple[Dataset, dict[str, _Looked]]:
    """The pictures of all cells. Those that cannot be used leave the set; wrong masks are only reported."""
    loaded = dataset.name.split(" + ")  # a lab's own folder may be called as a public set is
    expected = {info.domain: info.size_px for info in DATASETS.values() if info.name in loaded}
    looked = {domain: _Looked(Counter(), Counter()) for domain in dataset.domains}
    kept: dict[bool, list[CellImage]] = {True: [], False: []}
    bad: list[Skipped] = []
    unusable: dict[Path, str | None] = {}
    everything = [*((cell, True) for cell in dataset.cells), *((cell, False) for cell in dataset.unlabelled)]
    for done, (cell, labelled) in enumerate(everything):
        if done % _PROGRESS_EVERY == 0:
            progress("opening images", done, len(everything))
        if cell.path not in unusable:  # a field holds many cells
            unusable[cell.path] = why_not(cell)
        reason, header = unusable[cell.path], read_header(cell.path)
        if reason is not None:
            bad.append(Skipped(cell.path, reason))
            continue
        kept[labelled].append(cell)
        if header is None:
            continue
        domain = looked[cell.domain]
        domain.sizes[header.size] += 1
        domain.modes[header.mode] += 1
        usual = expected.get(cell.domain)
        domain.other_sizes += usual is not None and header.size != usual
        bad += _check_mask(cell, header.size)
    progress("opening images", len(everything), len(everything))
    whole = replace(
        dataset,
        cells=tuple(kept[True]),
        unlabelled=tuple(kept[False]),
        skipped=(*dataset.skipped, *bad),
    )
    return whole, looked


def _check_mask(cell: CellImage, size: tuple[int, int]) -> list[Skipped]:
    if cell.mask_path is None:
        return []
    header = read_header(cell.mask_path)
    if header is None or not is_mask(cell.mask_path):
        return [Skipped(cell.mask_path, UNREADABLE_MASK)]
    return [] if header.size == size else [Skipped(cell.mask_path, OTHER_SIZE_MASK)]
