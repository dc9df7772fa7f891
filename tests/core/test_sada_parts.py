"""SADA's losses, views, sampling and weight averaging, each against something slow or made up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sada_cells import lab_cells
from torch import nn

from napari_bloodcell.core.config import SadaConfig
from napari_bloodcell.core.embed.sada.backbones import _group_norm
from napari_bloodcell.core.embed.sada.losses import (
    adjusted_cross_entropy,
    coral,
    local_alignment,
    proxy_contrast,
    supcon,
)
from napari_bloodcell.core.embed.sada.sampling import class_shares, rows_of_epoch
from napari_bloodcell.core.embed.sada.swad import Swad
from napari_bloodcell.core.embed.sada.views import HUE, _turn_hue, jitter, one_view, turn, views_of

VIEWS, CELLS, WIDTH, HEAT = 3, 7, 5, 0.1


def unit_vectors(views: int = VIEWS, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(views, CELLS, WIDTH, generator=rng), dim=2)


def labels(*values: int) -> torch.Tensor:
    return torch.tensor(values or (0, 1, 0, 2, 1, 0, 3))


def slow_info_nce(anchor: np.ndarray, candidates: list[np.ndarray], positives: list[int]) -> float:
    scores = [float(anchor @ one) / HEAT for one in candidates]
    total = sum(np.exp(s) for s in scores)
    return -sum(np.log(np.exp(scores[p]) / total) for p in positives) / len(positives)


def test_proxies_are_contrasted_as_by_hand() -> None:
    z, y = unit_vectors(), labels()
    flat = [(z[v, i].double().numpy(), int(y[i])) for v in range(VIEWS) for i in range(CELLS)]
    by_hand = []
    for i in range(CELLS):
        proxy = sum(z[v, i].double().numpy() for v in range(VIEWS)) / VIEWS
        positives = [p for p, (_, label) in enumerate(flat) if label == int(y[i])]
        by_hand.append(slow_info_nce(proxy, [one for one, _ in flat], positives))
    assert float(proxy_contrast(z, y, HEAT)) == pytest.approx(np.mean(by_hand), rel=1e-5)


@pytest.mark.parametrize("views", [1, 3])
def test_supervised_contrast_is_as_by_hand(views: int) -> None:
    z, y = unit_vectors(views), labels()
    flat = [(z[v, i].double().numpy(), int(y[i])) for v in range(views) for i in range(CELLS)]
    by_hand = []
    for a, (anchor, label) in enumerate(flat):
        others = [one for p, one in enumerate(flat) if p != a]
        positives = [p for p, (_, other) in enumerate(others) if other == label]
        if positives:  # with one view the single cell of class 2 has no partner
            by_hand.append(slow_info_nce(anchor, [one for one, _ in others], positives))
    assert float(supcon(z, y, HEAT)) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_a_view_without_any_partner_gives_no_loss_and_no_nan() -> None:
    z = unit_vectors(1)[:, :1].clone().requires_grad_()
    loss = supcon(z, torch.tensor([0]), HEAT)
    loss.backward()
    assert float(loss.detach()) == 0
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_identical_cells_of_one_class_have_finite_losses() -> None:
    z = unit_vectors()[:1, :1].expand(VIEWS, CELLS, WIDTH)
    same = torch.zeros(CELLS, dtype=torch.long)
    assert float(proxy_contrast(z, same, HEAT)) == pytest.approx(np.log(VIEWS * CELLS), rel=1e-5)
    assert float(supcon(z, same, HEAT)) == pytest.approx(np.log(VIEWS * CELLS - 1), rel=1e-5)


def test_local_alignment_is_the_mean_squared_difference_of_normalised_places() -> None:
    maps = torch.randn(VIEWS, 2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    slow, count = 0.0, 0
    m = maps.double().numpy()
    for view in range(1, VIEWS):
        for cell, y, x in np.ndindex(2, 3, 3):
            first, other = m[0, cell, :, y, x], m[view, cell, :, y, x]
            difference = first / np.linalg.norm(first) - other / np.linalg.norm(other)
            slow, count = slow + float(np.sum(difference**2)), count + len(difference)
    assert float(local_alignment(maps)) == pytest.approx(slow / count, rel=1e-5)
    assert float(local_alignment(maps[:1])) == 0
    assert (
        float(local_alignment(maps[:1].repeat(3, 1, 1, 1, 1) * torch.tensor([1.0, 2, 9]).view(3, 1, 1, 1, 1)))
        < 1e-12
    )


def test_coral_compares_every_pair_of_labs() -> None:
    features = torch.randn(12, 4, generator=torch.Generator().manual_seed(2))
    labs = torch.tensor([0, 1, 2] * 4)
    f = features.double().numpy()
    moments = [(f[i::3].mean(axis=0), np.cov(f[i::3].T)) for i in range(3)]
    pulls = [
        ((moments[a][0] - moments[b][0]) ** 2).mean() + ((moments[a][1] - moments[b][1]) ** 2).mean()
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert float(coral(features, labs)) == pytest.approx(np.mean(pulls), rel=1e-4)
    assert float(coral(features, torch.zeros(12))) == 0


def test_logit_adjustment_lifts_frequent_classes_while_training() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    y, shares = torch.tensor([0, 1, 2, 0, 0, 1]), np.array([0.7, 0.2, 0.1])
    lifted = logits.double().numpy() + 0.5 * np.log(shares)
    slow = -np.mean([lifted[i, y[i]] - np.log(np.exp(lifted[i]).sum()) for i in range(6)])
    log_shares = torch.from_numpy(np.log(shares)).float()
    assert float(adjusted_cross_entropy(logits, y, log_shares, 0.5)) == pytest.approx(slow, rel=1e-5)
    plain = nn.functional.cross_entropy(logits, y)
    assert float(adjusted_cross_entropy(logits, y, log_shares, 0)) == pytest.approx(float(plain))


def marked_cells() -> torch.Tensor:
    """Three groups of stains, each picture with one black spot off the middle."""
    cells = lab_cells(size_px=48)
    pixels = torch.from_numpy(cells.pixels[:9].copy()).movedim(-1, 1)
    pixels[:, :, 8:16, 20:28] = 0
    return pixels


def spot_of(picture: torch.Tensor) -> np.ndarray:
    """Centre of the darkest tenth of a hundredth."""
    grey = picture.float().sum(0)
    dark = torch.nonzero(grey <= grey.flatten().kthvalue(20).values)
    return dark.float().mean(0).numpy()


def test_all_views_of_a_cell_share_its_geometry_and_cells_do_not() -> None:
    config = SadaConfig(jitter=0.0)
    views = views_of(marked_cells(), config, torch.Generator().manual_seed(0))
    assert views.shape == (3, 9, 3, 48, 48)
    assert views.dtype == torch.uint8
    spots = np.array([[spot_of(picture) for picture in view] for view in views])
    assert np.abs(spots - spots[:1]).max() < 1.5
    assert spots[0].std(axis=0).min() > 3  # each cell is turned its own way
    assert (views[0].float() - views[1].float()).abs().mean() > 2  # and each view has a stain of its own


def test_without_restaining_the_views_differ_in_colour_only() -> None:
    config = SadaConfig(stain_views=False)
    views = views_of(marked_cells(), config, torch.Generator().manual_seed(0))
    assert (views[0] != views[1]).any()
    plain = views_of(marked_cells(), replace(config, jitter=0.0), torch.Generator().manual_seed(0))
    assert torch.equal(plain[0], plain[1])


def test_views_are_the_same_for_the_same_seed_and_leave_the_cells_alone() -> None:
    pixels = marked_cells()
    before = pixels.clone()
    one, same, other = (
        views_of(pixels, SadaConfig(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(pixels, before)
    assert one_view(pixels, SadaConfig(), torch.Generator().manual_seed(1)).shape == pixels.shape


def test_turning_keeps_size_and_brightness_and_shows_no_black_corner() -> None:
    flat = torch.full((16, 3, 32, 32), 200, dtype=torch.uint8)
    turned = turn(flat, torch.Generator().manual_seed(0))
    assert turned.shape == flat.shape
    assert int(turned.min()) == int(turned.max()) == 200


def test_a_whole_turn_of_the_hue_changes_nothing_and_grey_stays_grey() -> None:
    turned = _turn_hue(torch.tensor([0.0, 2 * torch.pi, HUE * 2 * torch.pi]))
    assert torch.allclose(turned[0], torch.eye(3), atol=1e-5)
    assert torch.allclose(turned[1], torch.eye(3), atol=1e-4)
    assert torch.allclose(turned[2] @ torch.ones(3), torch.ones(3), atol=1e-2)
    assert not torch.allclose(turned[2], torch.eye(3), atol=0.1)


def test_jitter_of_strength_zero_changes_nothing_and_others_stay_in_bounds() -> None:
    pixels = marked_cells()
    assert torch.equal(jitter(pixels, 0.0, torch.Generator().manual_seed(0)), pixels)
    changed = jitter(pixels, 1.0, torch.Generator().manual_seed(0))
    assert 1 < float((changed.float() - pixels.float()).abs().mean()) < 80


def test_each_lab_has_its_share_of_each_batch_and_every_cell_its_turn() -> None:
    cells = lab_cells(counts=(9, 4))
    config = SadaConfig(per_lab=3, steps_per_epoch=6)
    batches = list(rows_of_epoch(cells, config, seed=0, epoch=0))
    assert [np.bincount(cells.labs[rows]).tolist() for rows in batches] == [[3, 3]] * 6
    trained = np.flatnonzero(~cells.held_out)
    seen = np.bincount(np.concatenate(batches), minlength=len(cells))
    assert (seen[trained] > 0).all()
    assert seen[cells.held_out].sum() == 0
    again = list(rows_of_epoch(cells, config, seed=0, epoch=0))
    later = list(rows_of_epoch(cells, config, seed=0, epoch=1))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    assert any((a != b).any() for a, b in zip(batches, later, strict=True))


def test_a_lab_smaller_than_its_share_of_a_batch_shows_cells_twice() -> None:
    cells = lab_cells(counts=(9, 4))
    batch = next(iter(rows_of_epoch(cells, SadaConfig(per_lab=8, steps_per_epoch=1), seed=0, epoch=0)))
    small = batch[cells.labs[batch] == 1]
    assert len(small) == 8
    assert set(small) == set(np.flatnonzero((cells.labs == 1) & ~cells.held_out))


def test_balanced_sampling_draws_the_classes_of_a_lab_equally_often() -> None:
    cells = lab_cells(counts=(20, 20), odd_one=True)
    config = SadaConfig(per_lab=4, steps_per_epoch=30, balanced=True)
    rows = np.concatenate(list(rows_of_epoch(cells, config, seed=0, epoch=0)))
    counts = np.bincount(cells.labels[rows[cells.labs[rows] == 0]])
    assert counts.max() - counts.min() <= 1
    shares = class_shares(cells, config)
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(np.bincount(cells.labels[rows]) / len(rows), abs=0.02)
    plain = class_shares(cells, SadaConfig())
    assert plain.max() > 0.5 > shares.max()


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))


def averaged(losses: list[float], steps: int = 2, **settings: float) -> tuple[float | None, Swad]:
    """The weight of step s of epoch e is 10 e + s, so the mean tells which epochs went in."""
    point = Point()
    swad = Swad(point, SadaConfig(**{"swad_converge": 3, "swad_tolerance": 2, "swad_ratio": 0.3} | settings))
    for epoch, loss in enumerate(losses):
        for step in range(steps):
            point.value.data.fill_(10.0 * epoch + step)
            swad.after_step()
        swad.close(loss)
    mean = swad.result()
    return (None if mean is None else float(mean.value.detach())), swad


def mean_of(*epochs: int) -> float:
    return float(np.mean([10 * e + s for e in epochs for s in (0, 1)]))


def test_the_valley_begins_at_a_loss_that_is_not_undercut_and_ends_when_it_is_left_for_long() -> None:
    #          start here v                        v two above 1.3 x mean(1, 1.1, 1.05)
    losses = [3.0, 2.0, 1.0, 1.1, 1.05, 1.2, 1.0, 1.6, 1.7, 1.0, 1.0]
    assert averaged(losses)[0] == pytest.approx(mean_of(2, 3, 4, 5, 6))


def test_a_short_hump_belongs_to_the_valley() -> None:
    losses = [3.0, 1.0, 1.1, 1.05, 1.9, 1.0, 1.0]
    assert averaged(losses)[0] == pytest.approx(mean_of(1, 2, 3, 4, 5, 6))


def test_a_training_that_ends_inside_the_valley_takes_it_up_to_its_end() -> None:
    assert averaged([2.0, 1.0, 1.1, 1.2, 1.9])[0] == pytest.approx(mean_of(1, 2, 3, 4))


def test_a_loss_that_only_falls_gives_the_mean_of_its_last_epoch() -> None:
    assert averaged([5.0, 4, 3, 2, 1])[0] == pytest.approx(mean_of(4))
    assert averaged([])[0] is None


def test_looking_at_the_mean_does_not_change_it() -> None:
    _, swad = averaged([2.0, 1.0, 1.1, 1.2, 1.9])
    first, second = swad.result(), swad.result()
    assert first is not None
    assert second is not None
    assert torch.equal(first.value, second.value)


@pytest.mark.parametrize("cut", [1, 2, 4, 5, 7])
def test_averaging_goes_on_from_its_state_as_if_it_had_never_stopped(cut: int) -> None:
    losses = [3.0, 1.0, 1.1, 1.05, 1.9, 1.0, 1.8, 1.9, 1.0]
    whole, _ = averaged(losses)
    _, before = averaged(losses[:cut])
    after = Swad(Point(), SadaConfig(swad_converge=3, swad_tolerance=2))
    after.load_state(before.state())
    for epoch, loss in enumerate(losses[cut:], cut):
        for step in range(2):
            after.module.value.data.fill_(10.0 * epoch + step)
            after.after_step()
        after.close(loss)
    mean = after.result()
    assert mean is not None
    assert float(mean.value.detach()) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 64, 5, 4), (2, 16, 1, 1)])
def test_group_normalisation_is_torchs_where_it_takes_a_faster_way(shape: tuple[int, ...]) -> None:
    ours = _group_norm(shape[1])
    plain = torch.nn.GroupNorm(ours.num_groups, shape[1])
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = []
    for norm in (ours, plain):
        x = pixels.clone(memory_format=torch.channels_last).requires_grad_(True)
        out = norm(x)
        assert out.is_contiguous(memory_format=torch.channels_last)
        (out.float() * torch.arange(out.numel()).view(shape).remainder(7)).sum().backward()
        assert x.grad is not None
        assert norm.weight.grad is not None
        found.append((out.detach().float(), x.grad.float(), norm.weight.grad))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.05)
