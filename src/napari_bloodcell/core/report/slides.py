"""What ``analyse`` left on disk -> slides: each image's run and table, and what people said of its cells.
``sessions`` gives the same of a session's folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.errors import ArtifactError, DataError
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.report.by_slide import slides_of
from napari_bloodcell.core.report.readers import PERSON, Cell
from napari_bloodcell.core.session.folder import SESSION

if TYPE_CHECKING:
    import pandas as pd

RUN, TABLE = "run.json", "cells.parquet"


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One analysed image: its record, its cells, the slide it belongs to."""

    folder: Path
    slide: str
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    table: "pd.DataFrame"
    notes: tuple[str, ...] = field(default=())

    @property
    def image(self) -> Mapping[str, Any]:
        image: Mapping[str, Any] = self.record["image"]
        return image

    @property
    def bundle(self) -> Mapping[str, Any]:
        bundle: Mapping[str, Any] = self.record["bundle"]
        return bundle


def read_runs(paths: Iterable[str | Path], sessions: Sequence[Run] = ()) -> list[Run]:
    """Every finished analysis in the folders, after the runs of sessions; an image counts once."""
    folders = dict.fromkeys(folder for path in paths for folder in _folders_in(Path(path)))
    slides = {out: slides_of(out) for out in dict.fromkeys(folder.parent for folder in folders)}
    runs: dict[str, Run] = {}
    for run in (
        *sessions,
        *(_read(folder, slides[folder.parent].get(folder.name, "")) for folder in folders),
    ):
        same = runs.get(str(run.image["sha256"]))
        if same is not None:
            note = f"{run.folder} holds the same image as {same.folder}: it is counted once."
            runs[str(run.image["sha256"])] = replace(same, notes=(*same.notes, note))
            continue
        runs[str(run.image["sha256"])] = run
    return list(runs.values())


def _folders_in(path: Path) -> list[Path]:
    if not path.is_dir():
        raise DataError(
            f"{path} is no folder. Give a folder that `napari-bloodcell analyse --out` wrote, or a session's."
        )
    found = sorted(run.parent for run in path.rglob(RUN))
    if not found and not any(path.rglob(SESSION)):
        raise DataError(
            f"{path} holds no finished analysis: there is no {RUN} in it, and no {SESSION}. Give a folder "
            "that `napari-bloodcell analyse --out` wrote, or a session's."
        )
    return found


def _read(folder: Path, slide: str) -> Run:
    import pandas as pd

    header, body = read_json(folder / RUN, "run")
    path = folder / TABLE
    if not path.is_file() or hash_file(path) != body["outputs"].get(TABLE):
        raise ArtifactError(
            f"{path} is missing or was changed after the analysis. Analyse the image again; give "
            "corrections as a reader's table instead."
        )
    table = pd.read_parquet(path)
    return Run(
        folder=folder,
        slide=slide or _usual_slide(body),
        record=body,
        config=header.config,
        table=table,
        notes=tuple(str(note) for note in (*body["image"].get("notes", ()), *body.get("notes", ()))),
    )


def _usual_slide(body: Mapping[str, Any]) -> str:
    """Of an image that was analysed alone: the folder it lay in; else its own name."""
    source = body["image"].get("source")
    return Path(source).parent.name or str(body["image"]["name"]) if source else str(body["image"]["name"])


def known_classes(records: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """What the models of these run records can name; nothing where one of them does not say: a person's, or
    one made before it was recorded."""
    classes = [record.get("bundle", {}).get("classes") for record in records]
    if not all(isinstance(one, list) for one in classes):
        return frozenset()
    return frozenset(str(name) for one in classes for name in one)


def together(runs: Sequence[Run]) -> "pd.DataFrame":
    """All cells in one table, with their slide, and whether a person has looked."""
    import pandas as pd

    tables = [run.table.assign(slide=run.slide, result=str(run.folder)) for run in runs if len(run.table)]
    if not tables:
        columns = ["slide", "image", "cell_id", "cell_type", "reviewed", "touches_border"]
        return pd.DataFrame({name: [] for name in columns}).astype({"reviewed": bool, "touches_border": bool})
    table = pd.concat(tables, ignore_index=True)
    source = table["cell_type_source"].astype(str) if "cell_type_source" in table else ""
    table["reviewed"] = np.asarray(pd.Series(source, index=table.index).str.startswith(PERSON), bool)
    known = table["model_type"] if "model_type" in table else table["cell_type"]
    table["model_type"] = known.where(known.notna(), table["cell_type"])
    return table


def with_answers(table: "pd.DataFrame", answers: Mapping[Cell, str], who: str) -> "pd.DataFrame":
    """The table with people's answers in place of the model's. Each answer must fit one cell."""
    place: dict[Cell, list[int]] = {}
    for row, (image, source, cell) in enumerate(
        zip(table["image"], table.get("source", table["image"]), table["cell_id"], strict=True)
    ):
        for name in dict.fromkeys((str(image), str(source))):
            place.setdefault((name, int(cell)), []).append(row)
    unknown = [cell for cell in answers if cell not in place]
    if unknown:
        raise DataError(
            f"{len(unknown)} answers of {who} fit no cell of these results; the first is cell "
            f"{unknown[0][1]} of {unknown[0][0]!r}. Use image and cell_id as they stand in cells.csv."
        )
    double = [cell for cell in answers if len(place[cell]) > 1]
    if double:
        raise DataError(
            f"Two images are called {double[0][0]!r}. Write the column 'source' of cells.csv into the "
            f"column image of {who}: it tells them apart."
        )
    result = table.copy()
    types, sources = result["cell_type"].astype(object), result["cell_type_source"].astype(object)
    for cell, said in answers.items():
        row = place[cell][0]
        types.iloc[row], sources.iloc[row] = said, f"{PERSON} {who}"
        result.loc[result.index[row], "reviewed"] = True
    result["cell_type"], result["cell_type_source"] = types, sources
    return result
