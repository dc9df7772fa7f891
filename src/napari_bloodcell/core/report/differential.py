"""Predictions -> Differential, and how it is printed.

Limits are exact (Clopper-Pearson), so 0 of 100 still says "up to 3.6 %". Unidentified white cells stay in
the denominator, where they show; smudge cells, artefacts and platelets are outside it; erythroblasts are
given per 100 white cells.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.taxonomy import COARSE, DEFAULT, FINE, NOT_IN_DENOMINATOR, PER_HUNDRED, Taxonomy
from napari_bloodcell.core.words import how_many

RESEARCH_USE = "Research use only. Not for diagnosis."
STRANGE = (
    "Most of them are unidentified: the model does not know cells like these, or they are no white cells. "
    "Look at them before any figure is trusted; corrected ones teach the model (Adapt)."
)
MOSTLY, LEAST_TO_WARN = 0.5, 10  # share of unidentified cells that casts doubt on the rest; white cells
NOT_KNOWN = "not known to this model"
BANDS = {"neutrophil_banded": "neutrophil", "neutrophil_segmented": "neutrophil"}


@dataclass(frozen=True, kw_only=True)
class CountRow:
    """One class: n of the denominator, percent, exact limits in percent."""

    class_name: str
    n: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Differential:
    """What was counted. ``rows`` add up to ``counted``, "unidentified" among them. ``unknown`` are classes
    without a cell because the model cannot name them: none is no count of them, and has no limits."""

    rows: tuple[CountRow, ...]
    counted: int  # the denominator: intact white cells, identified or not
    unidentified: int
    outside: dict[str, int]  # counted and shown, but not white cells of the hundred per cent
    per_hundred: dict[str, float]  # erythroblasts per 100 white cells
    target: int
    level: str
    confidence: float
    reviewed: int = 0  # cells a person has confirmed or corrected
    unknown: tuple[str, ...] = ()
    research_use: str = RESEARCH_USE

    @property
    def lines(self) -> int:
        """How many classes are shown."""
        return len(self.rows) + len(self.unknown)

    @property
    def complete(self) -> bool:
        return self.counted >= self.target

    @property
    def mostly_unidentified(self) -> bool:
        """What the model does name is then hardly worth more than what it does not."""
        return self.counted >= LEAST_TO_WARN and self.unidentified > MOSTLY * self.counted

    def percent(self, class_name: str) -> float:
        return next((row.percent for row in self.rows if row.class_name == class_name), 0.0)


def count(
    labels: Sequence[str] | Mapping[str, int],
    config: CountConfig = CountConfig(),
    *,
    taxonomy: Taxonomy = DEFAULT,
    reviewed: int = 0,
    known: Collection[str] = (),
) -> Differential:
    """The differential of a list of class names, or of how many there are of each; zero cells give an empty
    one. ``known``: the classes that the model can name, where that is known: none found has limits too."""
    outside_names = NOT_IN_DENOMINATOR | PER_HUNDRED
    tally: Counter[str] = Counter()
    for label, number in (labels if isinstance(labels, Mapping) else Counter(labels)).items():
        tally[counted_as(str(label), config.level, taxonomy)] += number
    total = sum(n for name, n in tally.items() if name not in outside_names)
    unknown = (
        ()
        if reviewed and reviewed >= sum(tally.values())
        else _not_known(tally, config.level, known, taxonomy)
    )
    rows = []
    nameable = {counted_as(name, config.level, taxonomy) for name in known}
    for name in _row_order(tally, config.level, nameable):
        if name in outside_names or name in unknown:
            continue
        low, high = exact_limits(tally[name], total, config.confidence)
        percent = 100 * tally[name] / total if total else 0.0
        rows.append(CountRow(class_name=name, n=tally[name], percent=percent, low=100 * low, high=100 * high))
    return Differential(
        rows=tuple(rows),
        counted=total,
        unidentified=tally[UNIDENTIFIED],
        outside={name: tally[name] for name in sorted(outside_names) if tally[name]},
        per_hundred={
            name: 100 * tally[name] / total for name in sorted(PER_HUNDRED) if total and tally[name]
        },
        target=config.target,
        level=config.level,
        confidence=config.confidence,
        reviewed=reviewed,
        unknown=unknown,
    )


def count_cells(
    kinds: Iterable[str],
    seen: Iterable[bool],
    at_border: Iterable[bool],
    config: CountConfig,
    *,
    merge_bands: bool = False,
    known: Collection[str] = (),
) -> Differential:
    """The differential of cells. Of each is known its class, whether a person has looked, and whether the
    border cuts it. Windows and reports count by this."""
    rows = [
        (BANDS.get(kind, kind) if merge_bands else kind, looked)
        for kind, looked, cut in zip(kinds, seen, at_border, strict=True)
        if config.count_border or not cut
    ]
    reviewed = sum(bool(looked) for _, looked in rows)
    return count([kind for kind, _ in rows], config, reviewed=reviewed, known=known)


def digest_of(pooled: Differential, slides: Iterable[tuple[str, Differential]]) -> str:
    """What a signature is under: it changes whenever a figure does."""
    return hash_of([_signed(pooled), *([name, _signed(one)] for name, one in slides)])


def _signed(d: Differential) -> dict[str, Any]:
    """As it was before classes could be unknown, where none is: what was signed then stays signed."""
    return {name: value for name, value in to_json(d).items() if name != "unknown" or value}


def exact_limits(n: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson limits of a proportion; ``n`` may be a mean of counts. Nothing counted says nothing:
    0 to 1."""
    from scipy.special import betaincinv

    if total == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if n == 0 else float(betaincinv(n, total - n + 1, tail))
    high = 1.0 if n == total else float(betaincinv(n + 1, total - n, 1 - tail))
    return low, high


def counted_as(name: str, level: str, taxonomy: Taxonomy) -> str:
    return name if level == "fine" or name == UNIDENTIFIED else taxonomy.coarse(name)


def _not_known(
    tally: Counter[str], level: str, known: Collection[str], taxonomy: Taxonomy
) -> tuple[str, ...]:
    """Of the classes that every differential shows. One that a person gave is counted all the same."""
    if not known or level != "coarse":
        return ()
    nameable = {counted_as(name, level, taxonomy) for name in known}
    return tuple(name for name in COARSE if name not in nameable and not tally[name])


def _row_order(tally: Counter[str], level: str, nameable: Collection[str]) -> list[str]:
    """Known classes first, in the order labs print them; then the others, found or looked for; doubt last."""
    there = {*tally, *nameable}
    expected = list(COARSE) if level == "coarse" else [n for n in FINE if n in there]
    # A coarse label is valid at the fine level too: it is shown as its own row.
    others = sorted(there - set(expected) - {UNIDENTIFIED})
    return [*expected, *others, UNIDENTIFIED]


def to_text(differential: Differential) -> str:
    """The table as printed in a terminal."""
    d = differential
    width = max([len(name) for name in (*(row.class_name for row in d.rows), *d.unknown)] + [12])
    level = f"{100 * d.confidence:g} % limits"
    lines = [f"{'class':<{width}}     n       %   {level}"]
    for row in d.rows:
        limits = f"{row.low:5.1f} to {row.high:5.1f}" if d.counted else "-"
        lines.append(f"{row.class_name:<{width}} {row.n:5d}  {row.percent:6.1f}   {limits}")
    lines += [f"{name:<{width}} {'-':>5}  {'-':>6}   {NOT_KNOWN}" for name in d.unknown]
    lines.append(f"{'white cells':<{width}} {d.counted:5d}")
    lines += [f"{name}: {n} (outside the count)" for name, n in d.outside.items()]
    lines += [f"{name}: {rate:.1f} per 100 white cells" for name, rate in d.per_hundred.items()]
    lines.append(state_of(d))
    lines.append(d.research_use)
    return "\n".join(lines)


def state_of(d: Differential) -> str:
    """How far the count is, who has looked, and whether the model is at home with these cells."""
    left = d.target - d.counted
    progress = (
        f"target of {d.target} reached" if left <= 0 else f"{left} more cells to the target of {d.target}"
    )
    seen = f"{d.reviewed} reviewed by a person" if d.reviewed else "none reviewed by a person"
    state = f"{how_many(d.counted, 'white cell')} counted, {progress}; {seen}."
    return f"{state} {STRANGE}" if d.mostly_unidentified else state


def to_json(differential: Differential) -> dict[str, Any]:
    told = {"complete": differential.complete, "mostly_unidentified": differential.mostly_unidentified}
    return asdict(differential) | told
