"""Is an embedding about the cell or about the lab?
``python -m benchmarks.invariance [--sam FILE] [--work FOLDER] [--epochs N] [--minutes N] [--variants]``.

Three real labs, transductive: pictures of every lab are seen, classes are used for judging only. All are
judged on the same half of the cells, by a hash of their names. ``raw`` is the mean token of Segment Anything
(``nano``), ``parts`` its means over nucleus and cytoplasm; ``bcsam`` and ``dorl`` are trained on its token
maps with the published losses and weights, for as many epochs as a processor allows (``--epochs``, both, 0
leaves them out; batches of 24, because these labs fill four of the published ones). ``--variants``: also
``bcsam_kernel``, aligned by a kernel, and ``bcsam_kinds``, within kinds of cell too, for ten epochs.
``dorl_laid_over``: DoRL's vectors, then brought together as ``aligned`` is. ``centred`` takes each
lab's mean off ``raw``; ``aligned`` and ``aligned_parts`` lay labs over each other without training, by the
half that is not judged. They guess which lab a judged cell is from; ``_told`` ones are told.
``--minutes`` ends each training after so long and judges its best epoch; ``..._epochs`` tells those done.
Run again with the same ``--work`` it goes on where it stopped.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._common import Figure, finish, header, real_data
from napari_bloodcell.core.cells import crops_of
from napari_bloodcell.core.config import (
    BCSAM_TRAINING,
    DORL_TRAINING,
    AlignConfig,
    BcsamConfig,
    DorlConfig,
    FeatureConfig,
    JudgeConfig,
    TrainConfig,
)
from napari_bloodcell.core.datasets import load_dataset, split_of_cell
from napari_bloodcell.core.embed.aligned import LabSpace, Pool, make_space
from napari_bloodcell.core.embed.feature_store import open_store
from napari_bloodcell.core.embed.judge import Judgement, judge, table
from napari_bloodcell.core.embed.recipe import BcsamRecipe, DorlRecipe
from napari_bloodcell.core.embed.sam_embedder import SamPartsEmbedder
from napari_bloodcell.core.embed.sam_model import OpenSam, open_sam
from napari_bloodcell.core.embed.training_cells import PIECE, SEGMENTER, TrainingCells, add_crops, arrange
from napari_bloodcell.core.embed.training_cells import store_name as name_of
from napari_bloodcell.core.errors import Cancelled, WeightsError
from napari_bloodcell.core.folders import cache_folder
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.segment import SEGMENTERS
from napari_bloodcell.core.training import train

NAMES = ("raw", "parts", "bcsam", "dorl", "bcsam_kernel", "bcsam_kinds", "dorl_laid_over", "centred",
         "aligned", "aligned_told", "aligned_parts", "aligned_parts_told")  # fmt: skip
SHOWN = ("lab_probe", "class_agreement_across_labs")
LIMITS = {
    "aligned_lab_probe": "at most halfway from raw to chance",
    "aligned_class_agreement_across_labs": "above raw",
    "bcsam_lab_probe": "at most halfway from raw to chance",
    "dorl_lab_probe": "at most halfway from raw to chance",
    "dorl_laid_over_lab_probe": "at most halfway from raw to chance",
    "dorl_laid_over_class_agreement_across_labs": "above raw",
    "aligned_parts_lab_probe": "at most halfway from raw to chance",
    "aligned_parts_class_agreement_across_labs": "above raw",
}
BATCH, JUDGED = 24, 0.5
BCSAM_LOOP = replace(BCSAM_TRAINING, learning_rate=2e-3, warmup_steps=20)
DORL_LOOP = replace(DORL_TRAINING, learning_rate=5e-4)
# What else BC-SAM may be aligned by, for fewer epochs.
VARIANTS = {
    "bcsam_kernel": AlignConfig(discrepancy="kernel"),
    "bcsam_kinds": AlignConfig(discrepancy="kernel", conditional=5.0),
}
VARIANT_EPOCHS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """Cells with their token maps, and what is known of each."""

    cells: TrainingCells
    parts: NDArray[np.float32]
    labs: list[str]
    classes: list[str]
    judged: NDArray[np.bool_]


def option(name: str, default: str) -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def gather(data: Path, sam: OpenSam, work: Path) -> Gathered:
    features, align = FeatureConfig(), AlignConfig()
    store = open_store(
        work / name_of(sam, features),
        model=sam.hash,
        size_px=sam.input_px(features),
        shape=sam.map_shape(features),
        target=features.drawing,
    )
    cells = load_dataset(data).cells
    rows, kept, parts = [], [], []
    for start in range(0, len(cells), PIECE):
        found = crops_of(cells[start : start + PIECE], SEGMENTERS[SEGMENTER], features.crop)
        rows += add_crops(store, sam, found.crops, features)
        parts.append(SamPartsEmbedder(sam, features).embed(found.crops).values)
        kept += [cells[start + int(row)] for row in found.row]
    labs = [cell.domain for cell in kept]
    held = [split_of_cell(cell, align.held_out) == "held_out" for cell in kept]
    return Gathered(
        cells=arrange(store, rows, labs, held),
        parts=np.concatenate(parts),
        labs=labs,
        classes=[cell.class_name for cell in kept],
        judged=np.array([split_of_cell(cell, JUDGED) == "held_out" for cell in kept]),
    )


def laid_over(values: NDArray[np.float32], known: Gathered, pool: Pool = "whole") -> LabSpace:
    """By the cells that are not judged."""
    labs = np.array(known.labs)[~known.judged]
    return make_space(values[~known.judged], labs.tolist(), pool)


def untrained(raw: NDArray[np.float32], known: Gathered) -> dict[str, NDArray[np.float32]]:
    """Labs brought together by the cells that are not judged; rows of the others."""
    labs = np.array(known.labs)
    own, fitted = labs[known.judged], labs[~known.judged]
    means = {lab: raw[~known.judged][fitted == lab].mean(axis=0) for lab in np.unique(labs)}
    found = {"centred": raw[known.judged] - np.stack([means[lab] for lab in own])}
    pools: tuple[tuple[str, Pool, NDArray[np.float32]], ...] = (
        ("aligned", "whole", raw),
        ("aligned_parts", "parts", known.parts),
    )
    for name, pool, values in pools:
        space = laid_over(values, known, pool)
        found[name] = space.bring(values[known.judged])
        told_lab = np.zeros_like(found[name])
        for lab in space.labs:
            told_lab[own == lab] = space.bring(values[known.judged][own == lab], lab)
        found[f"{name}_told"] = told_lab
    return found


def encoded(recipe: BcsamRecipe | DorlRecipe) -> NDArray[np.float32]:
    network = recipe.module.network.eval().cpu()
    places = np.array_split(np.arange(len(recipe.cells)), max(1, len(recipe.cells) // 32))
    with torch.inference_mode():
        return torch.cat(
            [network.encode(tokens.float()) for _, tokens, _ in recipe.reader.ahead(places)]
        ).numpy()


def until(minutes: float) -> Progress:
    """Stops a training, as a person would."""
    end = time.monotonic() + 60 * minutes

    def stop(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        if time.monotonic() > end:
            raise Cancelled

    return stop


def trained(
    cells: TrainingCells, sam: OpenSam, work: Path, epochs: int
) -> dict[str, tuple[NDArray[np.float32], int]]:
    """Vectors and epochs done, of each method."""
    place, minutes = work / f"{sam.hash[:12]}-{epochs}", float(option("--minutes", "inf"))
    recipes: dict[str, tuple[BcsamRecipe | DorlRecipe, TrainConfig]] = {
        "bcsam": (
            BcsamRecipe(cells, BcsamConfig(batch=BATCH), sam.hash),
            replace(BCSAM_LOOP, epochs=epochs),
        ),
        "dorl": (
            DorlRecipe(cells, DorlConfig(batch=BATCH, scale_tokens=True), sam.hash),
            replace(DORL_LOOP, epochs=epochs),
        ),
    }
    for name, align in VARIANTS.items() if "--variants" in sys.argv else ():
        recipe = BcsamRecipe(cells, BcsamConfig(batch=BATCH, align=align), sam.hash)
        recipes[name] = (recipe, replace(BCSAM_LOOP, epochs=min(epochs, VARIANT_EPOCHS)))
    found = {}
    for name, (method, loop) in recipes.items():
        run = train(method, loop, place / name, progress=until(minutes))
        found[name] = (encoded(method), len(run.history))
    return found


def told(judgements: list[Judgement]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"lab_chance": judgements[0].lab_chance}
    for one in judgements:
        for name in SHOWN:
            found = one.figures[name]
            figures[f"{one.name}_{name}"] = found.value
            figures[f"{one.name}_{name}_low"], figures[f"{one.name}_{name}_high"] = found.low, found.high
    raw = judgements[0].figures["lab_probe"].value - judgements[0].lab_chance
    for one in judgements[1:]:
        left = one.figures["lab_probe"].value - one.lab_chance
        figures[f"{one.name}_distance_to_chance_left"] = left / raw
    return figures


def main() -> None:
    epochs = int(option("--epochs", "30"))
    header("invariance", f"transductive, {epochs} epochs of BC-SAM and DoRL, batches of {BATCH}")
    data, reason = real_data(), "no real cells: set BLOODCELL_DATA"
    try:
        sam = open_sam(option("--sam", "nano"))
    except WeightsError as error:
        data, reason = None, str(error)
    if data is None:
        empty = [f"{name}_{figure}" for name in NAMES for figure in SHOWN]
        finish(dict.fromkeys(empty), LIMITS, dict.fromkeys(empty, reason))
        return
    work = Path(option("--work", str(cache_folder() / "benchmarks" / "invariance")))
    known = gather(data, sam, work)
    cells = known.cells
    raw = np.concatenate(
        [
            cells.store.read_tokens(cells.rows[start : start + PIECE]).astype(np.float32).mean(axis=(2, 3))
            for start in range(0, len(cells), PIECE)
        ]
    )
    learnt = trained(cells, sam, work, epochs) if epochs else {}
    whole = {"raw": raw, "parts": known.parts} | {name: values for name, (values, _) in learnt.items()}
    vectors = {name: values[known.judged] for name, values in whole.items()} | untrained(raw, known)
    if "dorl" in whole:
        vectors["dorl_laid_over"] = laid_over(whole["dorl"], known).bring(whole["dorl"][known.judged])
    labs, classes = (
        [name for name, on in zip(names, known.judged, strict=True) if on]
        for names in (known.labs, known.classes)
    )
    judgements = [judge(values, labs, classes, JudgeConfig(), name=name) for name, values in vectors.items()]
    print(table(judgements))
    left_out = [f"{name}_{figure}" for name in NAMES if name not in vectors for figure in SHOWN]
    reasons = dict.fromkeys(left_out, "not trained: --epochs 0, or no --variants")
    done: dict[str, Figure] = {f"{name}_epochs": count for name, (_, count) in learnt.items()}
    finish(told(judgements) | done | dict.fromkeys(left_out), LIMITS, reasons)


if __name__ == "__main__":
    main()
