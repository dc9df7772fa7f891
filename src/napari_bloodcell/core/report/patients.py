"""Slides -> patients: several slides of one patient counted as one, and how far they differ.

The limits of a patient are exact for the cells counted, and take its slides for one. Whether they are is told
beside them: the share of each class from slide to slide, and whether it varies more than chance explains.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_bloodcell.core.artifact import read_json, write_bytes, write_json
from napari_bloodcell.core.errors import ArtifactError, DataError
from napari_bloodcell.core.report.by_slide import slides_of
from napari_bloodcell.core.report.differential import NOT_KNOWN, Differential, to_json, to_text
from napari_bloodcell.core.report.provenance import named
from napari_bloodcell.core.rows import csv_text, read_rows
from napari_bloodcell.core.words import how_many

KEPT = "patients.json"  # in an output folder: whose each slide is
TABLE = "patients.csv"
BEYOND_CHANCE = 0.01
LEAST_EXPECTED = 5  # cells of a class on each slide, for chi-square
COLUMNS = (
    *("patient", "slides", "class", "n", "percent", "low", "high", "lowest_slide", "highest_slide"),
    *("in_denominator", "counted", "chance"),
)
NOBODY = (
    "No patient is known of these slides. Give `analyse` the images as a list (CSV) with the columns image, "
    "slide and patient (what is finished is kept), or a table of slide and patient with --patients."
)


class OneSlide(NamedTuple):
    name: str
    patient: str  # "" where it is not known
    images: int
    differential: Differential


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The share of a class, in per cent, on the slide with the least and on that with the most of it."""

    class_name: str
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Patient:
    name: str
    slides: tuple[str, ...]
    images: int
    differential: Differential  # of all slides together
    spread: tuple[Spread, ...]  # of the classes found; empty where only one slide has cells
    chance: float | None  # that slides as alike as those of one smear differ so much; None: too few cells

    def spread_text(self) -> str:
        """How far the slides differ; empty for a single one."""
        if not self.spread:
            return ""
        shares = ", ".join(
            f"{one.class_name.replace('_', ' ')} {one.lowest:.1f} to {one.highest:.1f} %"
            for one in self.spread
        )
        return f"From slide to slide: {shares}. {self._chance_text()}"

    def _chance_text(self) -> str:
        if self.chance is None:
            return "Too few cells to tell whether the slides differ more than by chance."
        if self.chance >= BEYOND_CHANCE:
            return f"No more than chance explains (chi-square, p {self.chance:.2g})."
        return (
            f"That is more than chance explains (chi-square, p {self.chance:.1g}): look at the slides one by "
            "one; the limits take them for one and are too narrow."
        )


def of_patients(
    slides: Sequence[OneSlide], together: Callable[[Sequence[str]], Differential]
) -> list[Patient]:
    """Each patient once; slides of which it is not known whose they are belong to none. ``together``: the
    differential of the slides of these names as one."""
    by_name: dict[str, list[OneSlide]] = {}
    for slide in slides:
        if slide.patient:
            by_name.setdefault(slide.patient, []).append(slide)
    return [_patient(name, own, together([one.name for one in own])) for name, own in by_name.items()]


def _patient(name: str, slides: Sequence[OneSlide], pooled: Differential) -> Patient:
    counted = [one.differential for one in slides if one.differential.counted]
    found = [row.class_name for row in pooled.rows if row.n]
    shares = {kind: [one.percent(kind) for one in counted] for kind in found if len(counted) > 1}
    return Patient(
        name=name,
        slides=tuple(one.name for one in slides),
        images=sum(one.images for one in slides),
        differential=pooled,
        spread=tuple(Spread(class_name=k, lowest=min(all_), highest=max(all_)) for k, all_ in shares.items()),
        chance=chance_of([{row.class_name: row.n for row in one.rows} for one in counted]),
    )


def chance_of(slides: Sequence[Mapping[str, int]]) -> float | None:
    """Chi-square of slides and classes: how likely slides that are alike differ so much. Classes with too
    few cells for it are put together. None where too few cells are left to tell."""
    from scipy.stats import chi2_contingency

    names = sorted({name for one in slides for name in one})
    table = np.array([[one.get(name, 0) for name in names] for one in slides], float)
    if len(slides) < 2 or not table.sum():
        return None
    smallest = table.sum(axis=1).min() / table.sum()  # share of the cells that the smallest slide has
    is_many = table.sum(axis=0) * smallest >= LEAST_EXPECTED
    rest = table[:, ~is_many].sum(axis=1, keepdims=True)
    kept = table[:, is_many]
    if rest.sum() * smallest >= LEAST_EXPECTED:
        kept = np.hstack([kept, rest])
    if kept.shape[1] < 2:
        return None
    return float(chi2_contingency(kept, correction=False).pvalue)


def without_patient(slides: Iterable[OneSlide]) -> list[str]:
    """What to tell of slides that are no patient's, where others are."""
    slides = list(slides)
    left = [one.name for one in slides if not one.patient]
    if not left or len(left) == len(slides):
        return []
    return [f"{how_many(len(left), 'slide')} of no known patient: {named(left)}."]


def to_text_of(patient: Patient) -> str:
    """As printed in a terminal."""
    slides, images = how_many(len(patient.slides), "slide"), how_many(patient.images, "image")
    lines = [f"Patient {patient.name}: {slides}, {images}", to_text(patient.differential)]
    return "\n".join(filter(None, [*lines, patient.spread_text()]))


def to_json_of(patient: Patient) -> dict[str, Any]:
    return {
        "patient": patient.name,
        "slides": list(patient.slides),
        "images": patient.images,
        "differential": to_json(patient.differential),
        "spread": [asdict(one) for one in patient.spread],
        "chance": patient.chance,
        "text": patient.spread_text(),
    }


def write_patients(folder: Path, patients: Sequence[Patient]) -> None:
    """``patients.csv``: a line for each class of each patient; none where no patient is known."""
    if not patients:
        (folder / TABLE).unlink(missing_ok=True)
        return
    rows = [COLUMNS, *(line for patient in patients for line in _lines(patient))]
    write_bytes(folder / TABLE, csv_text(rows).encode())


def _lines(patient: Patient) -> list[list[Any]]:
    d, slides = patient.differential, len(patient.slides)
    between = {one.class_name: (f"{one.lowest:.2f}", f"{one.highest:.2f}") for one in patient.spread}
    end = [d.counted, "" if patient.chance is None else f"{patient.chance:.3g}"]
    lines: list[list[Any]] = []
    for row in d.rows:
        numbers = [f"{value:.2f}" for value in (row.percent, row.low, row.high)]
        spread = between.get(row.class_name, ("", ""))
        lines.append([patient.name, slides, row.class_name, row.n, *numbers, *spread, "yes", *end])
    lines += [[patient.name, slides, name, "", *[""] * 5, NOT_KNOWN, *end] for name in d.unknown]
    lines += [[patient.name, slides, name, n, *[""] * 5, "no", *end] for name, n in d.outside.items()]
    return lines


def read_patients(path: Path) -> dict[str, str]:
    """Whose each slide is: a table (CSV) with the columns slide and patient."""
    table = read_rows(path)
    if not {"slide", "patient"} <= set(table.columns):
        raise DataError(f"{path} has the columns {table.has}; it needs slide and patient.")
    found: dict[str, str] = {}
    for row in table.rows:
        slide, patient = row.get("slide"), row.get("patient")
        if not slide or not patient:
            continue
        if found.setdefault(slide, patient) != patient:
            raise DataError(
                f"{path}, line {row.line}: slide {slide} is {patient}'s here and {found[slide]}'s above. "
                "Keep one line for each slide."
            )
    return found


def patients_in(path: Path, images: Iterable[str]) -> dict[str, str]:
    """Whose these images are, as far as a table says: one of slide and patient, where each image is a slide,
    or a list of images as ``analyse`` takes it (image and patient), which may name others too."""
    table = read_rows(path)
    column = "image" if "image" in table.columns else "slide"
    if not {column, "patient"} <= set(table.columns):
        raise DataError(f"{path} has the columns {table.has}; it needs patient, and image or slide.")
    images = list(images)
    known = {Path(name).stem: name for name in reversed(images)} | {name: name for name in images}
    found: dict[str, str] = {}
    for row in table.rows:
        said, patient = row.get(column).replace("\\", "/"), row.get("patient")
        name = next((known[one] for one in (said, Path(said).name, Path(said).stem) if one in known), None)
        if name is None or not patient:
            continue
        if found.setdefault(name, patient) != patient:
            raise DataError(
                f"{path}, line {row.line}: {name} is {patient}'s here and {found[name]}'s above. "
                f"Keep one line for each {column}."
            )
    if not found:
        raise DataError(
            f"{path} names a patient of none of these: {named(images)}. The column {column} must hold these "
            "names, or files of these names."
        )
    return found


def check_slides(path: Path, patients: Mapping[str, str], slides: Iterable[str]) -> None:
    """A table of patients must speak of slides that are there."""
    there = list(dict.fromkeys(slides))
    unknown = [name for name in patients if name not in there]
    if unknown or not patients:
        what = f"{named(unknown)}: no such slide is counted" if unknown else "no slide has a patient"
        raise DataError(f"{path}: {what}. The slides are: {named(there) or 'none'}.")


def patients_of(out: Path) -> dict[str, str]:
    """Whose each slide of an output folder is, as far as it was said."""
    try:
        return {str(k): str(v) for k, v in read_json(out / KEPT, "patients")[1]["slides"].items()}
    except ArtifactError:
        if (out / KEPT).is_file():
            raise
        return {}


def keep_patients(out: Path, told: Mapping[str, str], folders: Iterable[str]) -> None:
    """Adds whose slides are to what is known. ``folders``: the results of this run: a slide of which other
    results are there already cannot become another patient's."""
    known = patients_of(out)
    other = {slide for slide, patient in told.items() if known.get(slide, patient) != patient}
    if other:
        mine = set(folders)
        there = sorted({slide for name, slide in slides_of(out).items() if name not in mine} & other)
        if there:
            raise DataError(
                f"Slide {there[0]} in {out} is of patient {known[there[0]]}, and {told[there[0]]}'s here. "
                "Call one of the two slides otherwise, or choose another folder for --out."
            )
    if told and dict(known) | dict(told) != known:
        write_json(out / KEPT, "patients", {"slides": dict(known) | dict(told)})
