"""Scores -> the table as the papers print it: a row for each method, a column for each pair of labs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_bloodcell.core.evaluate.published import TABLES, PublishedTable, tables_for
from napari_bloodcell.core.evaluate.scores import FROZEN_KIND, TRAINED_ON, Key, Score

MEANS = ("in-domain", "cross only", "all")
TITLES = {
    "accuracy": "Accuracy (= F1 over cells), %",
    "balanced_accuracy": "Balanced accuracy, %",
    "macro_f1": "F1 averaged over classes, %",
    "kappa": "Cohen's kappa (agreement beyond chance), x 100",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    kind: str  # inductive, transductive, published, or what a line is for
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        head = ["method", "protocol", *self.columns]
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        lines += [f"| {' | '.join([row.name, row.kind, *row.cells])} |" for row in self.rows]
        return "\n".join(lines)

    def text(self) -> str:
        """In columns, for a terminal."""
        rows = self.csv_rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def csv_rows(self) -> list[list[str]]:
        return [["method", "protocol", *self.columns], *[[r.name, r.kind, *r.cells] for r in self.rows]]


def column_name(key: Key) -> str:
    source, target, shots = key
    if source:
        return f"{source} → {target}"
    return f"{target}, {shots} corrected" if shots else target


def wide_table(scores: Sequence[Score], metric: str, protocol: str) -> Table:
    """Ours, the lines to beat, and the published rows that share a column."""
    keys = list(dict.fromkeys(score.key for score in scores))
    with_means = any(source for source, _, _ in keys)
    by_method: dict[str, list[Score]] = {}
    for score in scores:
        own = by_method.setdefault(score.method, [])
        if score.cells:  # where no cell could be scored there is no figure, and 0 would be one
            own.append(score)
    rows = [_own_row(name, own, keys, metric, with_means) for name, own in by_method.items()]
    if metric == "accuracy":
        rows += _lines(by_method, keys, with_means)
    if protocol != "few-shot":
        for published in tables_for(protocol, tuple((k[0], k[1]) for k in keys)):
            if published.metric == metric:
                rows += _published_rows(published, keys, with_means)
    means = MEANS if with_means else ("mean",)
    return Table(
        title=TITLES[metric], columns=(*(column_name(key) for key in keys), *means), rows=tuple(rows)
    )


def _own_row(name: str, scores: Sequence[Score], keys: Sequence[Key], metric: str, with_means: bool) -> Row:
    by_key = {score.key: score for score in scores}
    cells = []
    for key in keys:
        if key not in by_key:
            cells.append("-")
            continue
        value = by_key[key].metrics[metric]
        spread = f" ± {100 * value.spread:.1f}" if by_key[key].classifiers > 1 else ""
        limits = f" [{100 * value.low:.1f}, {100 * value.high:.1f}]"
        known = TRAINED_ON if by_key[key].frozen and by_key[key].sees_target else ""
        cells.append(f"{100 * value.value:.1f}{spread}{limits}{known}")
    means = _means([(score.in_domain, 100 * score.metrics[metric].value) for score in scores], with_means)
    return Row(name=name, kind=_kind(scores), cells=(*cells, *means))


def _kind(scores: Sequence[Score]) -> str:
    """Transductive where pictures of any lab it is tried on, other than its source, were seen."""
    if any(score.frozen for score in scores):
        return FROZEN_KIND
    seen = any(score.sees_target and not score.in_domain for score in scores)
    return "transductive" if seen else "inductive"


def _lines(by_method: Mapping[str, Sequence[Score]], keys: Sequence[Key], with_means: bool) -> list[Row]:
    """What costs nothing, and what cannot be passed: methods that are fitted share it, a bundle as it is
    knows classes of its own."""
    majority = {score.key: score.majority for own in by_method.values() for score in own}
    ceilings: list[tuple[list[str], dict[Key, float]]] = []
    for name, own in by_method.items():
        ceiling = {score.key: score.ceiling for score in own}
        if not ceiling:
            continue
        alike = (g for g in ceilings if all(g[1].get(key, value) == value for key, value in ceiling.items()))
        names, values = next(alike, ([], {}))
        if not names:
            ceilings.append((names, values))
        names.append(name)
        values.update(ceiling)
    rows = [_line("one answer for all", "commonest class", majority, keys, with_means)]
    for names, values in ceilings:
        of = f" for {', '.join(names)}" if len(ceilings) > 1 else ""
        rows.append(_line(f"most possible{of}", "classes trained", values, keys, with_means))
    return rows


def _line(name: str, kind: str, values: Mapping[Key, float], keys: Sequence[Key], with_means: bool) -> Row:
    there = [(key[0] == key[1], 100 * values[key]) for key in keys if key in values]
    cells = [f"{100 * values[key]:.1f}" if key in values else "-" for key in keys]
    return Row(name=name, kind=kind, cells=(*cells, *_means(there, with_means)))


def _published_rows(published: PublishedTable, keys: Sequence[Key], with_means: bool) -> list[Row]:
    rows = []
    for name, values in published.rows.items():
        by_column = dict(zip(published.columns, values, strict=True))
        here = [(key[0] == key[1], by_column.get((key[0], key[1]))) for key in keys]
        cells = ["-" if value is None else f"{value:.2f}" for _, value in here]
        there = [(own, value) for own, value in here if value is not None]
        # A mean over fewer columns than ours would compare different things.
        means = _means(there, with_means) if len(there) == len(keys) else ["-"] * (3 if with_means else 1)
        label = f"{published.paper} {name}" if name != published.paper else name
        rows.append(Row(name=label, kind=published.kind(name), cells=(*cells, *means)))
    return rows


def _means(values: Sequence[tuple[bool, float]], with_means: bool) -> list[str]:
    parts = (
        [[v for own, v in values if own], [v for own, v in values if not own], [v for _, v in values]]
        if with_means
        else [[v for _, v in values]]
    )
    return [f"{np.mean(part):.1f}" if part else "-" for part in parts]


def few_shot_tables(scores: Sequence[Score], metric: str) -> list[Table]:
    """One table for each lab left out, a column for each number of corrected cells."""
    tables = []
    for target in dict.fromkeys(score.target for score in scores):
        own = [score for score in scores if score.target == target]
        shots = sorted({score.shots for score in own})
        rows = []
        for method in dict.fromkeys(score.method for score in own):
            by_shots = {score.shots: score for score in own if score.method == method and score.cells}
            cells = []
            for count in shots:
                value = by_shots[count].metrics[metric] if count in by_shots else None
                cells.append(
                    "-"
                    if value is None
                    else f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
                )
            rows.append(Row(name=method, kind=_kind_of_curve(by_shots), cells=tuple(cells)))
        tables.append(
            Table(
                title=f"{TITLES[metric]}: {target}, by corrected cells",
                columns=tuple(str(count) for count in shots),
                rows=tuple(rows),
            )
        )
    return tables


def _kind_of_curve(by_shots: Mapping[int, Score]) -> str:
    """A bundle is what it is with the most corrected cells; with none it is as it was."""
    last = by_shots[max(by_shots)] if by_shots else None
    return last.kind if last is not None and last.frozen else _kind(list(by_shots.values()))


def published_tables() -> list[Table]:
    """The papers' own tables, on their own labs."""
    tables = []
    for published in TABLES:
        keys = [(source, target, 0) for source, target in published.columns]
        with_means = published.protocol == "cross-domain"
        means = MEANS if with_means else ("mean",)
        tables.append(
            Table(
                title=f"{published.paper}, {published.protocol}: {TITLES[published.metric]}",
                columns=(*(column_name(key) for key in keys), *means),
                rows=tuple(_published_rows(published, keys, with_means)),
            )
        )
    return tables
