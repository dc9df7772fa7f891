"""What ``analyse`` left on disk -> slides: each image's run and table, and what people said of its cells.
``sessions`` gives the same of a session's folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.cell_places import CellPlaces, names_apart
from napari_bloodcell.core.errors import ArtifactError, DataError
from napari_bloodcell.core.image import hash_file
from napari_bloodcell.core.inputs import slides_apart
from napari_bloodcell.core.records import PERSON
from napari_bloodcell.core.report.by_slide import slides_of
from napari_bloodcell.core.report.patients import check_slides, patients_of, read_patients
from napari_bloodcell.core.report.provenance import Failure, failures_in
from napari_bloodcell.core.report.readers import Cell, Reader, merge
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
    key: str = ""  # of an image in a session
    patient: str = ""  # whose slide it is, where it is known
    notes: tuple[str, ...] = field(default=())
    twins: tuple[str, ...] = field(default=())  # other results of the same picture, which are not counted

    @property
    def image(self) -> Mapping[str, Any]:
        image: Mapping[str, Any] = self.record["image"]
        return image

    @property
    def bundle(self) -> Mapping[str, Any]:
        bundle: Mapping[str, Any] = self.record["bundle"]
        return bundle

    @property
    def place(self) -> str:
        """Its picture, where it has a path; else its results."""
        return str(self.image.get("source") or self.folder)

    @property
    def page(self) -> int | None:
        """Of a file that holds several, as it was asked for."""
        page = (self.config.get("read") or {}).get("page")
        return None if page is None else int(page)


def read_runs(paths: Iterable[str | Path], sessions: Sequence[Run] = ()) -> list[Run]:
    """Every finished analysis in the folders, after the runs of sessions; an image counts once. What is left
    of an image that failed since is no result."""
    folders = result_folders(paths)
    outs = list(dict.fromkeys(folder.parent for folder in folders))
    slides = {out: slides_of(out) for out in outs}
    patients = {out: patients_of(out) for out in outs}
    failed = {out / failure.folder for out in outs for failure in failures_in(out)}
    runs: dict[tuple[str, int], Run] = {}
    for run in (
        *sessions,
        *(
            _read(folder, slides[folder.parent].get(folder.name, ""), patients[folder.parent])
            for folder in folders
            if folder not in failed
        ),
    ):
        key = (str(run.image["sha256"]), run.page or 0)
        same = runs.get(key)
        if same is not None:
            note = f"{run.folder} holds the same image as {same.folder}: it is counted once."
            runs[key] = replace(same, notes=(*same.notes, note), twins=(*same.twins, run.place))
            continue
        runs[key] = run
    return list(runs.values())


def with_patients(runs: Sequence[Run], table: Path | None) -> list[Run]:
    """Each run with whose slide it is of: as its folder says, or as ``table`` does (CSV of slide and
    patient). Slides of one name that are of several patients are several slides."""
    told = {} if table is None else read_patients(table)
    if table is not None:
        check_slides(table, told, [run.slide for run in runs])
    runs = [replace(run, patient=told.get(run.slide, run.patient)) for run in runs]
    names = slides_apart([(run.slide, run.patient) for run in runs])
    return [replace(run, slide=name) for run, name in zip(runs, names, strict=True)]


def result_folders(paths: Iterable[str | Path]) -> list[Path]:
    """Those of the images, in the order given; each once."""
    return list(dict.fromkeys(folder for path in paths for folder in _folders_in(Path(path))))


def failed_in(paths: Iterable[str | Path], runs: Iterable[Run]) -> list[Failure]:
    """Images of these results that could not be analysed."""
    outs = dict.fromkeys([*map(Path, paths), *(run.folder.parent for run in runs)])
    found = {failure.image: failure for out in outs for failure in failures_in(out)}
    return list(found.values())


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


def _read(folder: Path, slide: str, patients: Mapping[str, str]) -> Run:
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
        patient=patients.get(slide, ""),
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
    if any(run.patient for run in runs):
        whose = [run.patient for run in runs if len(run.table)]
        tables = [one.assign(patient=patient) for one, patient in zip(tables, whose, strict=True)]
    if not tables:
        columns = ["slide", "image", "cell_id", "cell_type", "reviewed", "touches_border"]
        return pd.DataFrame({name: [] for name in columns}).astype({"reviewed": bool, "touches_border": bool})
    table = pd.concat(tables, ignore_index=True)
    source = table["cell_type_source"].astype(str) if "cell_type_source" in table else ""
    table["reviewed"] = np.asarray(pd.Series(source, index=table.index).str.startswith(PERSON), bool)
    known = table["model_type"] if "model_type" in table else table["cell_type"]
    table["model_type"] = known.where(known.notna(), table["cell_type"])
    return table


def on_cells(reader: Reader, table: "pd.DataFrame") -> Reader:
    """The reader's answers by the images' names as ``names_apart`` has them, however the reader wrote them.
    Each answer must fit one cell."""
    sources = table.get("source", table["image"])
    places, names = CellPlaces(table["image"], sources, table["cell_id"]), names_of(table)
    found = {cell: places.rows(*cell) for cell in reader.answers}
    unknown = [cell for cell, rows in found.items() if not rows]
    if unknown:
        raise DataError(
            f"{len(unknown)} answers of {reader.name} fit no cell of these results; the first is cell "
            f"{unknown[0][1]} of {unknown[0][0]!r}. Use image and cell_id as they stand in cells.csv."
        )
    double = [cell for cell, rows in found.items() if len(rows) > 1]
    if double:
        raise DataError(
            f"Two images are called {double[0][0]!r}. Write the column 'source' of cells.csv into the "
            f"column image of {reader.name}: it tells them apart."
        )
    answers: dict[Cell, str] = {}
    for cell, said in reader.answers.items():
        if answers.setdefault((names[found[cell][0]], cell[1]), said) != said:
            raise DataError(f"{reader.name} has cell {cell[1]} of {cell[0]} twice, as two classes. Keep one.")
    return replace(reader, answers=answers)


def names_of(table: "pd.DataFrame") -> list[str]:
    """The image of each cell, told apart where several have one name."""
    return names_apart(table["image"].tolist(), table.get("source", table["image"]).tolist())


def answered(table: "pd.DataFrame", readers: Sequence[Reader]) -> "tuple[pd.DataFrame, list[Reader]]":
    """The table with what the readers said together, and the readers by the names of ``names_of``."""
    people = [on_cells(reader, table) for reader in readers]
    if merged := merge(people):
        table = with_answers(table, merged, " and ".join(one.name for one in people))
    return table, people


def with_answers(table: "pd.DataFrame", answers: Mapping[Cell, str], who: str) -> "pd.DataFrame":
    """The table with people's answers in place of the model's; images by the names of ``names_of``."""
    place = {
        (name, int(cell)): row
        for row, (name, cell) in enumerate(zip(names_of(table), table["cell_id"], strict=True))
    }
    result = table.copy()
    types, sources = result["cell_type"].astype(object), result["cell_type_source"].astype(object)
    for cell, said in answers.items():
        row = place[cell]
        types.iloc[row], sources.iloc[row] = said, f"{PERSON} {who}"
        result.loc[result.index[row], "reviewed"] = True
    result["cell_type"], result["cell_type_source"] = types, sources
    return result
