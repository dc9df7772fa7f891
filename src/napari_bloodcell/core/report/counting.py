"""The cells of a report -> counts: of each slide, of each patient, of all together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.report.differential import Differential, count_cells
from napari_bloodcell.core.report.enough import Enough, enough
from napari_bloodcell.core.report.patients import OneSlide, Patient, of_patients, without_patient
from napari_bloodcell.core.report.slides import Run, known_classes

if TYPE_CHECKING:
    import pandas as pd

ALL = "All slides"


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideCount:
    name: str
    images: tuple[str, ...]
    differential: Differential
    enough: Enough


def each_alone(runs: Sequence[Run]) -> list[Run]:
    """Each image as a slide of its own."""
    return [
        run if run.slide == run.image["name"] else replace(run, slide=f"{run.slide}/{run.image['name']}")
        for run in runs
    ]


def count_slides(runs: Sequence[Run], table: "pd.DataFrame", config: ReportConfig) -> list[SlideCount]:
    names = dict.fromkeys(run.slide for run in runs)
    return [
        count_runs(name, [run for run in runs if run.slide == name], table[table["slide"] == name], config)
        for name in names
    ]


def count_runs(name: str, runs: Sequence[Run], table: "pd.DataFrame", config: ReportConfig) -> SlideCount:
    """``table``: the cells of these runs."""
    differential = count_cells(
        table["cell_type"].astype(str),
        table["reviewed"],
        table["touches_border"].astype(bool),
        config.count,
        merge_bands=config.merge_bands,
        known=known_classes([run.record for run in runs]),
    )
    return SlideCount(
        name=name,
        images=tuple(str(run.image["name"]) for run in runs),
        differential=differential,
        enough=enough(differential, config.precision),
    )


def count_patients(
    runs: Sequence[Run], table: "pd.DataFrame", config: ReportConfig
) -> tuple[list[Patient], list[str]]:
    """Of the slides as they were analysed, also where images are counted alone; and what to tell."""
    if not any(run.patient for run in runs):
        return [], []
    whose = {run.slide: run.patient for run in runs}

    def together(names: Sequence[str]) -> Differential:
        own, rows = [run for run in runs if run.slide in names], table["slide"].isin(names)
        return count_runs("", own, table[rows], config).differential

    each = [
        OneSlide(one.name, whose[one.name], len(one.images), one.differential)
        for one in count_slides(runs, table, config)
    ]
    return of_patients(each, together), without_patient(each)
