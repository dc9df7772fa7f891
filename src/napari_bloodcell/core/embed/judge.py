"""Is an embedding about the cell or about the lab? Four figures, each with a bootstrap interval.

lab_probe        how often the better of a linear and a neighbour probe names the lab of a held-out cell
                 (balanced accuracy). 1 / number of labs is chance.
mixing           share of other labs among a cell's nearest neighbours of its own class, over what a random
                 order would give: 1 is perfectly mixed, 0 apart.
class_silhouette how far classes stand apart, -1 to 1 (the mean over classes).
class_agreement_across_labs
                 a cell takes the class of its nearest cells of each other lab: how often that is right
                 (balanced over classes, over pairs of labs).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config import JudgeConfig
from napari_bloodcell.core.embed.plane import classes_in_words
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent

Array = NDArray[np.float64]
Places = NDArray[np.int64]

LEAST = 4  # cells of a lab, to hold some out; cells of a class in a lab, to be found there


@dataclass(frozen=True, kw_only=True)
class Figure:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """``figures`` by name; ``lab_chance`` is what guessing gives."""

    name: str
    cells: int
    labs: tuple[str, ...]
    classes: tuple[str, ...]
    lab_chance: float
    figures: dict[str, Figure]
    notes: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()  # the classes of which another lab has cells enough to compare

    def words(self) -> str:
        """The figures as a person would say them."""
        probe, agree = self.figures["lab_probe"], self.figures["class_agreement_across_labs"]
        above = (probe.value - self.lab_chance) / (1 - self.lab_chance)
        told = (
            "hardly tells the lab"
            if above < 0.2
            else ("half tells the lab" if above < 0.6 else "plainly tells the lab")
        )
        right = (
            f"the nearest cells of another lab are of the right class for {agree.value:.0%}, over the "
            f"{classes_in_words(self.compared)} that two labs have with {LEAST} cells or more"
            if agree.value == agree.value
            else "no two labs share a class with enough cells"
        )
        return (
            f"{self.name}: {told} ({probe.value:.0%} of cells are given to their lab, chance is "
            f"{self.lab_chance:.0%}); {right}."
        )


def judge(
    values: NDArray[np.floating],
    labs: list[str],
    classes: list[str],
    config: JudgeConfig = JudgeConfig(),
    *,
    name: str = "embedding",
    progress: Progress = silent,
) -> Judgement:
    """One embedding, N x D, with the lab and the class of each cell."""
    notes: tuple[str, ...] = ()
    if len(values) > config.at_most:
        chosen = np.sort(np.random.default_rng(config.seed).permutation(len(values))[: config.at_most])
        notes = (f"Judged on {config.at_most} of {len(values)} cells, drawn at random.",)
        values, labs, classes = values[chosen], [labs[i] for i in chosen], [classes[i] for i in chosen]
    lab_names, lab = np.unique(np.asarray(labs, np.str_), return_inverse=True)
    class_names, kind = np.unique(np.asarray(classes, np.str_), return_inverse=True)
    _check(values, lab_names, lab)
    ready = _scaled(np.asarray(values, np.float64))
    progress(f"Judging {name}", 0, 3)
    distance = _distances(ready)
    probed = _probe(ready, distance, lab, config)
    progress(f"Judging {name}", 1, 3)
    right, pairs = _agreement(distance, lab, kind, config.neighbours)
    mixed = _mixing(distance, lab, kind, config.neighbours)
    apart = _silhouettes(distance, kind)
    progress(f"Judging {name}", 2, 3)
    resampled = _resamples(lab, kind, config)
    figures = {
        "lab_probe": _figure(lambda at: _balanced(probed[at], lab[at]), len(lab), resampled),
        "mixing": _figure(lambda at: _known_mean(mixed[at]), len(lab), resampled),
        "class_silhouette": _figure(lambda at: _balanced(apart[at], kind[at]), len(lab), resampled),
        "class_agreement_across_labs": _figure(
            lambda at: _balanced_pairs(right[at], pairs[at], kind[at]), len(lab), resampled
        ),
    }
    progress(f"Judging {name}", 3, 3)
    return Judgement(
        name=name,
        cells=len(ready),
        labs=tuple(lab_names.tolist()),
        classes=tuple(class_names.tolist()),
        lab_chance=1 / len(lab_names),
        figures=figures,
        notes=notes,
        compared=tuple(class_names[np.unique(kind[pairs.any(axis=1)])].tolist()),
    )


def table(judgements: list[Judgement]) -> str:
    """One row an embedding, figures with their intervals."""
    names = list(judgements[0].figures)
    width = max(len("embedding"), *(len(one.name) for one in judgements))
    lines = ["  ".join([f"{'embedding':<{width}}", *(f"{name:<27}" for name in names)]).rstrip()]
    for one in judgements:
        cells = [f"{one.figures[name]!s:<27}" for name in names]
        lines.append("  ".join([f"{one.name:<{width}}", *cells]).rstrip())
    first = judgements[0]
    lines.append(
        f"{first.cells} cells of {', '.join(first.labs)}; chance to name the lab {first.lab_chance:.3f}"
    )
    lines += dict.fromkeys(note for one in judgements for note in one.notes)
    return "\n".join(lines)


def to_json(judgements: list[Judgement]) -> dict[str, Mapping[str, object]]:
    return {
        one.name: {
            "lab_chance": one.lab_chance,
            **{
                name: [None if np.isnan(v) else v for v in (f.value, f.low, f.high)]
                for name, f in one.figures.items()
            },
        }
        for one in judgements
    }


def _check(values: NDArray[np.floating], names: NDArray[np.str_], lab: Places) -> None:
    if len(values) != len(lab):
        raise DataError(f"{len(lab)} cells have a lab, {len(values)} a vector. Give one lab to each cell.")
    if len(names) < 2:
        told = f"only {str(names[0])!r}" if len(names) else "none"
        raise DataError(f"Judging invariance takes cells of two labs at least; there is {told}. Add a lab.")
    counts = np.bincount(lab)
    if counts.min() < LEAST:
        lonely = str(names[counts.argmin()])
        raise DataError(
            f"{lonely} has {counts.min()} cells; judging takes {LEAST} of each lab at least. Add cells, or "
            "leave the lab out."
        )
    bad = int((~np.isfinite(values).all(axis=1)).sum())
    if bad:
        raise DataError(f"{bad} of {len(values)} vectors hold NaN or infinite numbers. Leave them out.")


def _scaled(values: Array) -> Array:
    """Each column at mean 0 and spread 1, over all labs together: columns of any size count alike."""
    spread = values.std(axis=0)
    kept = spread > 1e-9
    if not kept.any():
        return np.zeros((len(values), 1))
    return np.asarray((values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept])


def _distances(ready: Array) -> Array:
    squares = (ready**2).sum(axis=1)
    squared = squares[:, None] + squares[None] - 2 * ready @ ready.T
    np.fill_diagonal(squared, np.inf)
    return np.asarray(np.maximum(squared, 0))


def _probe(ready: Array, distance: Array, lab: Places, config: JudgeConfig) -> Array:
    """1 where a probe that never saw the cell names its lab: of two probes the one that is right more."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(
        min(config.folds, int(np.bincount(lab).min())), shuffle=True, random_state=config.seed
    )
    linear, near = np.zeros(len(lab)), np.zeros(len(lab))
    weights = 1 / np.bincount(lab)
    for train, test in folds.split(ready, lab):
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500).fit(ready[train], lab[train])
        linear[test] = model.predict(ready[test]) == lab[test]
        closest = np.argsort(distance[np.ix_(test, train)], axis=1)[:, : config.neighbours]
        votes = np.zeros((len(test), len(weights)))
        for column in lab[train][closest].T:
            votes[np.arange(len(test)), column] += weights[column]
        near[test] = votes.argmax(axis=1) == lab[test]
    return linear if _balanced(linear, lab) >= _balanced(near, lab) else near


def _agreement(
    distance: Array, lab: Places, kind: Places, neighbours: int
) -> tuple[Array, NDArray[np.bool_]]:
    """N x K: is the class right that the nearest cells of each lab give? And where the question can be asked:
    in another lab that has the class in some number."""
    labs, classes = int(lab.max()) + 1, int(kind.max()) + 1
    right, asked = np.zeros((len(lab), labs)), np.zeros((len(lab), labs), np.bool_)
    for other in range(labs):
        own = np.flatnonzero(lab == other)
        counts = np.bincount(kind[own], minlength=classes)
        here = (counts[kind] >= LEAST) & (lab != other)
        weight = 1 / np.sqrt(np.maximum(counts, 1))  # a class with many cells does not outvote the rest
        rows = np.flatnonzero(here)
        closest = np.argsort(distance[np.ix_(rows, own)], axis=1)[:, :neighbours]
        votes = np.zeros((len(rows), classes))
        for column in kind[own][closest].T:
            votes[np.arange(len(rows)), column] += weight[column]
        right[rows, other] = votes.argmax(axis=1) == kind[rows]
        asked[rows, other] = True
    return right, asked


def _mixing(distance: Array, lab: Places, kind: Places, neighbours: int) -> Array:
    """Share of other labs among neighbours of a cell's class, over their share in the class. NaN: none."""
    found = np.full(len(lab), np.nan)
    for one in np.unique(kind):
        own = np.flatnonzero(kind == one)
        amount = min(neighbours, len(own) - 1)
        if amount < 1 or len(np.unique(lab[own])) < 2:
            continue
        near = np.argsort(distance[np.ix_(own, own)], axis=1)[:, :amount]
        others = (lab[own][near] != lab[own][:, None]).mean(axis=1)
        expected = np.array([(lab[own] != one_lab).sum() / (len(own) - 1) for one_lab in lab[own]])
        found[own] = others / np.maximum(expected, 1e-9)
    return found


def _silhouettes(distance: Array, kind: Places) -> Array:
    from sklearn.metrics import silhouette_samples

    if len(np.unique(kind)) < 2 or len(np.unique(kind)) >= len(kind):
        return np.zeros(len(kind))
    plain = np.sqrt(distance)
    np.fill_diagonal(plain, 0)
    return np.asarray(silhouette_samples(plain, kind, metric="precomputed"))


def _known_mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _balanced(values: Array, group: Places) -> float:
    """Mean of the groups' means."""
    sums, counts = np.bincount(group, values), np.bincount(group)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def _balanced_pairs(right: Array, asked: NDArray[np.bool_], kind: Places) -> float:
    cells, others = np.nonzero(asked)
    return _balanced(right[cells, others], kind[cells]) if len(cells) else float("nan")


def _resamples(lab: Places, kind: Places, config: JudgeConfig) -> list[Places]:
    """Cells drawn with replacement within each lab and class, so that no class vanishes."""
    rng = np.random.default_rng(config.seed)
    cells = [np.flatnonzero((lab == a) & (kind == b)) for a in np.unique(lab) for b in np.unique(kind)]
    cells = [one for one in cells if len(one)]
    return [np.concatenate([rng.choice(one, len(one)) for one in cells]) for _ in range(config.resamples)]


def _figure(measure: Callable[[Places], float], cells: int, resampled: list[Places]) -> Figure:
    values = np.array([measure(at) for at in resampled])
    whole = measure(np.arange(cells))
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (whole, whole)
    return Figure(value=float(whole), low=float(low), high=float(high))
