"""Each term against a slow oracle in plain numpy."""

from itertools import combinations

import numpy as np
import pytest
import torch

from napari_bloodcell.core.embed.losses import (
    BANDWIDTHS,
    conditional_discrepancy,
    covariance_discrepancy,
    kernel_discrepancy,
    mean_discrepancy,
    ssim,
    token_error,
)

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(14, 5)).astype(np.float32)
DOMAIN = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 2, -1, -1])
SHARE = RNG.dirichlet([1, 1, 1], size=14).astype(np.float32)


def of(domain: int) -> np.ndarray:
    return VECTORS[domain == DOMAIN].astype(np.float64)


def called(measure, *more, vectors=VECTORS, domain=DOMAIN, domains=3) -> float:
    return float(measure(torch.from_numpy(vectors), torch.from_numpy(domain), domains, *more))


def test_ssim_equals_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    one = RNG.random((2, 3, 20, 31)).astype(np.float32)
    other = np.clip(one + 0.1 * RNG.normal(size=one.shape), 0, 1).astype(np.float32)
    ours = ssim(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    for i in range(2):
        theirs = np.mean(
            [
                structural_similarity(
                    one[i, c].astype(float), other[i, c].astype(float), data_range=1.0,
                    gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                )
                for c in range(3)
            ]
        )  # fmt: skip
        assert ours[i] == pytest.approx(theirs, abs=1e-5)


def test_a_picture_is_like_itself_and_unlike_its_negative() -> None:
    picture = torch.from_numpy(RNG.random((1, 3, 16, 16)).astype(np.float32))
    assert float(ssim(picture, picture)) == pytest.approx(1, abs=1e-5)
    assert float(ssim(picture, 1 - picture)) < 0.3


def test_mean_discrepancy_is_the_published_one_for_two_labs() -> None:
    two = np.where(DOMAIN == 2, -1, DOMAIN)
    wanted = ((of(0).mean(0) - of(1).mean(0)) ** 2).mean()
    assert called(mean_discrepancy, domain=two, domains=2) == pytest.approx(wanted, rel=1e-5)


def test_mean_discrepancy_averages_over_every_pair_of_labs() -> None:
    wanted = np.mean([((of(i).mean(0) - of(j).mean(0)) ** 2).mean() for i, j in combinations(range(3), 2)])
    assert called(mean_discrepancy) == pytest.approx(wanted, rel=1e-5)


def test_kernel_discrepancy_equals_the_sum_over_all_cells() -> None:
    inside = VECTORS[DOMAIN >= 0].astype(np.float64)
    n = len(inside)
    scale = sum(((a - b) ** 2).sum() for a in inside for b in inside) / (n * (n - 1))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return np.mean([np.exp(-((a - b) ** 2).sum() / (scale * width)) for width in BANDWIDTHS])

    def between(i: int, j: int) -> float:
        return np.mean([k(a, b) for a in of(i) for b in of(j)])

    wanted = np.mean(
        [between(i, i) + between(j, j) - 2 * between(i, j) for i, j in combinations(range(3), 2)]
    )
    assert called(kernel_discrepancy) == pytest.approx(wanted, rel=1e-4)


def test_the_kernel_sees_what_means_do_not() -> None:
    narrow, wide = 0.1 * RNG.normal(size=(40, 3)), 3 * RNG.normal(size=(40, 3))
    vectors = np.concatenate([narrow - narrow.mean(0), wide - wide.mean(0)]).astype(np.float32)
    domain = np.repeat([0, 1], 40)
    assert called(mean_discrepancy, vectors=vectors, domain=domain, domains=2) < 1e-10
    assert called(kernel_discrepancy, vectors=vectors, domain=domain, domains=2) > 0.1


def test_covariance_discrepancy_is_deep_coral() -> None:
    wanted = np.mean(
        [((np.cov(of(i).T) - np.cov(of(j).T)) ** 2).sum() / 100 for i, j in combinations(range(3), 2)]
    )
    assert called(covariance_discrepancy) == pytest.approx(wanted, rel=1e-4)


def test_conditional_discrepancy_compares_like_with_like() -> None:
    total = weight = 0.0
    for c in range(3):
        for i, j in combinations(range(3), 2):
            wi, wj = SHARE[i == DOMAIN, c].astype(float), SHARE[j == DOMAIN, c].astype(float)
            mi, mj = (wi[:, None] * of(i)).sum(0) / wi.sum(), (wj[:, None] * of(j)).sum(0) / wj.sum()
            total += min(wi.sum(), wj.sum()) * ((mi - mj) ** 2).mean()
            weight += min(wi.sum(), wj.sum())
    found = called(conditional_discrepancy, torch.from_numpy(SHARE))
    assert found == pytest.approx(total / weight, rel=1e-4)


def test_other_shares_of_classes_are_no_conditional_discrepancy() -> None:
    kind = np.array([0] * 9 + [1] + [0] + [1] * 9)
    vectors = np.where(kind[:, None] == 0, -2.0, 2.0).repeat(3, 1).astype(np.float32)
    domain = np.repeat([0, 1], 10)
    share = torch.eye(2)[torch.from_numpy(kind)]
    assert called(mean_discrepancy, vectors=vectors, domain=domain, domains=2) > 1
    assert called(conditional_discrepancy, share, vectors=vectors, domain=domain, domains=2) < 1e-10


@pytest.mark.parametrize("measure", [mean_discrepancy, kernel_discrepancy, covariance_discrepancy])
@pytest.mark.parametrize("domain", [[0, 0, 0, 0], [1, 1, -1, -1], [-1, -1, -1, -1], [2, 2, 2, 0]])
def test_a_batch_that_lacks_labs_gives_a_finite_loss_and_gradient(measure, domain) -> None:
    vectors = torch.ones(4, 3, requires_grad=True)
    loss = measure(vectors, torch.tensor(domain), 3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(vectors.grad).all()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)


def test_token_error_counts_all_tokens_or_the_hidden_ones() -> None:
    made, tokens = torch.zeros(1, 4, 2), torch.tensor([[[1.0, 1], [2, 2], [3, 3], [4, 4]]])
    kept = torch.tensor([[True, True, False, False]])
    assert float(token_error(made, tokens)) == pytest.approx((1 + 4 + 9 + 16) / 4)
    assert float(token_error(made, tokens, kept)) == pytest.approx((9 + 16) / 2)
