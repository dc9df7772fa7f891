"""What the panel "Classify" asks of the core, in its task; and which cell to look at next."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.cell_places import CellPlaces
from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.rows import Row, read_rows, whole_number
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.class_history import PERSON
from napari_bloodcell.gui.outlines import Outlined

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_bloodcell.core.pipeline import Analysis

MOST_SUGGESTED = 200
MOST_NAMED = 5  # images of a table


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What a model says of the cells of one layer."""

    outlined: Outlined
    analysis: "Analysis"
    table: "pd.DataFrame"
    rims: Any
    order: Sequence[int] = ()  # which cells to look at first

    def made_from(self) -> dict[str, Any]:
        """For the layer's metadata."""
        image = self.analysis.image
        return {
            "bundle": layers.bundle_of(self.analysis),
            "config": self.analysis.config.to_json(),
            "image": {
                "sha256": image.sha256,
                "um_per_px": image.um_per_px,
                "layer": self.outlined.picture.name,
                "source": image.source,
                "layer_id": self.outlined.picture.layer_id,
            },
        }


def predict(
    outlined: Outlined, bundle: str, config: AnalyseConfig, progress: Progress, seen: Collection[int] = ()
) -> Predicted:
    """``seen``: cells a person has named, after which the order of the others goes on."""
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.pipeline import classify_masks

    progress("Reading the image", 0, 0)
    image, masks = outlined.read(config.read)
    progress("Loading the model", 0, 0)
    analysis = classify_masks(image, masks, load_bundle(bundle), config, progress=progress)
    progress("Drawing rims", 0, 0)
    rims = layers.rims_of(masks.labels)
    layers.warm_up()
    return Predicted(
        outlined=outlined,
        analysis=analysis,
        table=analysis.table(),
        rims=rims,
        order=_suggested(analysis, seen),
    )


def _suggested(analysis: "Analysis", seen: Collection[int]) -> list[int]:
    """Cells whose answer would teach the model most, the most telling first."""
    from napari_bloodcell.core.adapt import suggest
    from napari_bloodcell.core.config import SuggestConfig

    n = len(analysis.embeddings)
    if n == 0:
        return []
    config = SuggestConfig(cells=min(n, MOST_SUGGESTED))
    cells = analysis.embeddings
    done = np.isin(cells.cell_id, list(seen)).tolist()
    return [int(cell) for cell in suggest(analysis.bundle.classifier, cells, done, config)]


def review_order(
    features: "pd.DataFrame", ids: Any, by_person: Any, suggested: Sequence[int] = ()
) -> list[int]:
    """Cells that nobody has looked at: first what was suggested, then those the model is least sure of."""
    n = len(ids)
    sure = features["cell_type_prob"].to_numpy(float) if "cell_type_prob" in features else np.zeros(n)
    doubted = np.zeros(n, bool)
    if "doubt" in features:
        doubted = features["doubt"].astype(str).replace("nan", "").str.len().to_numpy() > 0
    order = np.lexsort((ids, np.nan_to_num(sure), ~doubted))
    left = [int(ids[row]) for row in order if not by_person[row]]
    first = [cell for cell in suggested if cell in set(left)]
    return first + [cell for cell in left if cell not in set(first)]


def said_of(row: Mapping[str, Any]) -> str:
    """What is known of one cell, in a line or two."""
    kind = _plain(row.get("cell_type") or "unidentified")
    source = str(row.get("cell_type_source") or "")
    text = f"Cell {row.get('index', row.get('label', '?'))}: {kind}"
    if source.startswith(PERSON):
        return f"{text}, said by {source.removeprefix(PERSON)}."
    best, probability = row.get("best"), row.get("cell_type_prob")
    if probability is None or probability != probability:  # noqa: PLR0124 (NaN)
        return f"{text}."
    told = f"{_plain(best)} {probability:.0%}" if best and _plain(best) != kind else f"{probability:.0%}"
    second, share = row.get("second"), row.get("second_prob")
    if second and share is not None:
        told += f", then {_plain(second)} {float(share):.0%}"
    doubt = str(row.get("doubt") or "")
    far = next((reason for reason in doubt.split("; ") if reason.startswith("unlike")), "")
    return f"{text}, {told}{'; ' + far if far else ''}."


def _plain(name: object) -> str:
    return str(name).replace("_", " ")


def write_classes(path: Path, image: str, rows: Sequence[tuple[int, str, str]]) -> None:
    """A table that a spreadsheet, the command line and ``read_classes`` understand."""
    from napari_bloodcell.core.cell_tables import Correction, write_corrections

    people = (source.removeprefix(PERSON) if source.startswith(PERSON) else "" for _, _, source in rows)
    write_corrections(
        path,
        [
            Correction(image=image, cell_id=cell, cell_type=kind, person=who)
            for (cell, kind, _), who in zip(rows, people, strict=True)
        ],
    )


def given_in(path: Path, image: str, source: str, reader: str) -> dict[int, tuple[str, str]]:
    """Cell id -> class and what it goes by: the person who gave it (the reader, where the table has no such
    column), or the table. A model's guess that was saved and loaded is no person's answer."""

    def by(person: str | None) -> str:
        who = reader if person is None else person
        return f"{PERSON}{who}" if who else f"table {path.name}"

    found = read_classes(path, image, source)
    # "unidentified" is an answer where a person is named; else nobody has found out what the cell is.
    named = {c: (name, who) for c, (name, who) in found.items() if name and (name != UNIDENTIFIED or who)}
    return {cell: (name, by(who)) for cell, (name, who) in named.items()}


def load_classes(viewer: "Viewer", cells: "Labels", path: Path, me: str) -> str:
    """Classes from a table; gives what to tell. Where the table is refused, nothing has changed."""
    named = given_in(path, classes.image_name(cells), classes.image_source(cells), me)
    known = classes.class_list(cells)
    for name in dict.fromkeys(name for name, _ in named.values()):
        known = known.with_class(name)
    classes.set_classes(viewer, cells, known)
    n = classes.give_each(viewer, cells, named)
    return loaded_text(n, len(set(named) - set(classes.ids(cells).tolist())))


def loaded_text(changed: int, missing: int) -> str:
    told = f"{how_many(changed, 'cell')} got another class."
    return told + (f" Not in this layer: {how_many(missing, 'cell')} of the table." if missing else "")


def read_classes(path: Path, image: str | None = None, source: str = "") -> dict[int, tuple[str, str | None]]:
    """Cell id -> class, and the person who gave it ("" where nobody did, None where the table does not tell);
    of one image (its name, and its path where it has one), where the table has several."""
    table = read_rows(path)
    if not {"cell_id", "cell_type"} <= set(table.columns):
        raise DataError(
            f"{path} has the columns {table.has}; it needs cell_id and cell_type. "
            "Save classes from this panel to see how such a table looks."
        )
    rows = table.rows if image is None else _rows_of(table.rows, image, source, path)
    try:
        return {whole_number(r.get("cell_id")): (r.get("cell_type"), r.values.get("person")) for r in rows}
    except ValueError as error:
        raise DataError(
            f"{path} has a cell_id that is no whole number ({error}). Correct the table."
        ) from error


def _rows_of(rows: Sequence[Row], image: str, source: str, path: Path) -> Sequence[Row]:
    said = [row.get("source") or row.get("image") for row in rows]
    if not any(said):  # no word of an image: a table of this one
        return rows
    place = CellPlaces([image], [source], [0])
    found = [row for row, one in zip(rows, said, strict=True) if place.rows(one, 0)]
    if not found:
        named = ", ".join(sorted(set(said))[:MOST_NAMED])
        raise DataError(
            f"{path} has cells of {named}, none of {source or image}. Choose the table of this image, or the "
            "outlines of one of those; if it is this picture under another name, write that into the table."
        )
    return found
