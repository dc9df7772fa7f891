"""How fast stains are separated and images restained, and how well labs are told apart and brought together:
``python -m benchmarks.stain``.

The baseline is the published recipe, plainly (``published_*`` below): ten multiplicative updates over every
pixel, quantiles by sorting, one image after the other. It runs in turn with ours; medians of wall time.
Speed is measured on synthetic smears, laboratories on the real cells of three.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks._common import Figure, finish, header, in_turn, real_data
from napari_bloodcell.core.config import SmearConfig, StainAugmentConfig, StainConfig
from napari_bloodcell.core.stain.augment import augment
from napari_bloodcell.core.stain.cluster import cluster
from napari_bloodcell.core.stain.profile import StainProfile, average, distance, profiles_of
from napari_bloodcell.core.stain.separate import density_above, reconstruct, separate
from napari_bloodcell.core.stain.transfer import transfer
from napari_bloodcell.core.synthetic import make_smear

LIMITS = {
    "fast_ratio": "at least 8 (separation, 32 images)",
    "fast_ratio_96": "at least 8 (separation, 96 images)",
    "augment_ratio": "at least 10 (sada, k = 3, 32 images)",
    "augment_ratio_96": "at least 10 (sada, k = 3, 96 images)",
    "fast_reconstruction_ratio": "at most 1 (error of fast over error of exact)",
    "fused_ratio": "as fast as memory allows",
    "fused_error": "at most 0.01 of the density",
    "memory_ratio": "at most 0.33 (sada, 96 images)",
    "field_ms": "under 100 (640 x 480)",
    "large_field_s": "under 1.5 (4,000 x 3,000)",
    "lab_knn": "at least 0.99 (5 neighbours, 5 folds)",
    "lab_purity": "at least 0.95 (automatic number of groups)",
    "nuclear_first_min": "at least 0.95 (the stain called nuclear is that of the nuclei, worst lab)",
    "transfer_gain_min": "at least 0.7 for every ordered pair of labs",
    "transfer_ssim_min": "at least 0.85 for every ordered pair of labs",
}
SIDE, VIEWS, ROUNDS = 224, 3, 5
LABS = {"jtsc": "jtsc/images", "cellavision": "cellavision/images", "bccd": "bccd/fields"}
NUCLEI = {"jtsc": ("jtsc/masks", 2), "cellavision": ("cellavision/masks", 2), "bccd": ("bccd/nuclei", 1)}
PAIR_IMAGES = 40
STAINED = 0.3  # of the 99 % concentration


def published_separation(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """B x 3 background, B x 3 x 2 dictionary, B x 2 x n concentrations."""
    density = -torch.log(images.float().clamp(min=1) / 255).flatten(2)
    backgrounds, dictionaries, concentrations = [], [], []
    for x in density:
        n = x.shape[1]
        background = torch.sort(x, dim=1).values[:, int(0.01 * (n - 1))]
        v = (x - background[:, None]).clamp(min=0)
        ranked = torch.sort(v, dim=1).values
        w = torch.stack([ranked[:, (n - 1) // 2], ranked[:, n - 1]], 1) + 1e-8
        w = w / w.norm(dim=0, keepdim=True)
        h = torch.ones(2, n)
        for _ in range(10):
            h = h * (w.T @ v) / (w.T @ w @ h + 1e-4 + 1e-8)
            w = w * (v @ h.T) / (w @ (h @ h.T) + 1e-8)
            w = w / (w.norm(dim=0, keepdim=True) + 1e-8)
        backgrounds.append(background)
        dictionaries.append(w)
        concentrations.append(h)
    return torch.stack(backgrounds), torch.stack(dictionaries), torch.stack(concentrations)


def published_augmentation(images: torch.Tensor, views: int) -> torch.Tensor:
    """Separation, k-means (k = 3) on dictionary and background, then each view of each image alone."""
    from sklearn.cluster import KMeans

    b, w, h = published_separation(images)
    features = torch.cat([w.flatten(1), b], 1).numpy()
    groups = KMeans(3, n_init=1, random_state=0).fit_predict(features)
    rng = np.random.default_rng(0)
    made = []
    for _ in range(views):
        for s in range(len(images)):
            others = np.flatnonzero(groups != groups[s])
            t = int(rng.choice(others))
            n = h.shape[2]
            top_s = torch.sort(h[s], dim=1).values[:, int(0.99 * (n - 1))]
            top_t = torch.sort(h[t], dim=1).values[:, int(0.99 * (n - 1))]
            scaled = h[s] * (top_t / top_s.clamp(min=1e-8))[:, None]
            light = torch.exp(-(w[t] @ scaled + b[t][:, None])).clamp(0, 1)
            made.append((light * 255).round().to(torch.uint8).view(3, *images.shape[-2:]))
    return torch.stack(made).view(views, *images.shape)


def batch_of(n: int) -> torch.Tensor:
    """n x 3 x 224 x 224 bytes from synthetic fields of five laboratories."""
    looks = ("giemsa_blue", "rapid_yellow", "wright_cream", "may_gruenwald_white", "leishman_pink")
    tiles = []
    for seed, look in enumerate(looks):
        field = make_smear(SmearConfig(look=look, seed=seed, white_cells=6)).image.pixels
        tiles += [field[y : y + SIDE, x : x + SIDE] for y in (0, 240) for x in (0, 200, 400)]
    ready = [tiles[i % len(tiles)] for i in range(n)]
    return torch.from_numpy(np.stack(ready)).movedim(-1, 1).contiguous()


def measure_speed() -> dict[str, Figure]:
    images = batch_of(32)
    fused = StainConfig(mode="fused")
    views = StainAugmentConfig(views=VIEWS)
    slow, fast, exact_again, slow_sada, sada = in_turn(
        lambda: published_separation(images),
        lambda: separate(images),
        lambda: separate(images, fused),
        lambda: published_augmentation(images, VIEWS),
        lambda: augment(images, views),
        rounds=ROUNDS,
    )
    many = batch_of(96)
    slow_96, fast_96, slow_sada_96, sada_96 = in_turn(
        lambda: published_separation(many),
        lambda: separate(many),
        lambda: published_augmentation(many, VIEWS),
        lambda: augment(many, views),
        rounds=1,
    )
    figures: dict[str, Figure] = {
        "published_separation_s": slow,
        "published_augment_s": slow_sada,
        "fast_ratio": slow / fast,
        "fast_ratio_96": slow_96 / fast_96,
        "augment_ratio": slow_sada / sada,
        "augment_ratio_96": slow_sada_96 / sada_96,
        "fused_ratio": slow / exact_again,
    }
    if "--compiled" in sys.argv:
        compiled = StainConfig(mode="fused", compiled=True)
        again, quick = in_turn(
            lambda: published_separation(images), lambda: separate(images, compiled), rounds=ROUNDS
        )
        figures["fused_compiled_ratio"] = again / quick
    return figures


def measure_quality() -> dict[str, Figure]:
    images = batch_of(30)
    exact = separate(images, StainConfig(mode="exact"))
    fused = separate(images, StainConfig(mode="fused"))
    fast = separate(images)
    errors = {}
    for name, found in (("exact", exact), ("fast", fast)):
        density = density_above(images, found.background)
        errors[name] = float((reconstruct(found) - density).norm() / density.norm())
    explained = reconstruct(exact)
    return {
        "exact_reconstruction": errors["exact"],
        "fast_reconstruction": errors["fast"],
        "fast_reconstruction_ratio": errors["fast"] / errors["exact"],
        "fused_error": float((reconstruct(fused) - explained).norm() / explained.norm()),
    }


def peak_bytes(call: Callable[[], object]) -> int | None:
    """What a call adds to the memory of this process at its highest; Linux only."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")
    except OSError:
        return None

    def read(field: str) -> int:
        line = next(one for one in status.read_text().splitlines() if one.startswith(field))
        return int(line.split()[1]) * 1024

    before = read("VmRSS")
    call()
    return read("VmHWM") - before


def measure_memory() -> dict[str, Figure]:
    images = batch_of(96)
    ours = peak_bytes(lambda: augment(images, StainAugmentConfig(views=VIEWS)))
    plain = peak_bytes(lambda: published_augmentation(images, VIEWS))
    return {
        "augment_mb": None if ours is None else ours / 2**20,
        "memory_ratio": None if ours is None or plain is None else ours / plain,
    }


def measure_fields() -> dict[str, Figure]:
    goal = profiles_of(make_smear(SmearConfig(look="rapid_yellow")).image.pixels)[0]
    field = make_smear(SmearConfig()).image.pixels
    large = np.ascontiguousarray(np.tile(field, (7, 7, 1))[:3000, :4000])
    small_s, large_s = in_turn(lambda: transfer(field, goal), lambda: transfer(large, goal), rounds=3)
    return {"field_ms": small_s * 1e3, "large_field_s": large_s}


def structure(one: np.ndarray, other: np.ndarray) -> float:
    """SSIM of the mean intensity, each image standardised."""
    from skimage.metrics import structural_similarity

    a, b = (p.astype(np.float64).mean(axis=2) for p in (one, other))
    a, b = ((p - p.mean()) / max(float(p.std()), 1e-6) for p in (a, b))
    return float(structural_similarity(a, b, data_range=float(a.max() - a.min())))


def measure_labs(folder: Path) -> dict[str, Figure]:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    images: dict[str, list[np.ndarray]] = {}
    for lab, place in LABS.items():
        paths = sorted(p for p in (folder / place).iterdir() if p.suffix in (".png", ".jpg"))
        images[lab] = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
    profiles = {lab: profiles_of(own) for lab, own in images.items()}
    everything = [p for own in profiles.values() for p in own]
    truth = np.repeat(np.arange(len(LABS)), [len(own) for own in profiles.values()])
    points = np.stack([p.vector() for p in everything])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    labels = cluster(everything).labels
    pure = sum(np.bincount(truth[labels == g]).max() for g in range(labels.max() + 1))
    figures: dict[str, Figure] = {
        "lab_images": len(truth),
        "lab_knn": float(cross_val_score(KNeighborsClassifier(5), points, truth, cv=folds).mean()),
        "lab_groups": int(labels.max() + 1),
        "lab_purity": float(pure / len(truth)),
    }
    return figures | measure_order(folder) | measure_pairs(images, profiles)


def measure_order(folder: Path) -> dict[str, Figure]:
    """How often the stain called nuclear is the one that rises most from other stained pixels to nuclei."""
    figures: dict[str, Figure] = {}
    for lab, (place, value) in NUCLEI.items():
        right = []
        masks = {p.stem: p for p in (folder / place).iterdir() if p.suffix == ".png"}
        for path in sorted(p for p in (folder / LABS[lab]).iterdir() if p.stem in masks):
            nucleus = np.asarray(Image.open(masks[path.stem])) == value
            found = separate(np.asarray(Image.open(path).convert("RGB")))
            if nucleus.any() and found.concentrations is not None:
                h = found.concentrations[0].numpy()
                stained = (h / found.scale[0].numpy()[:, None, None]).max(axis=0) > STAINED
                rise = h[:, nucleus].mean(axis=1) / h[:, stained & ~nucleus].mean(axis=1).clip(1e-6)
                right.append(rise[0] > rise[1])
        figures[f"nuclear_first_{lab}"] = float(np.mean(right))
    figures["nuclear_first_min"] = min(v for v in figures.values() if isinstance(v, float))
    return figures


def measure_pairs(
    images: dict[str, list[np.ndarray]], profiles: dict[str, list[StainProfile]]
) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    means = {lab: average(own) for lab, own in profiles.items()}
    for source, own in images.items():
        chosen = np.linspace(0, len(own) - 1, min(PAIR_IMAGES, len(own))).astype(int)
        for goal in set(images) - {source}:
            before, after, kept = [], [], []
            for i in chosen:
                restained = transfer(own[i], means[goal])
                before.append(distance(profiles[source][i], means[goal]))
                after.append(distance(profiles_of(restained)[0], means[goal]))
                kept.append(structure(own[i], restained))
            figures[f"gain_{source}_to_{goal}"] = 1 - float(np.mean(after) / np.mean(before))
            figures[f"ssim_{source}_to_{goal}"] = float(np.mean(kept))
    figures = dict(sorted(figures.items()))
    for kind in ("gain", "ssim"):
        values = [v for name, v in figures.items() if name.startswith(kind) and isinstance(v, float)]
        figures[f"transfer_{kind}_min"] = min(values)
    return figures


def main() -> None:
    header("stain", f"{SIDE} x {SIDE} px, sada k = {VIEWS}, {torch.get_num_threads()} threads, uncompiled")
    memory = measure_memory()  # first: later on, calls would find memory that earlier ones left behind
    figures = measure_speed() | measure_quality() | memory | measure_fields()
    reasons = {}
    if figures["memory_ratio"] is None:
        reasons["memory_ratio"] = "the peak of memory can be read on Linux only"
    data = real_data()
    if data is None:
        names = ("lab_knn", "lab_purity", "nuclear_first_min", "transfer_gain_min", "transfer_ssim_min")
        figures |= dict.fromkeys(names)
        reasons |= dict.fromkeys(names, "no real cells: set BLOODCELL_DATA")
    else:
        figures |= measure_labs(data)
    finish(figures, LIMITS, reasons)


if __name__ == "__main__":
    main()
