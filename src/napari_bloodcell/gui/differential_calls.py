"""What the panel "Differential" shows and writes: the same figures, from the tables of layers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.gui import classes, drawn, layers

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from napari_bloodcell.core.report import Differential
    from napari_bloodcell.core.report.patients import Patient

POOLED = "All together"
PATIENT = "patient"  # as a layer has it, and the audit


@dataclass(frozen=True, kw_only=True, eq=False)
class Slide:
    """The cells of one layer, as they are now."""

    name: str
    table: "pd.DataFrame"
    kinds: Sequence[str]
    sources: Sequence[str]
    seen: Sequence[bool]
    at_border: Sequence[bool]
    made_from: Mapping[str, Any]
    doubts: Sequence[str]
    drawn: str | None  # the hash of the outlines; None until it is worked out
    patient: str = ""  # whose it is, where a person or a table has said so


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What is on the screen, and nothing else is written."""

    slides: Sequence[tuple[str, "Differential"]]
    pooled: "Differential"
    patients: "Sequence[Patient]" = ()
    of_nobody: Sequence[str] = ()  # what is to be told of slides that are no patient's, where others are
    comment: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)  # of the fields, beside the one on all
    signed: Mapping[str, Any] = field(default_factory=dict)
    agreement: str = ""
    config: CountConfig = field(default_factory=CountConfig)
    merge_bands: bool = False

    @property
    def digest(self) -> str:
        """Changes whenever a figure does."""
        from napari_bloodcell.core.report import digest_of

        return digest_of(self.pooled, self.slides)


def slide_of(layer: "Labels") -> Slide:
    """Taken on the main thread; safe to hand to a thread."""
    features, n = layer.features, len(layer.features)
    if "index" not in features:  # no cell was found
        features = features.assign(index=classes.ids(layer))
    at_border = (
        features["touches_border"].to_numpy(bool) if "touches_border" in features else np.zeros(n, bool)
    )
    doubts = features["doubt"].astype(object) if "doubt" in features else [""] * n
    cells = classes.ids(layer) > 0  # a person's own table may have a row for the background
    rows = [row for row in classes.rows(layer) if row[0] > 0]
    return Slide(
        name=classes.image_name(layer),
        table=features[cells].reset_index(drop=True),
        kinds=[kind for _, kind, _ in rows],
        sources=[source for _, _, source in rows],
        seen=classes.is_by_person(layer)[cells].tolist(),
        at_border=at_border[cells].tolist(),
        made_from=dict(layer.metadata.get(layers.KEY, {})),
        doubts=[doubt if isinstance(doubt, str) else "" for doubt in np.asarray(doubts, object)[cells]],
        drawn=drawn.mark(layer),
        patient=patient_of(layer),
    )


def patient_of(layer: "Labels") -> str:
    return str(layer.metadata.get(layers.KEY, {}).get(PATIENT) or "")


def counted(slides: Sequence[Slide], config: CountConfig, *, merge_bands: bool) -> Shown:
    """Each slide, and all together. Layers of one image, or of one name, are one slide."""
    by_name: dict[str, list[Slide]] = {}
    for slide in slides:
        by_name.setdefault(slide.name, []).append(slide)
    each = [(name, _count(of, config, merge_bands=merge_bands)) for name, of in by_name.items()]
    pooled = _count(slides, config, merge_bands=merge_bands)
    patients, of_nobody = by_patient(slides, config, merge_bands=merge_bands)
    return Shown(
        slides=each,
        pooled=pooled,
        patients=patients,
        of_nobody=of_nobody,
        config=config,
        merge_bands=merge_bands,
    )


def by_patient(
    slides: Sequence[Slide], config: CountConfig, *, merge_bands: bool
) -> "tuple[list[Patient], list[str]]":
    """As `results summary --by patient` counts them, each image a slide; and what is to be told of others."""
    from napari_bloodcell.core.inputs import slides_apart
    from napari_bloodcell.core.report.patients import OneSlide, of_patients, without_patient

    if not any(slide.patient for slide in slides):
        return [], []
    by_name: dict[str, list[Slide]] = {}
    names = slides_apart([(slide.name, slide.patient) for slide in slides])
    for name, slide in zip(names, slides, strict=True):
        by_name.setdefault(name, []).append(slide)
    each = [
        OneSlide(name, of[0].patient, len(of), _count(of, config, merge_bands=merge_bands))
        for name, of in by_name.items()
    ]

    def together(names: Sequence[str]) -> "Differential":
        return _count([one for name in names for one in by_name[name]], config, merge_bands=merge_bands)

    return of_patients(each, together), without_patient(each)


def read_patients(path: Path, images: Sequence[str], progress: Progress) -> dict[str, str]:
    """In the task: whose these images are, by a table."""
    from napari_bloodcell.core.report.patients import patients_in

    progress("Reading", 0, 0)
    return patients_in(path, images)


def prepare(progress: Progress) -> None:
    """Load what counting needs: a third of a second the first time."""
    from napari_bloodcell.core.report import count
    from napari_bloodcell.core.report.patients import chance_of

    progress("Loading", 0, 0)
    count(["neutrophil"])
    chance_of([{}, {}])


def export(folder: Path, shown: Shown, slides: Sequence[Slide], progress: Progress) -> Path:
    """Into a new folder: the differentials as they are on the screen, and the cells behind them."""
    from napari_bloodcell.core.artifact import check_writable, write_bytes, write_json
    from napari_bloodcell.core.report import write_differential
    from napari_bloodcell.core.report.patients import to_json_of, write_patients

    number, target = 1, folder / "differential"
    while target.exists():
        number += 1
        target = folder / f"differential-{number}"
    check_writable(target)
    parents = {s.name: str(s.made_from.get("image", {}).get("sha256", "")) for s in slides}
    parts = [("", POOLED, shown.pooled)]
    if len(shown.slides) > 1:
        places = folder_names([name for name, _ in shown.slides])
        parts += [(place, name, one) for place, (name, one) in zip(places, shown.slides, strict=True)]
    for done, (place, title, one) in enumerate(parts):
        progress("Writing", done, len(parts))
        write_differential(target / place, one, title=title, parents=parents)
    write_bytes(target / "cells.csv", _cells(slides).encode())
    write_patients(target, shown.patients)
    said = {
        "comment": shown.comment,
        "comments": dict(shown.comments),
        "signed": dict(shown.signed),
        "agreement": shown.agreement,
        "digest": shown.digest,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "pooled": asdict(shown.pooled),
        "patients": [to_json_of(patient) for patient in shown.patients],
    }
    name = "signed.json" if shown.signed else "unsigned.json"
    write_json(target / name, "differential", said, parents=parents)
    return target


def _count(slides: Sequence[Slide], config: CountConfig, *, merge_bands: bool) -> "Differential":
    from napari_bloodcell.core.report import count_cells

    return count_cells(
        [kind for slide in slides for kind in slide.kinds],
        [seen for slide in slides for seen in slide.seen],
        [cut for slide in slides for cut in slide.at_border],
        config,
        merge_bands=merge_bands,
        known=_known(slides),
    )


def _known(slides: Sequence[Slide]) -> Collection[str]:
    """The classes that the models can name; none where one of them does not say."""
    models = [slide.made_from.get("bundle") for slide in slides]  # None where no model named the cells
    each = [model.get("classes", ()) if isinstance(model, Mapping) else () for model in models]
    return {name for names in each for name in names} if all(each) else ()


def _cells(slides: Sequence[Slide]) -> str:
    from napari_bloodcell.core.rows import csv_text

    columns = ("image", "cell_id", "cell_type", "cell_type_source", "touches_border")
    is_any = any(slide.patient for slide in slides)
    table: list[Sequence[Any]] = [(*columns, PATIENT) if is_any else columns]
    for slide in slides:
        rows = zip(slide.table["index"], slide.kinds, slide.sources, slide.at_border, strict=True)
        whose = (slide.patient,) if is_any else ()
        table += [(slide.name, int(cell), *rest, *whose) for cell, *rest in rows]
    return csv_text(table)


def folder_names(slides: Sequence[str]) -> list[str]:
    """One folder for each slide, whatever it is called and whatever the file system takes for the same."""
    names: list[str] = []
    for slide in slides:
        plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in slide).strip(" .") or "slide"
        name, number = plain, 1
        while name.casefold() in (taken.casefold() for taken in names):
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names
