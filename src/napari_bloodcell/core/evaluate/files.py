"""What an evaluation leaves in its folder: the table in three forms, every score, the figures."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_bloodcell.core.artifact import read_json, write_bytes, write_json
from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.evaluate.figures import draw_all
from napari_bloodcell.core.evaluate.label_check import counts_told, told
from napari_bloodcell.core.evaluate.methods import Method
from napari_bloodcell.core.evaluate.metrics import METRICS
from napari_bloodcell.core.evaluate.published import DORL_SVM_LINEAR_MEAN, SADA_MEANS
from napari_bloodcell.core.evaluate.scores import Score
from napari_bloodcell.core.evaluate.table import (
    Table,
    column_name,
    few_shot_tables,
    published_tables,
    wide_table,
)
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.report import RESEARCH_USE
from napari_bloodcell.core.rows import csv_text

if TYPE_CHECKING:
    from napari_bloodcell.core.evaluate import Evaluation


def tables_of(evaluation: "Evaluation") -> list[Table]:
    protocol, scores = evaluation.config.protocol, evaluation.scores
    if protocol == "few-shot":
        return [table for metric in METRICS[1::-1] for table in few_shot_tables(scores, metric)]
    return [wide_table(scores, metric, protocol) for metric in METRICS]


def write_evaluation(folder: Path, evaluation: "Evaluation") -> list[Path]:
    """``table.md``, ``table.csv``, ``scores.csv``, ``recalls.csv``, ``evaluation.json`` and ``figures/``."""
    tables = tables_of(evaluation)
    before = _figures_listed(folder)
    figures = draw_all(folder / "figures", evaluation.scores, evaluation.config.protocol)
    _clear(folder, before, figures)
    write_bytes(folder / "table.md", to_markdown(evaluation, tables).encode())
    rows = [row for table in tables for row in ([table.title], *table.csv_rows(), [])]
    write_bytes(folder / "table.csv", _csv(rows))
    write_bytes(folder / "scores.csv", csv_text(_score_rows(evaluation.scores)).encode())
    write_bytes(folder / "recalls.csv", csv_text(_recall_rows(evaluation.scores)).encode())
    write_json(
        folder / "evaluation.json",
        "evaluation",
        {
            "cells": {lab: dict(counts) for lab, counts in evaluation.counts.items()},
            "level": evaluation.level,
            "embedders": dict(evaluation.embedders),
            "notes": list(evaluation.notes),
            "labels": counts_told(evaluation.judged),
            "scores": [score.to_json() for score in evaluation.scores],
            "figures": {path.name: hash_file(path) for path in figures},
            "note": RESEARCH_USE,
        },
        config=evaluation.config.to_json(),
    )
    names = ("table.md", "table.csv", "scores.csv", "recalls.csv", "evaluation.json")
    return [*(folder / name for name in names), *figures]


def replaced(
    folder: Path, methods: Sequence[Method], config: EvaluateConfig, labs: Sequence[str]
) -> list[str]:
    """What an evaluation that stands here shows and this one will not, in words."""
    try:
        header, stored = read_json(folder / "evaluation.json", "evaluation")
    except ArtifactError:
        return []
    now = {method.name for method in methods}
    protocol = str(header.config.get("protocol"))
    gone = dict.fromkeys(score["method"] for score in stored["scores"] if score["method"] not in now)
    lost = [f"the methods {', '.join(gone)}"] if gone else []
    lost += [f"the protocol {protocol}"] if protocol != config.protocol else []
    lost += [f"the lab {lab}" for lab in stored["cells"] if lab not in labs]
    if not lost:
        return []
    return [
        f"This table took the place of one with {', '.join(lost)}. Name all of them in one run, or give each "
        "table its own --out; what was computed is kept, and is not computed again."
    ]


def _figures_listed(folder: Path) -> Mapping[str, str]:
    """Name and hash of each figure that an evaluation before this one drew here."""
    try:
        listed = read_json(folder / "evaluation.json", "evaluation")[1].get("figures")
    except ArtifactError:
        return {}
    return listed if isinstance(listed, Mapping) else {}


def _clear(folder: Path, before: Mapping[str, str], figures: Sequence[Path]) -> None:
    """No figure of an earlier evaluation stands beside the tables of this one. What is not as it was drawn is
    a person's own, and stays."""
    for name in set(before) - {path.name for path in figures}:
        path = folder / "figures" / Path(name).name
        if path.is_file() and hash_file(path) == before[name]:
            path.unlink()


def to_markdown(evaluation: "Evaluation", tables: Sequence[Table]) -> str:
    config = evaluation.config
    lines = [f"# Evaluation: {config.protocol}", "", f"{RESEARCH_USE}", "", *_cells(evaluation), ""]
    lines += _how_to_read(evaluation)
    for table in tables:
        lines += [f"## {table.title}", "", table.markdown(), ""]
    lines += ["## Calibration and doubt", "", _doubt(evaluation.scores), ""]
    lines += _best_recalls(evaluation.scores)
    lines += _compared(evaluation)
    lines += told(evaluation.judged)
    if evaluation.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in evaluation.notes), ""]
    return "\n".join([*lines, *_published()])


def _cells(evaluation: "Evaluation") -> list[str]:
    classes = sorted(set().union(*evaluation.counts.values()))
    head = ["lab", *classes, "all"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for lab, counts in evaluation.counts.items():
        numbers = [str(counts.get(name, 0)) for name in classes]
        lines.append(f"| {lab} | {' | '.join(numbers)} | {sum(counts.values())} |")
    return lines


def _how_to_read(evaluation: "Evaluation") -> list[str]:
    config = evaluation.config
    bundles = [score.frozen for score in evaluation.scores]
    if config.protocol == "few-shot":
        return [*_how_few_shot(config, fits=not all(bundles), adapts=any(bundles)), *_marks(config)]
    if all(bundles):
        return ["Nothing was trained: every lab is scored whole.", *_marks(config)]
    told = {
        "cross-domain": f"Trained on one lab in {config.folds} folds (seed {config.seed}); its column holds "
        "the held-out folds, the other labs are scored whole by each of the classifiers.",
        "leave-one-lab-out": "Trained on all labs but one, scored on that one.",
    }[config.protocol]
    return [told, *_marks(config)]


def _how_few_shot(config: EvaluateConfig, *, fits: bool, adapts: bool) -> list[str]:
    told = [
        f"Each lab is halved at random {config.repeats} times: cells of one half are corrected, the other "
        "half is scored."
    ]
    if fits:
        told.append(
            "A classifier is trained on all labs but that one and on the corrected cells, which are drawn at "
            "random."
        )
    if adapts:
        told.append(
            "A bundle is adapted as `classify adapt` does it, without restaining pictures: the cells that "
            "`classify suggest` asks for are corrected, anew after each step. It also learns from cells that "
            "nobody named: those of the whole lab (transductive), or only of the half that is not scored "
            "(@inductive)."
        )
    return [" ".join(told)]


def _marks(config: EvaluateConfig) -> list[str]:
    return [
        f"In brackets: {100 * config.confidence:g} % bootstrap interval over cells ({config.bootstrap} "
        "resamples; patients or slides together where known). ±: spread over the classifiers, as the papers "
        "print it; it is no interval. A cell that was not found counts as wrong; a picture that cannot be "
        "read is left out, and told below. inductive: nothing of the lab tried was seen; transductive: its "
        "unlabelled cells were. frozen bundle: a finished model, nothing of it was fitted here; (trained "
        "on): it, or the bundle that was adapted, was made with cells of that lab.",
        "",
    ]


def _doubt(scores: Sequence[Score]) -> str:
    lines = [
        "| method | column | cells | not found | calibration error, % | accuracy, % | surest half, % "
        "| unidentified, % | accuracy of the identified, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {score.method} | {column_name(score.key)} | {score.cells} | {score.not_found} | "
        f"{100 * score.calibration_error:.1f} | {100 * score.metrics['accuracy'].value:.1f} | "
        f"{100 * score.surest_half:.1f} | {100 * score.unidentified:.1f} | "
        f"{'-' if score.accuracy_identified is None else f'{100 * score.accuracy_identified:.1f}'} |"
        for score in scores
    ]
    return "\n".join(lines)


def _best_recalls(scores: Sequence[Score]) -> list[str]:
    """For one method only; all of them are in recalls.csv."""
    means: dict[str, list[float]] = {}
    for score in scores:
        if not (score.in_domain or _knows(score)):
            means.setdefault(score.method, []).append(score.metrics["balanced_accuracy"].value)
    if not means:
        return []
    best = max(means, key=lambda method: sum(means[method]) / len(means[method]))
    own = [score for score in scores if score.method == best and not (score.in_domain or _knows(score))]
    lines = [
        f"## Right of each class, {best}",
        "",
        "The method with the best balanced accuracy across labs above: chosen after the fact, so expect a "
        "little less. Limits are exact, for the number of cells. The others are in recalls.csv.",
        "",
        "| column | class | cells | recall, % | limits |",
        "|---|---|---|---|---|",
    ]
    for score in own:
        lines += [
            f"| {column_name(score.key)} | {r.class_name} | {r.cells} | {100 * r.recall:.1f} | "
            f"{100 * r.low:.1f} to {100 * r.high:.1f} |"
            for r in score.recalls
        ]
    return [*lines, ""]


def _compared(evaluation: "Evaluation") -> list[str]:
    """Every method less the first of the list, on the same cells."""
    apart = [score for score in evaluation.scores if score.differences]
    if not apart:
        return []
    lines = [
        f"## Difference to {apart[0].compared_with}",
        "",
        f"Each method less {apart[0].compared_with}, the first of --methods, on the same cells; in points "
        f"of a hundred, with its {100 * evaluation.config.confidence:g} % bootstrap interval "
        "(each resample draws the same cells of both; patients or slides together where known). An interval "
        "that holds 0 tells no difference. Where many methods are compared, some intervals miss 0 by chance.",
        "",
        "| method | column | accuracy | balanced accuracy | F1 over classes | kappa |",
        "|---|---|---|---|---|---|",
    ]
    for score in apart:
        values = [score.differences[metric] for metric in METRICS]
        told = [f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]" for d in values]
        lines.append(f"| {score.method} | {column_name(score.key)} | {' | '.join(told)} |")
    return [*lines, ""]


def _knows(score: Score) -> bool:
    """A bundle that was made with the lab it is tried on."""
    return score.frozen and score.sees_target


def _published() -> list[str]:
    lines = ["## What the papers report, on their own labs", ""]
    for table in published_tables():
        lines += [f"**{table.title}**", "", table.markdown(), ""]
    means = ", ".join(f"{name} {micro} / {macro}" for name, (micro, macro) in SADA_MEANS.items())
    lines.append(f"SADA's means over its four labs, F1 over cells / over classes: {means}.")
    lines.append(
        f"DoRL's mean for svm_linear is {DORL_SVM_LINEAR_MEAN['table']} in its table and "
        f"{DORL_SVM_LINEAR_MEAN['notebook']} in its released notebook."
    )
    return [*lines, ""]


def _score_rows(scores: Sequence[Score]) -> Iterable[Sequence[object]]:
    yield (
        *("method", "protocol", "source", "target", "corrected", "cells", "not_found", "classifiers"),
        *(f"{metric}{part}" for metric in METRICS for part in ("", "_low", "_high", "_spread")),
        *("majority", "ceiling", "calibration_error", "accuracy_surest_half"),
        *("unidentified", "accuracy_identified", "compared_with"),
        *(f"{metric}_difference{part}" for metric in METRICS for part in ("", "_low", "_high")),
    )
    for score in scores:
        values = [score.metrics[metric] for metric in METRICS]
        numbers = [n for v in values for n in (v.value, v.low, v.high, v.spread)]
        numbers += [score.majority, score.ceiling, score.calibration_error, score.surest_half]
        yield (
            score.method,
            score.kind,
            score.source or "all other labs",
            score.target,
            score.shots,
            score.cells,
            score.not_found,
            score.classifiers,
            *(f"{number:.5f}" for number in numbers),
            f"{score.unidentified:.5f}",
            "" if score.accuracy_identified is None else f"{score.accuracy_identified:.5f}",
            score.compared_with,
            *_differences_of(score),
        )


def _differences_of(score: Score) -> list[str]:
    """Empty for the method that the others are compared with."""
    if not score.differences:
        return [""] * 3 * len(METRICS)
    there = [score.differences[metric] for metric in METRICS]
    return [f"{number:.5f}" for d in there for number in (d.value, d.low, d.high)]


def _recall_rows(scores: Sequence[Score]) -> Iterable[Sequence[object]]:
    yield ("method", "source", "target", "corrected", "class", "cells", "recall", "low", "high")
    for score in scores:
        for r in score.recalls:
            limits = [f"{number:.5f}" for number in (r.recall, r.low, r.high)]
            source = score.source or "all other labs"
            yield (score.method, source, score.target, score.shots, r.class_name, r.cells, *limits)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def counts_of(labels: Sequence[str], lab: Sequence[str]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for name, one in zip(labels, lab, strict=True):
        counts.setdefault(one, Counter())[name] += 1
    return counts
