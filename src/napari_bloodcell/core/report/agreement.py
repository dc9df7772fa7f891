"""How far people agree on the cells they named: each two of them, and all together.

Windows, terminal and reports call ``agreements``. Kappa is Cohen's, with the large-sample limits of Fleiss,
Cohen and Everitt (1969); where two agree on all, the lower limit is that of the share they agree on, which is
exact. All together is Krippendorff's alpha for classes (nominal; Krippendorff, "Computing Krippendorff's
alpha-reliability", 2011), which takes readers who named different cells; its limits are of cells drawn anew.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.report.differential import exact_limits
from napari_bloodcell.core.report.readers import Cell, Reader
from napari_bloodcell.core.words import how_many

LEAST_FOR_LIMITS = 20  # the limits are those of large samples
THREE = 3  # two readers have their kappa
DRAWS, SEED = 2_000, 0
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of the cells both looked at. ``kappa`` is 1 for full agreement, 0 for what chance alone would give."""

    readers: tuple[str, str]
    cells: int
    agreed: int
    kappa: float | None  # None where both gave one and the same class to all
    low: float | None  # neither limit, where there are few cells
    high: float | None
    disputed: tuple[tuple[Cell, str, str], ...]

    @property
    def share(self) -> float:
        return self.agreed / self.cells if self.cells else 0.0

    def text(self) -> str:
        first, second = self.readers
        if not self.cells:
            return f"{first} and {second} looked at no cell in common."
        said = f"{first} and {second} agree on {self.agreed} of {self.cells} cells ({self.share:.0%})"
        if self.kappa is None:
            return f"{said}; kappa is not defined: both gave one class to all."
        return f"{said}, Cohen's kappa {self.kappa:.2f} ({_limits_told(self.low, self.high)})."


@dataclass(frozen=True, kw_only=True)
class Agreements:
    """Of two readers or more. ``alpha`` is as kappa, of all readers at once."""

    readers: tuple[str, ...]
    pairs: tuple[Agreement, ...]
    cells: int  # that two readers at least have named
    alpha: float | None  # None of two readers, and where all gave one and the same class
    low: float | None  # of alpha; neither limit, where there are few cells
    high: float | None
    disputed: tuple[tuple[Cell, tuple[str, ...]], ...]  # what each reader said; "" where nothing

    def texts(self) -> list[str]:
        return [*(pair.text() for pair in self.pairs), *filter(None, [self._overall()])]

    def text(self) -> str:
        return "\n".join(self.texts())

    def _overall(self) -> str:
        if len(self.readers) < THREE or not self.cells:
            return ""
        of = f"of the {how_many(self.cells, 'cell')} that two or more have named"
        if self.alpha is None:
            return f"All {len(self.readers)} readers: Krippendorff's alpha is not defined {of}: one class."
        limits = _limits_told(self.low, self.high)
        return f"All {len(self.readers)} readers: Krippendorff's alpha {self.alpha:.2f} ({limits}) {of}."

    def to_json(self) -> dict[str, Any]:
        pairs = [asdict(pair) | {"text": pair.text()} for pair in self.pairs]
        for pair in pairs:
            del pair["disputed"]
        return {
            "readers": list(self.readers),
            "pairs": pairs,
            "cells": self.cells,
            "alpha": self.alpha,
            "alpha_low": self.low,
            "alpha_high": self.high,
            "text": self.text(),
        }


def agreements(readers: Sequence[Reader], always: Sequence[Reader] = ()) -> Agreements | None:
    """Each two readers who named a cell in common, and all of those together; None where there are no two.
    Two of the readers ``always`` are told of also where they have no cell in common."""
    asked = {one.name for one in always}
    pairs = [agreement(a, b) for a, b in combinations(readers, 2)]
    pairs = [one for one in pairs if one.cells or asked.issuperset(one.readers)]
    if not pairs:
        return None
    named = {name for one in pairs for name in one.readers}
    some = [one for one in readers if one.name in named]
    alpha = alpha_of(some) if len(some) >= THREE else None
    low, high = (None, None) if alpha is None else _limits_of_alpha(some)
    return Agreements(
        readers=tuple(one.name for one in some),
        pairs=tuple(pairs),
        cells=sum(len(said) > 1 for said in _by_cell(some).values()),
        alpha=alpha,
        low=low,
        high=high,
        disputed=tuple(
            (cell, tuple(one.answers.get(cell, "") for one in some))
            for cell, said in sorted(_by_cell(some).items())
            if len(set(said)) > 1
        ),
    )


def agreement(first: Reader, second: Reader) -> Agreement:
    common = sorted(set(first.answers) & set(second.answers))
    pairs = [(first.answers[cell], second.answers[cell]) for cell in common]
    kappa, error, chance = _kappa(pairs)
    agreed = sum(a == b for a, b in pairs)
    is_few = len(pairs) < LEAST_FOR_LIMITS
    low = -1.0 if kappa is None else kappa - 1.96 * error
    if kappa is not None and agreed == len(pairs):  # the formula has no room for what was not seen yet
        low = (exact_limits(agreed, agreed)[0] - chance) / (1 - chance)
    return Agreement(
        readers=(first.name, second.name),
        cells=len(common),
        agreed=agreed,
        kappa=kappa,
        low=None if kappa is None or is_few else max(-1.0, low),
        high=None if kappa is None or is_few else min(1.0, kappa + 1.96 * error),
        disputed=tuple((cell, a, b) for cell, (a, b) in zip(common, pairs, strict=True) if a != b),
    )


def alpha_of(readers: Sequence[Reader]) -> float | None:
    """Krippendorff's alpha of classes: 1 - observed / expected disagreement, over all pairs of answers to one
    cell and over all pairs of answers. None where only one class was given."""
    kinds, times = _kinds_of_cells(readers)
    alpha = float(_alphas(kinds, times[None])[0])
    return None if np.isnan(alpha) else alpha


def _limits_of_alpha(readers: Sequence[Reader]) -> tuple[float, float] | tuple[None, None]:
    """From cells drawn anew; where all agree, no draw holds what was not seen yet: then the lower limit is
    that of the share of cells agreed on, which is exact."""
    kinds, times = _kinds_of_cells(readers)
    cells = int(times.sum())
    if cells < LEAST_FOR_LIMITS:
        return None, None
    drawn = np.random.default_rng(SEED).multinomial(cells, times / cells, size=DRAWS)
    alphas = _alphas(kinds, drawn)
    low, high = np.quantile(alphas[~np.isnan(alphas)], [0.025, 0.975])
    if (kinds.max(axis=1) == kinds.sum(axis=1)).all():
        total = times @ kinds
        chance = float(total @ (total - 1) / (total.sum() * (total.sum() - 1)))
        low = (exact_limits(cells, cells)[0] - chance) / (1 - chance)
    return max(-1.0, float(low)), float(high)


def _kinds_of_cells(readers: Sequence[Reader]) -> tuple[Counts, Counts]:
    """Which answers cells got (kinds of cell x classes), and how many cells got these. Of cells that two or
    more have named."""
    said = [tuple(sorted(one)) for one in _by_cell(readers).values() if len(one) > 1]
    times = Counter(said)
    names = sorted({name for kind in times for name in kind})
    kinds = [[kind.count(name) for name in names] for kind in times]
    return np.array(kinds, np.int64).reshape(len(times), len(names)), np.array([*times.values()], np.int64)


def _alphas(kinds: Counts, times: Counts) -> NDArray[np.float64]:
    """Alpha of each row of ``times``, how often each kind of cell is there; nan where there is one class."""
    answers = kinds.sum(axis=1)
    total = times @ kinds
    n = total.sum(axis=1)
    expected = n**2 - (total**2).sum(axis=1)
    observed = times @ ((answers**2 - (kinds**2).sum(axis=1)) / (answers - 1))
    alphas: NDArray[np.float64] = np.full(len(times), np.nan)
    there = expected > 0
    alphas[there] = 1 - (n[there] - 1) * observed[there] / expected[there]
    return alphas


def joined(readers: Sequence[Reader], more: Sequence[Reader]) -> list[Reader]:
    """One reader a name: what ``readers`` said of a cell goes before what ``more`` of the same name did."""
    together: dict[str, Reader] = {}
    for one in (*readers, *more):
        known = together.get(one.name)
        answers = one.answers if known is None else {**one.answers, **known.answers}
        together[one.name] = Reader(name=one.name, answers=answers)
    return list(together.values())


def _limits_told(low: float | None, high: float | None) -> str:
    if low is None:
        return f"fewer than {LEAST_FOR_LIMITS} cells: too few for its limits"
    return f"95 % limits {low:.2f} to {high:.2f}"


def _by_cell(readers: Sequence[Reader]) -> dict[Cell, list[str]]:
    said: dict[Cell, list[str]] = {}
    for reader in readers:
        for cell, kind in reader.answers.items():
            said.setdefault(cell, []).append(kind)
    return said


def _kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float | None, float, float]:
    """Kappa, its standard error, and the agreement that chance alone would give."""
    if not pairs:
        return None, 0.0, 0.0
    names = sorted({name for pair in pairs for name in pair})
    index = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for a, b in pairs:
        table[index[a], index[b]] += 1
    table /= len(pairs)
    rows, columns, seen = table.sum(axis=1), table.sum(axis=0), float(np.trace(table))
    chance = float(rows @ columns)
    if np.isclose(chance, 1):
        return None, 0.0, chance
    kappa = (seen - chance) / (1 - chance)
    diagonal = np.diag(table) * ((1 - chance) - (rows + columns) * (1 - seen)) ** 2
    off = table * (columns[:, None] + rows[None, :]) ** 2
    np.fill_diagonal(off, 0)
    spread = diagonal.sum() + (1 - seen) ** 2 * off.sum() - (seen * chance - 2 * chance + seen) ** 2
    error = float(np.sqrt(max(0.0, spread) / len(pairs)) / (1 - chance) ** 2)
    return float(kappa), error, chance
