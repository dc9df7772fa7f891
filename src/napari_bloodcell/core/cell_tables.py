"""Cells with vectors and classes as tables on disk: those ``analyse`` and ``embed cells`` write, and the
small table of corrected cells a person makes (image, cell_id, cell_type, person)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.cell_places import CellPlaces, names_apart
from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.embed.collection import ABOUT
from napari_bloodcell.core.embed.measurements import OF_TABLES, MeasurementEmbedder
from napari_bloodcell.core.errors import DataError, TaxonomyError
from napari_bloodcell.core.image import place_of
from napari_bloodcell.core.records import COULD_BE, FITS_NONE, PERSON, UNIDENTIFIED, Embeddings
from napari_bloodcell.core.rows import Row, csv_text, delimiter_of, plain, read_rows, whole_number
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    import pandas as pd

CLASS_COLUMNS = ("class", "cell_type", "label")
GROUP_COLUMNS = ("group", "slide", "patient")
NO_CLASS = frozenset({"", "unknown", "unlabelled", "unidentified", "nan"})
SOURCE = "cell_type_source"
# What `classify suggest` writes beside a guess; who has no column person there has looked at nothing.
GUESS_COLUMNS = ("probability", "second", "second_prob")
CORRECTION_COLUMNS = ("image", "cell_id", "cell_type", "person")


@dataclass(frozen=True, kw_only=True, eq=False)
class CellVectors:
    """Cells of one or several tables, one row each. ``embeddings.cell_id`` counts the rows; ``image`` and
    ``cell_id`` are the cell's place. A label is "" where nobody gave one."""

    embeddings: Embeddings
    image: NDArray[np.str_]
    source: NDArray[np.str_]  # path of the image; "" where the table does not say
    cell_id: NDArray[np.int64]
    label: NDArray[np.str_]
    lab: NDArray[np.str_]
    group: NDArray[np.str_] | None  # slide or patient; None where the tables do not say

    def __len__(self) -> int:
        return len(self.embeddings)

    def names(self) -> list[str]:
        """The image of each cell, as a table should have it to be understood again."""
        return names_apart(self.image.tolist(), self.source.tolist())


@dataclass(frozen=True)
class Correction:
    """One cell's class as a person gave it."""

    image: str
    cell_id: int
    cell_type: str
    person: str | None = None  # None where the table has no such column


def read_cells(
    paths: str | Path | Sequence[str | Path],
    embedder: str = "",
    taxonomy: Taxonomy = DEFAULT,
    *,
    wanted: str = "",
    labelled: bool = True,
) -> CellVectors:
    """Tables (.h5ad, .parquet, .csv) or folders of ``analyse`` results, joined, each once. ``embedder`` says
    which vectors, where a table holds several; ``wanted`` is the hash of the embedder a model takes. Without
    ``labelled`` nobody asks for classes, and names that are not known do no harm."""
    named = [paths] if isinstance(paths, str | Path) else paths
    tables = {place_of(path): path for given in named for path in tables_in(Path(given))}
    parts = [_read(path, embedder, wanted) for path in tables.values()]
    hashes = {made for _, _, _, made in parts}
    if len(hashes) != 1:
        raise DataError("The tables hold vectors of different embedders. Embed all cells with the same one.")
    frames = [frame for frame, _, _, _ in parts]
    values = np.concatenate([values for _, values, _, _ in parts])
    groups = [_groups(frame) for frame in frames]
    known = [group for group in groups if group is not None]
    return CellVectors(
        embeddings=Embeddings(
            cell_id=np.arange(len(values), dtype=np.int32),
            values=values,
            names=parts[0][2],
            embedder=hashes.pop(),
        ),
        image=np.concatenate([_texts(frame, "image") for frame in frames]),
        source=np.concatenate([_texts(frame, "source") for frame in frames]),
        cell_id=np.concatenate([_ids(frame) for frame in frames]),
        label=np.concatenate([_labels(frame, taxonomy if labelled else None) for frame in frames]),
        lab=np.concatenate([_texts(frame, "lab", "unnamed") for frame in frames]),
        group=np.concatenate(known) if len(known) == len(frames) else None,
    )


def read_corrections(path: Path, taxonomy: Taxonomy = DEFAULT) -> list[Correction]:
    """The table of corrected cells. A cell given twice must have one class."""
    table = read_rows(path)
    missing = [name for name in CORRECTION_COLUMNS[:3] if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}. It takes: {', '.join(CORRECTION_COLUMNS)}.")
    found: dict[tuple[str, int], Correction] = {}
    for row in table.rows:
        one = _correction(path, row, taxonomy)
        before = found.setdefault((one.image, one.cell_id), one)
        if before.cell_type != one.cell_type:
            raise DataError(
                f"{path}, line {row.line}: cell {one.cell_id} of {one.image} is {one.cell_type} here and "
                f"{before.cell_type} above. Keep one line for each cell."
            )
    return list(found.values())


def write_corrections(
    path: Path, corrections: Sequence[Correction], more: Mapping[str, Sequence[str]] | None = None
) -> None:
    """``more``: further columns, for whoever looks at the cells; reading passes them over."""
    columns = more or {}
    rows: list[list[Any]] = [[*CORRECTION_COLUMNS, *columns]]
    for at, c in enumerate(corrections):
        told = [values[at] for values in columns.values()]
        rows.append([c.image, c.cell_id, c.cell_type, c.person or "", *told])
    write_bytes(path, csv_text(rows).encode())


def labels_for(cells: CellVectors, corrections: Sequence[Correction]) -> list[str]:
    """The corrected class of each cell, "" where there is none; a correction of a cell that is not there, or
    that may be one of two, is refused."""
    places = CellPlaces(cells.image, cells.source, cells.cell_id)
    labels = [""] * len(cells)
    lost = []
    for one in corrections:
        rows = places.rows(one.image, one.cell_id)
        if not rows:
            lost.append(one)
            continue
        if len(rows) > 1:
            raise DataError(_which(one, {str(cells.source[row]) for row in rows}))
        if labels[rows[0]] not in ("", one.cell_type):
            raise DataError(
                f"Cell {one.cell_id} of {one.image} is {one.cell_type} in one line of the corrections and "
                f"{labels[rows[0]]} in another, which names the image in another way. Keep one line."
            )
        labels[rows[0]] = one.cell_type
    if lost:
        other = places.elsewhere(lost[0].image)
        hint = f" An image of that name is there, but of another folder: {other}." if other else ""
        raise DataError(
            f"{len(lost)} of {len(corrections)} corrected cells are not among the cells given; the first is "
            f"cell {lost[0].cell_id} of {lost[0].image}.{hint} Give the tables these cells are in."
        )
    return labels


def _which(one: Correction, sources: set[str]) -> str:
    advice = (
        f"Write the whole path into its column image: {' or '.join(sorted(sources))}."
        if len(sources - {""}) > 1
        else "Give the results of one of these images only, or rename an image and analyse it again."
    )
    return (
        f"Two of the cells given are cell {one.cell_id} of an image called {one.image!r}: which one was "
        f"corrected cannot be told. {advice}"
    )


def tables_in(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path} does not exist. Check the path; a relative one starts at {Path.cwd()}.")
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*/cells.parquet")) or sorted(path.glob("cells.parquet"))
    if not found:
        raise DataError(
            f"{path} holds no cells.parquet. Give a results folder of `analyse`, or a table; labelled "
            f"pictures become one by `napari-bloodcell embed cells {path} --out cells.parquet`."
        )
    return found


def _read(
    path: Path, embedder: str, wanted: str
) -> "tuple[pd.DataFrame, NDArray[np.float32], tuple[str, ...], str]":
    """Rows, vectors, names of their columns, hash of the embedder."""
    import pandas as pd

    readers: dict[str, Any] = {".parquet": pd.read_parquet, ".csv": pd.read_csv}
    suffix = path.suffix.lower()
    if suffix == ".h5ad":
        return _read_anndata(path, embedder)
    if suffix not in readers:
        raise DataError(f"{path} is no table of cells; it takes .h5ad, .parquet, .csv, or a results folder.")
    try:
        frame = readers[suffix](path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Check the path, or write it again.") from error
    if len(frame.columns) == 1 and delimiter_of(str(frame.columns[0])) != ",":
        raise DataError(
            f"The columns of {path} are not separated by commas: a spreadsheet has written it anew, and may "
            "have changed its numbers. Give the table as it was written, or the .parquet beside it."
        )
    known = frame.attrs.get(ABOUT, {}).get("embedders", {})
    if not (embedder or wanted) and len(known) == 1:
        embedder = next(iter(known))  # what it was made for; measurements are in every table
    measured = _measured(frame.columns, embedder, wanted)
    if measured is not None:
        values = frame[list(measured.names)].to_numpy(np.float32)
        return frame, values, measured.names, measured.hash
    name = embedder or MeasurementEmbedder.kind
    # In a table a trained embedder is called as its folder is.
    short = next((one for one in (name, Path(name).name) if f"{one}_0" in frame.columns), "")
    if not short:
        raise DataError(
            f"{path} holds no vectors of embedder {name!r}. Name the one it holds with --embedder, or make "
            "them: napari-bloodcell embed cells."
        )
    columns = [column for column in frame.columns if column.removeprefix(f"{short}_").isdigit()]
    told = {str(value) for value in frame.get(f"{short}_hash", ())}
    if short in known:
        told = {str(known[short]["hash"])}
    hash_ = told.pop() if len(told) == 1 else find_embedder(name).hash
    return frame, frame[columns].to_numpy(np.float32), tuple(columns), hash_


def _measured(columns: "pd.Index[str]", embedder: str, wanted: str) -> MeasurementEmbedder | None:
    """The embedder whose vectors are columns of the table: the one named, else the one a model takes, else
    the first whose columns are all there."""
    ready = [kind() for kind in OF_TABLES if set(kind.names) <= set(columns)]
    fit = [one for one in ready if embedder in ("", one.kind)]
    return next((one for one in fit if one.hash == wanted), fit[0] if fit else None)


def _read_anndata(
    path: Path, embedder: str
) -> "tuple[pd.DataFrame, NDArray[np.float32], tuple[str, ...], str]":
    try:
        import anndata
    except ImportError as error:
        raise DataError(
            "Reading .h5ad takes the package anndata: pip install 'napari-bloodcell[anndata]'. "
            "Or write the table as .parquet."
        ) from error
    try:
        data = anndata.read_h5ad(path)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}). Check the path, or write it again.") from error
    known = data.uns.get(ABOUT, {}).get("embedders", {})
    name = embedder or (next(iter(known)) if len(known) == 1 else "")
    if name not in known or f"X_{name}" not in data.obsm:
        raise DataError(f"{path} holds vectors of: {', '.join(known) or 'none'}. Name one with --embedder.")
    values = np.asarray(data.obsm[f"X_{name}"], np.float32)
    names = tuple(f"{name}_{i}" for i in range(values.shape[1]))
    return data.obs.reset_index(names="cell"), values, names, str(known[name]["hash"])


def _column(frame: "pd.DataFrame", names: Sequence[str]) -> NDArray[np.str_] | None:
    found = next((name for name in names if name in frame.columns), None)
    return None if found is None else _texts(frame, found)


def _texts(frame: "pd.DataFrame", name: str, otherwise: str = "") -> NDArray[np.str_]:
    if name not in frame.columns:
        return np.full(len(frame), otherwise, dtype=np.str_)
    there = frame[name].astype(object).where(frame[name].notna(), "")
    texts: NDArray[np.str_] = there.astype(str).map(plain).to_numpy().astype(np.str_)
    return texts


def _groups(frame: "pd.DataFrame") -> NDArray[np.str_] | None:
    """The cells of an image whose slide is not told belong together, and to no others."""
    told = _column(frame, GROUP_COLUMNS)
    return None if told is None else np.where(told == "", _texts(frame, "image"), told)


def _ids(frame: "pd.DataFrame") -> NDArray[np.int64]:
    if "cell_id" not in frame.columns:
        return np.arange(1, len(frame) + 1)
    if empty := int(frame["cell_id"].isna().sum()):
        raise DataError(f"The cell_id is empty in {how_many(empty, 'row')} of a table. Number its cells.")
    ids: NDArray[np.int64] = frame["cell_id"].to_numpy(np.int64)
    return ids


def _labels(frame: "pd.DataFrame", taxonomy: Taxonomy | None) -> NDArray[np.str_]:
    """What a person said. What a model said (``cell_type_source`` names its bundle) is no label."""
    given = _column(frame, CLASS_COLUMNS)
    if given is None or taxonomy is None:
        return np.full(len(frame), "", dtype=np.str_)
    given = np.where(np.char.startswith(_texts(frame, "cell_type_source"), "bundle"), "", given)
    meant = {name: "" if name.casefold() in NO_CLASS else taxonomy.resolve(str(name)) for name in set(given)}
    return np.asarray([meant[name] for name in given], dtype=np.str_)


def by_person(row: Row, said: str) -> bool:
    """Whether a person gave a row its class ``said``: so it says, or nothing says that a model did, or it is
    another than the model's own columns lead to, and was written over by hand."""
    if "person" in row.values:
        return bool(row.get("person"))
    best, doubt, source = row.get("best"), row.get("doubt"), row.get(SOURCE)
    if not (source or best):
        return not any(name in row.values for name in GUESS_COLUMNS)
    if source.startswith(PERSON):
        return True
    has_class = not doubt or doubt.startswith((COULD_BE, FITS_NONE))
    return bool(best) and said != (best if has_class else UNIDENTIFIED)


def _correction(path: Path, row: Row, taxonomy: Taxonomy) -> Correction:
    said = row.get("cell_type")
    if not said:
        raise DataError(
            f"{path}, line {row.line}: the cell_type is empty. Name the class, write {UNIDENTIFIED} where it "
            "cannot be told, or take the line out."
        )
    try:
        return Correction(
            image=row.get("source") or row.get("image"),
            cell_id=whole_number(row.get("cell_id")),
            cell_type=UNIDENTIFIED if said.casefold() == UNIDENTIFIED else taxonomy.resolve(said),
            person=row.values.get("person", None if by_person(row, said) else ""),
        )
    except ValueError:
        raise DataError(
            f"{path}, line {row.line}: cell_id {row.get('cell_id')!r} is no whole number."
        ) from None
    except TaxonomyError as error:
        raise DataError(f"{path}, line {row.line}: {error}") from error
