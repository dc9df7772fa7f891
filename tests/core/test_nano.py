"""The segmenter that ships: what its card says is true of the file in the package."""

import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.datasets import load_dataset, split_of
from napari_bloodcell.core.finetune import read_cells
from napari_bloodcell.core.sam import original
from napari_bloodcell.core.sam.files import hash_file
from napari_bloodcell.core.sam.model import CellSam, load_model
from napari_bloodcell.core.sam.train.cells import cells_of, join
from napari_bloodcell.core.sam.train.recipe import score_cells
from napari_bloodcell.core.segment.choose import shipped_weights
from napari_bloodcell.core.synthetic import make_cells

UNSEEN_SEED = 987_654


@pytest.fixture(scope="module")
def nano() -> CellSam:
    return load_model(shipped_weights())


def test_the_file_is_the_one_that_was_scored(nano: CellSam) -> None:
    path = shipped_weights()
    _, body = read_json(path.with_suffix(".json"), "training")
    assert body["file"] == hash_file(path)
    assert hash_file(path) in path.with_suffix(".md").read_text()
    assert body["leave_out"] is None


def test_it_is_read_without_what_takes_longer_to_load_than_torch() -> None:
    """torchvision (by the front door of segment-anything) and torch's compiler (by weights without values)
    made every command and every worker start some three seconds later."""
    program = (
        "import sys\n"
        "from napari_bloodcell.core.sam.model import load_model\n"
        "from napari_bloodcell.core.segment.choose import shipped_weights\n"
        "load_model(shipped_weights())\n"
        "assert not {'torchvision', 'torch._dynamo'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_networks_are_those_of_segment_anything() -> None:
    for ours in (original.ImageEncoderViT, original.MaskDecoder, original.Attention):
        package = find_spec("segment_anything")
        assert package is not None
        assert package.origin is not None
        file = Path(inspect.getfile(ours))
        assert file.parent == Path(package.origin).parent / "modeling"


def test_it_is_small_and_tells_nucleus_from_cytoplasm(nano: CellSam) -> None:
    assert shipped_weights().stat().st_size < 12e6
    assert sum(p.numel() for p in nano.parameters()) <= 6_000_000
    assert (nano.channels, nano.variant.native_px) == (3, 128)


def test_drawn_cells_of_laboratories_it_has_not_seen_are_outlined(nano: CellSam) -> None:
    drawn = make_cells(12, seed=UNSEEN_SEED, size_px=128)
    cells = join(
        cells_of(drawn.pixels[i], drawn.parts[i] > 0, drawn.parts[i] == 2, name=str(i), source="synthetic")
        for i in range(len(drawn))
    )
    scores = score_cells(nano, cells, nano.variant.native_px)
    assert scores["cell_iou"].mean() > 0.92
    assert scores["nucleus_iou"].mean() > 0.85


@pytest.mark.realdata
@pytest.mark.parametrize(("lab", "cell", "nucleus"), [("jtsc", 0.945, 0.88), ("cellavision", 0.93, 0.9)])
def test_held_out_cells_are_outlined_as_the_card_says(
    nano: CellSam, real_data: Path, lab: str, cell: float, nucleus: float
) -> None:
    held_out = [c for c in load_dataset(real_data / lab).cells if split_of(c.path.name) == "held_out"]
    scores = score_cells(nano, read_cells(held_out[:20]), nano.variant.native_px)
    assert scores["cell_iou"].mean() > cell
    assert scores["nucleus_iou"].mean() > nucleus
    assert np.percentile(scores["cell_iou"], 10) > 0.85
