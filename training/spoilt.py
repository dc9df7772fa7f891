"""How much the recipe of ``make_nano.py`` loses on pictures that are worse than the labs': ``python
training/spoilt.py [NAME ...]`` from the root, with the real cells at hand as for ``make_nano.py``.

Each lab is left out of the training, as for the card, and its pictures are spoilt before the whole chain sees them:
the scale, the focus, the compression, the camera, the stain. Nothing is told of it, and nothing is trained on it.
``fields`` does the same for whole fields of ``bccd`` under a lamp that darkens towards the corners or to one side,
with and without evening it out, and with black or white round them; ``cut out`` for cells cut out of their pictures
along the outlines drawn by hand, on a flat colour. About two minutes a line on one core.
"""

import csv
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage as ndi

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._common import real_data
from make_nano import EMBEDDER, LABS, Lab, drawn_lab, numbered, read_lab, score, train

from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.classify import Classifier
from napari_bloodcell.core.config import ReadConfig
from napari_bloodcell.core.crop import crop
from napari_bloodcell.core.datasets import CellImage, load_dataset
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.taxonomy import DEFAULT

Pixels = NDArray[np.uint8]
Spoil = Callable[[Pixels], Pixels]
FIELDS, CUT_OUT = "fields", "cut out"
SHOWN = 40  # of 100 grey levels, that must be left of a cell under lamp and frame


def bytes_of(values: NDArray[Any]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def scaled(factor: float) -> Spoil:
    def spoil(pixels: Pixels) -> Pixels:
        size = [max(8, round(n * factor)) for n in pixels.shape[1::-1]]
        how = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS
        return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), how), np.uint8)

    return spoil


def compressed(quality: int) -> Spoil:
    def spoil(pixels: Pixels) -> Pixels:
        held = io.BytesIO()
        Image.fromarray(pixels).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held), np.uint8)

    return spoil


def blurred(sigma: float) -> Spoil:
    return lambda pixels: bytes_of(ndi.gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0)))


def grainy(spread: float) -> Spoil:
    return lambda pixels: bytes_of(pixels + np.random.default_rng(0).normal(0, spread, pixels.shape))


def bent(gamma: float) -> Spoil:
    return lambda pixels: bytes_of(255 * (pixels / 255) ** gamma)


def lit(*gain: float) -> Spoil:
    return lambda pixels: bytes_of(pixels * np.array(gain))


def stained(strength: float, mixing: float = 0.0, seed: int = 0) -> Spoil:
    """Densities times ``strength``, and a share of each channel's in the others."""

    def spoil(pixels: Pixels) -> Pixels:
        light = np.maximum(np.percentile(pixels.reshape(-1, 3), 95, axis=0), 8)
        mixed = np.eye(3) + mixing * np.random.default_rng(seed).standard_normal((3, 3))
        density = np.log(light / np.maximum(pixels, 2)) @ mixed.T
        return bytes_of(light * np.exp(-strength * density))

    return spoil


def to_the_corners(fall: float) -> Spoil:
    def spoil(pixels: Pixels) -> Pixels:
        y, x = np.ogrid[-1 : 1 : 1j * pixels.shape[0], -1 : 1 : 1j * pixels.shape[1]]
        return bytes_of(pixels * (1 - fall * (x**2 + y**2) / 2)[..., None])

    return spoil


def to_one_side(fall: float) -> Spoil:
    return lambda pixels: bytes_of(pixels * np.linspace(1, 1 - fall, pixels.shape[1])[None, :, None])


def in_eyepiece(level: float, grain: float = 0, soft: float = 1e-6) -> Spoil:
    """A round picture in a black or white one."""

    def spoil(pixels: Pixels) -> Pixels:
        y, x = np.ogrid[-1 : 1 : 1j * pixels.shape[0], -1 : 1 : 1j * pixels.shape[1]]
        away = np.hypot(y, x * pixels.shape[1] / pixels.shape[0]) / 1.15
        inside = np.clip((1 - away) / soft, 0, 1)[..., None]
        noise = np.random.default_rng(0).normal(0, 1, pixels.shape) * grain
        return bytes_of(pixels * inside + (level + noise) * (1 - inside))

    return spoil


def on_page(level: int) -> Spoil:
    return lambda pixels: np.pad(pixels, ((80, 80), (120, 120), (0, 0)), constant_values=level)


CELLS: dict[str, Spoil] = {
    "as they are": lambda pixels: pixels,
    "half as large": scaled(0.5),
    "0.7 times as large": scaled(0.7),
    "1.5 times as large": scaled(1.5),
    "2.5 times as large": scaled(2.5),
    "blurred by 1.5 px": blurred(1.5),
    "blurred by 2.5 px": blurred(2.5),
    "JPEG, quality 25": compressed(25),
    "JPEG, quality 10": compressed(10),
    "grain of 8 levels": grainy(8),
    "gamma 0.6": bent(0.6),
    "gamma 1.6": bent(1.6),
    "0.6 of the light": lit(0.6, 0.6, 0.6),
    "overexposed, 1.25 of the light": lit(1.25, 1.25, 1.25),
    "warm white balance": lit(1.1, 1, 0.8),
    "cool white balance": lit(0.8, 0.95, 1.1),
    "half the stain": stained(0.5),
    "1.8 times the stain": stained(1.8),
    "other dyes, 1": stained(1, 0.2, 1),
    "other dyes, 2": stained(1, 0.2, 2),
    "other dyes, 3": stained(1, 0.2, 3),
}
LAMPS: dict[str, Spoil] = {
    "as they are": lambda pixels: pixels,
    "0.3 less in the corners": to_the_corners(0.3),
    "0.45 less in the corners": to_the_corners(0.45),
    "0.3 less at one side": to_one_side(0.3),
}
ROUND: dict[str, Spoil] = {
    "black eyepiece": in_eyepiece(0),
    "grainy black eyepiece": in_eyepiece(8, grain=4),
    "soft black eyepiece": in_eyepiece(10, grain=3, soft=0.15),
    "white round": in_eyepiece(255),
    "white page": on_page(255),
    "black page": on_page(0),
}
COLOURS = {"black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255), "green": (0, 255, 0)}


def listed_cells(lab: str) -> Sequence[CellImage]:
    root = real_data()
    assert root is not None  # read_lab has said so before
    return load_dataset(root / lab).cells


def spoilt(lab: Lab, spoil: Spoil, segmenter: Any, folder: Path) -> Lab:
    """The cells of a lab as the product sees them in the spoilt pictures."""
    return seen_anew(lab, [spoil(pixels_of(cell)) for cell in listed_cells(lab.name)], segmenter, folder)


def cut_out(lab: Lab, colour: tuple[int, int, int], segmenter: Any, folder: Path) -> Lab:
    """The same of the cells without what is round them."""
    pictures = []
    for cell in listed_cells(lab.name):
        assert cell.mask_path is not None
        drawn = np.asarray(Image.open(cell.mask_path).convert("L"))[..., None] > 0
        pictures.append(np.where(drawn, pixels_of(cell), np.asarray(colour, np.uint8)))
    return seen_anew(lab, pictures, segmenter, folder)


def pixels_of(cell: CellImage) -> Pixels:
    return np.asarray(Image.open(cell.path).convert("RGB"))


def seen_anew(lab: Lab, pictures: Sequence[Pixels], segmenter: Any, folder: Path) -> Lab:
    listed = listed_cells(lab.name)
    for number, pixels in enumerate(pictures):
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number}.png")
    moved = [replace(cell, path=folder / f"{n}.png", mask_path=None) for n, cell in enumerate(listed)]
    found = crops_of(moved, segmenter)
    labels = np.array([DEFAULT.coarse(cell.class_name) for cell in listed])
    return replace(
        lab,
        cells=numbered(EMBEDDER.embed(found.crops).values),
        labels=labels[found.row],
        rows=np.asarray(found.row),
        missing=len(listed) - len(found.row),
    )


def row_of(name: str, labs: Sequence[Lab], models: dict[str, Classifier], segmenter: Any) -> str:
    scores = []
    for lab in labs:
        with tempfile.TemporaryDirectory() as folder:
            seen = spoilt(lab, CELLS[name], segmenter, Path(folder))
        scores.append(score(models[lab.name].predict(seen.cells), seen))
    keys = ("balanced", "accuracy_surest_half", "unidentified", "coverage")
    each = [f"{one['accuracy']:.3f}" for one in scores]
    means = [f"{np.mean([one[key] for one in scores]):.3f}" for key in ("accuracy", *keys)]
    return f"| {name} | {' | '.join([*each, *means])} | {sum(one['not_found'] for one in scores)} |"


def cut_out_row(name: str, lab: Lab, model: Classifier, segmenter: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        seen = cut_out(lab, COLOURS[name], segmenter, Path(folder))
    one = score(model.predict(seen.cells), seen)
    keys = ("accuracy", "accuracy_surest_half", "unidentified", "coverage")
    return f"| {lab.name} | {name} | {' | '.join(f'{one[key]:.3f}' for key in keys)} | {one['not_found']} |"


def single_cells() -> Iterator[tuple[Path, NDArray[np.float64], str]]:
    """Fields of ``bccd`` with one white cell whose class is known: the field, the box, the class."""
    root = real_data()
    assert root is not None
    with (root / "bccd" / "boxes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "wbc"]
    with (root / "bccd" / "labels.csv").open() as file:
        named = [(row["image"].rpartition("_")[0], row["class"]) for row in csv.DictReader(file)]
    for field in sorted({name for name, _ in named}):
        boxes = [row for row in rows if Path(row["image"]).stem == field]
        classes = [kind for name, kind in named if name == field]
        if len(boxes) == len(classes) == 1:
            box = np.array([float(boxes[0][key]) for key in ("xmin", "ymin", "xmax", "ymax")])
            yield root / "bccd" / "fields" / boxes[0]["image"], box, DEFAULT.resolve(classes[0])


def field_row(name: str, spoil: Spoil, model: Classifier, segmenter: Any, *, even: bool) -> str:
    """Fields of which the frame hides some of the cell are left out."""
    right = found = total = 0
    overlaps = []
    for path, box, kind in single_cells():
        whole = np.asarray(Image.open(path).convert("RGB"))
        pixels = spoil(whole)
        margin = (np.array(pixels.shape[1::-1]) - whole.shape[1::-1]) // 2
        box = box + np.tile(margin, 2)  # noqa: PLW2901
        shown = np.abs(spoil(np.full_like(whole, 200)).astype(int) - spoil(np.full_like(whole, 100)))
        x0, y0, x1, y1 = box.astype(int)
        if shown[y0:y1, x0:x1].min() < SHOWN:
            continue
        total += 1
        image = read_image(pixels, ReadConfig(even_light=even))
        masks = segmenter.segment(image)
        if not len(masks):
            continue
        boxes = np.asarray(masks.boxes_xyxy, np.float64)
        off = np.hypot(*((boxes[:, :2] + boxes[:, 2:]) / 2 - (box[:2] + box[2:]) / 2).T)
        nearest = int(off.argmin())
        if off[nearest] > (box[2:] - box[:2]).max() / 2:
            continue
        found += 1
        overlaps.append(overlap(boxes[nearest], box))
        cells = numbered(EMBEDDER.embed(crop(image, masks)).values)
        right += str(model.predict(cells).top(0)[0][nearest]) == DEFAULT.coarse(kind)
    lamp = "evened out" if even else "as it is"
    return f"| {name} | {lamp} | {total} | {found} | {right / total:.3f} | {np.mean(overlaps):.3f} |"


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes."""
    inside = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(inside / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inside))


def main() -> None:
    known = (*CELLS, CUT_OUT, FIELDS)
    wanted = sys.argv[1:] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"{unknown[0]!r} is none of: {', '.join(known)}.")
    segmenter = find_segmenter("nano")
    labs = [read_lab(name, segmenter) for name in LABS]
    drawn = drawn_lab(segmenter)
    models = {lab.name: train([*(other for other in labs if other is not lab), drawn]) for lab in labs}
    print(
        f"| pictures | {' | '.join(LABS)} | mean | balanced | surest half | unidentified | in the 90 % set | not found |"
    )
    print("|---|" + "---|" * (len(LABS) + 6))
    for name in wanted:
        if name in CELLS:
            print(row_of(name, labs, models, segmenter), flush=True)
    if CUT_OUT in wanted:
        print("\n| cut out | on | right | surest half | unidentified | in the 90 % set | not found |")
        print("|---|---|---|---|---|---|---|")
        for lab in labs:
            if all(cell.mask_path for cell in listed_cells(lab.name)):
                for colour in COLOURS:
                    print(cut_out_row(colour, lab, models[lab.name], segmenter), flush=True)
    if FIELDS in wanted:
        print("\n| fields | lamp | n | found | right | overlap with the box |\n|---|---|---|---|---|---|")
        for name, spoil in LAMPS.items():
            for even in (False, True):
                print(field_row(name, spoil, models["bccd"], segmenter, even=even), flush=True)
        for name, spoil in ROUND.items():
            print(field_row(name, spoil, models["bccd"], segmenter, even=True), flush=True)


if __name__ == "__main__":
    main()
