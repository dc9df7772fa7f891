"""The cell at a click, in a box, along a scribble, by stain alone; against cells that are known exactly."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.sam.question import Prompt, scribble
from napari_bloodcell.core.segment.prompted import StainPrompter
from napari_bloodcell.core.synthetic import make_smear


@pytest.fixture(scope="module", params=["giemsa_blue", "rapid_yellow"])
def smear(request):
    return make_smear(
        SmearConfig(width_px=640, height_px=480, um_per_px=0.1, white_cells=6, seed=5, look=request.param)
    )


@pytest.fixture(scope="module")
def prompter(smear):
    return StainPrompter(smear.image.pixels, 0.1)


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def cells(smear):
    for number in smear.masks.cell_id:
        cell = smear.masks.labels == number
        yield cell, cell & smear.masks.nucleus


def middle(mask):
    depth = ndi.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([[x, y]], float)


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def test_one_click_on_the_nucleus_finds_the_cell(smear, prompter):
    found = [overlap(prompter.ask([Prompt(points_xy=middle(n))]).masks[0], cell) for cell, n in cells(smear)]
    assert np.mean(found) > 0.75
    assert min(found) > 0.5


def test_a_box_finds_the_cell_and_stays_in_it(smear, prompter):
    boxes = [box_of(cell) for cell, _ in cells(smear)]
    answer = prompter.ask([Prompt(box_xyxy=box) for box in boxes])
    found = [overlap(mask, cell) for mask, (cell, _) in zip(answer.masks, cells(smear), strict=True)]
    assert np.mean(found) > 0.85
    for mask, box in zip(answer.masks, boxes, strict=True):
        x0, y0, x1, y1 = box_of(mask)
        assert (np.array([x0 - box[0], y0 - box[1]]) >= -8).all()
        assert (np.array([x1 - box[2], y1 - box[3]]) <= 8).all()


def test_a_scribble_is_in_the_answer_whatever_the_stain_says(smear, prompter):
    cell, nucleus = next(iter(cells(smear)))
    x0, y0, x1, y1 = box_of(nucleus)
    line = scribble(np.array([[x0 + 3, (y0 + y1) / 2], [x1 - 3, (y0 + y1) / 2]]))
    mask = prompter.ask([Prompt(points_xy=line)]).masks[0]
    assert mask[line[:, 1].astype(int), line[:, 0].astype(int)].all()
    assert overlap(mask, cell) > 0.5


def test_a_negative_click_takes_its_side_away(smear, prompter):
    """Two cells under one outline: the click on one, against the other, gives the one."""
    pairs = list(cells(smear))
    (first, one), (_, other) = pairs[2], pairs[3]
    both = first | pairs[3][0]
    prompt = Prompt(
        mask=both, points_xy=np.vstack([middle(one), middle(other)]), inside=np.array([True, False])
    )
    mask = prompter.ask([prompt]).masks[0]
    assert mask[one].mean() > 0.9
    assert mask[other].mean() < 0.1


def test_an_existing_outline_grows_to_a_new_click(smear, prompter):
    cell, nucleus = next(iter(cells(smear)))
    half = cell.copy()
    half[:, int(middle(nucleus)[0, 0]) :] = False
    mask = prompter.ask([Prompt(mask=half, points_xy=middle(nucleus))]).masks[0]
    assert overlap(mask, cell) > overlap(half, cell) + 0.1


def test_the_nucleus_of_an_answer_is_inside_it(smear, prompter):
    for cell, nucleus in cells(smear):
        found = prompter.nucleus(cell)
        assert not (found & ~cell).any()
        assert overlap(found, nucleus) > 0.6


def test_a_click_on_the_empty_ground_gives_at_most_a_dot(smear, prompter):
    ground = ndi.distance_transform_edt(smear.image.pixels.min(axis=2) > 150)
    y, x = np.unravel_index(ground.argmax(), ground.shape)
    mask = prompter.ask([Prompt(points_xy=np.array([[x, y]], float))]).masks[0]
    assert mask.sum() * 0.01 < 12  # in square µm; a cell has 80 and more
    assert not prompter.nucleus(mask).any()


def test_answers_repeat_and_scores_say_what_agrees(smear, prompter):
    cell, nucleus = next(iter(cells(smear)))
    prompts = [Prompt(points_xy=middle(nucleus)), Prompt(box_xyxy=box_of(cell))]
    one, again = prompter.ask(prompts), prompter.ask(prompts)
    np.testing.assert_array_equal(one.masks, again.masks)
    assert one.scores[0] == 1
    assert 0.5 < one.scores[1] <= 1


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(), "The prompt is empty"),
        (Prompt(points_xy=np.array([[-3.0, 4.0]])), "runs out of the image of 640 x 480 px"),
    ],
)
def test_prompts_that_mean_nothing_are_refused(prompter, prompt, says):
    with pytest.raises(SegmentError, match=says):
        prompter.ask([prompt])


def test_a_blank_image_has_nothing_to_ask():
    with pytest.raises(SegmentError, match="nothing to see"):
        StainPrompter(np.zeros((40, 40, 3), np.uint8))
