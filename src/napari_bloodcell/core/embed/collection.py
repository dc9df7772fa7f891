"""Cells of labelled sets or of whole images, each described in one or more ways, as one table.

``embed_dataset`` and ``embed_images`` make it; ``write`` keeps it as an AnnData file (scanpy,
napari-spatialdata) or as a plain table.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.cells import by_name, crops_of
from napari_bloodcell.core.config import CropConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.datasets import CellImage
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.embed.measurements import COLUMNS, measure
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.progress import Progress, silent, within
from napari_bloodcell.core.records import Crops, FloatArray, Masks, SmearImage
from napari_bloodcell.core.rows import harmless_table
from napari_bloodcell.core.segment import SEGMENTERS, Segmenter

if TYPE_CHECKING:
    import anndata
    import pandas as pd

SEGMENTER = "stain-watershed"
PIECE = 256  # cells cut out and described at a time
UNKNOWN = "unknown"
ABOUT = "napari_bloodcell"  # under which a table tells what its vectors are of
PLACE = ("cell", "image", "lab", "class", "cell_id", "x0", "y0", "x1", "y1")


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedCells:
    """One row a cell. ``table`` has the columns of ``PLACE``, then the measurements."""

    table: "pd.DataFrame"
    vectors: dict[str, FloatArray]  # by embedder
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.table)


def embed_dataset(
    cells: Sequence[CellImage],
    embedders: Mapping[str, Embedder],
    segmenter: "Segmenter | Callable[[], Segmenter]" = SEGMENTERS[SEGMENTER],
    *,
    progress: Progress = silent,
) -> EmbeddedCells:
    """Single cells of labelled sets; those not found in their picture are left out and counted. ``segmenter``
    (or what makes one) outlines those that have no mask."""
    segmenter = lru_cache(maxsize=1)(segmenter) if callable(segmenter) else segmenter
    parts, missing, unread = [], 0, list[str]()
    numbers = _numbers(cells)
    for start in range(0, len(cells), PIECE):
        piece = cells[start : start + PIECE]
        seen = within(progress, f"Cells {start + 1} to {start + len(piece)} of {len(cells)}")
        found = {
            config: crops_of(piece, segmenter, config, progress=seen) for config in _crop_configs(embedders)
        }
        first = next(iter(found.values()))
        assert first.boxes_xyxy is not None
        missing += len(first.missing) - len(first.unread)
        unread += [by_name(piece[row].path.name, reason) for row, reason in first.unread.items()]
        rows = [
            {
                "cell": f"{piece[row].domain}/{piece[row].path.name}" + _box_name(piece[row]),
                "image": str(piece[row].path),
                "lab": piece[row].domain,
                "class": piece[row].class_name,
                "cell_id": numbers[start + int(row)],
                **_box(box if piece[row].box_xyxy is None else piece[row].box_xyxy),
            }
            for row, box in zip(first.row, first.boxes_xyxy, strict=True)
        ]
        parts.append(_described(rows, {c: f.crops for c, f in found.items()}, embedders, seen))
    return _joined(parts, embedders, {"cells_not_found": missing, "left_out": unread})


def embed_images(
    paths: Sequence[Path],
    embedders: Mapping[str, Embedder],
    segmenter: Segmenter | None = None,
    labels: Mapping[Path, Masks] | None = None,
    *,
    progress: Progress = silent,
) -> EmbeddedCells:
    """Every white cell of whole images, outlined by ``segmenter``, or by the masks given for the image. The
    lab of an image is the name of its folder."""
    finder = segmenter if segmenter is not None else SEGMENTERS[SEGMENTER]()
    parts = []
    for number, path in enumerate(paths):
        seen = within(progress, f"Image {number + 1} of {len(paths)}")
        image = read_image(path)
        masks = (labels or {}).get(path) or finder.segment(image, progress=seen)
        parts.append(embed_masks(image, masks, embedders, lab=path.parent.name, progress=seen))
    return _joined([(one.table, one.vectors) for one in parts], embedders, {})


def embed_masks(
    image: SmearImage,
    masks: Masks,
    embedders: Mapping[str, Embedder],
    *,
    lab: str = UNKNOWN,
    progress: Progress = silent,
) -> EmbeddedCells:
    """The cells of one image that are outlined already."""
    rows = [
        {
            "cell": f"{image.name}#{cell}",
            "image": image.source or image.name,
            "lab": lab,
            "class": UNKNOWN,
            "cell_id": int(cell),
            **dict(zip(PLACE[5:], map(int, box), strict=True)),
        }
        for cell, box in zip(masks.cell_id, masks.boxes_xyxy, strict=True)
    ]
    crops = {config: crop(image, masks, config, progress=progress) for config in _crop_configs(embedders)}
    return _joined([_described(rows, crops, embedders, progress)], embedders, {})


def to_anndata(cells: EmbeddedCells) -> "anndata.AnnData":
    """``X``: the measurements; ``obsm``: ``X_<embedder>`` and ``spatial``; ``uns``: provenance, and the keys
    by which spatialdata joins the rows to a label image."""
    import anndata

    obs = cells.table[list(PLACE)].set_index("cell")
    obs.index.name = None
    obs["region"] = obs["image"]
    for name in ("image", "lab", "class", "region"):
        obs[name] = obs[name].astype("category")
    places = cells.table[["x0", "x1", "y0", "y1"]].to_numpy(np.float32)
    centres = np.stack([places[:, :2].mean(axis=1), places[:, 2:].mean(axis=1)], axis=1)
    return anndata.AnnData(
        X=cells.table[list(COLUMNS)].to_numpy(np.float32),
        obs=obs,
        var=_frame_of(list(COLUMNS)),
        obsm={f"X_{name}": values for name, values in cells.vectors.items()} | {"spatial": centres},
        uns={
            ABOUT: cells.provenance,
            "spatialdata_attrs": {
                "region": sorted(set(cells.table["image"])),
                "region_key": "region",
                "instance_key": "cell_id",
            },
        },
    )


def check_can_write(path: Path) -> None:
    """To be asked before hours of work: is it a table that can be written here?"""
    kinds = (".h5ad", ".parquet", ".csv")
    if path.suffix not in kinds:
        raise DataError(f"{path} ends in {path.suffix!r}; tables are written as {', '.join(kinds)}.")
    if path.suffix == ".h5ad" and find_spec("anndata") is None:
        raise DataError(
            "Writing .h5ad takes the package anndata: pip install 'napari-bloodcell[anndata]'. "
            "Or write .parquet or .csv."
        )


def write(path: Path, cells: EmbeddedCells) -> None:
    """.h5ad for scanpy and spatialdata; .parquet or .csv with one column a number."""
    import pandas as pd

    check_can_write(path)
    if path.suffix == ".h5ad":
        data = to_anndata(cells)
        with atomic_path(path) as temporary:
            data.write_h5ad(temporary)
        return
    wide = [
        pd.DataFrame(values, columns=[f"{name}_{i}" for i in range(values.shape[1])])
        for name, values in cells.vectors.items()
    ]
    frame = pd.concat([cells.table, *wide], axis=1)
    frame.attrs = {ABOUT: cells.provenance}  # goes into the .parquet
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            told = {f"{name}_hash": one["hash"] for name, one in cells.provenance["embedders"].items()}
            frame = frame.assign(**told)  # text has no place of its own for what its vectors are of
            harmless_table(frame).to_csv(temporary, index=False, float_format="%.6g")
        else:
            frame.to_parquet(temporary, index=False)


Part = tuple["pd.DataFrame", dict[str, FloatArray]]


def _described(
    rows: list[dict[str, Any]],
    crops: Mapping[CropConfig, Crops],
    embedders: Mapping[str, Embedder],
    progress: Progress,
) -> Part:
    import pandas as pd

    measured = measure(next(iter(crops.values())), progress=progress)
    table = pd.concat(
        [
            pd.DataFrame(rows, columns=list(PLACE)),
            pd.DataFrame(measured.values, columns=list(measured.names)),
        ],
        axis=1,
    )
    vectors = {
        name: embedder.embed(crops[_crop_config(embedder)], progress=progress).values
        for name, embedder in embedders.items()
    }
    return table, vectors


def _joined(parts: list[Part], embedders: Mapping[str, Embedder], more: dict[str, Any]) -> EmbeddedCells:
    from importlib.metadata import version

    import pandas as pd

    filled = [table for table, _ in parts if len(table)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*PLACE, *COLUMNS])
    vectors = {
        name: np.concatenate([one[name] for _, one in parts])
        if parts
        else np.zeros((0, len(embedder.names)), np.float32)
        for name, embedder in embedders.items()
    }
    provenance = {
        "written_by": f"napari-bloodcell {version('napari-bloodcell')}",
        "embedders": {
            name: {
                "kind": embedder.kind,
                "hash": embedder.hash,
                "protocol": str(getattr(embedder, "training", {}).get("protocol", "none")),
            }
            for name, embedder in embedders.items()
        },
        **more,
    }
    return EmbeddedCells(table=table, vectors=vectors, provenance=provenance)


def _crop_configs(embedders: Mapping[str, Embedder]) -> list[CropConfig]:
    return list(dict.fromkeys([_crop_config(embedder) for embedder in embedders.values()])) or [CropConfig()]


def _crop_config(embedder: Embedder) -> CropConfig:
    wanted = getattr(embedder, "crop", None)
    return wanted if isinstance(wanted, CropConfig) else CropConfig()


def _numbers(cells: Sequence[CellImage]) -> list[int]:
    """Of each cell in its picture, as listed: a picture and a number name one cell."""
    seen: Counter[Path] = Counter()
    numbers = []
    for cell in cells:
        seen[cell.path] += 1
        numbers.append(seen[cell.path])
    return numbers


def _box(box: Iterable[int]) -> dict[str, int]:
    return dict(zip(PLACE[5:], map(int, box), strict=True))


def _box_name(cell: CellImage) -> str:
    return "" if cell.box_xyxy is None else f"#{'-'.join(map(str, cell.box_xyxy))}"


def _frame_of(names: list[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(index=pd.Index(names, dtype=str))
