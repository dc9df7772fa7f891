"""Images to their stains: background, dictionary, concentrations. One function, three ways."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import StainConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.stain import updates
from napari_bloodcell.core.stain.sampled import (
    TYPICAL,
    TYPICAL_SCALE,
    dictionary_of,
    flag_samples,
    nuclear_first,
    solver,
    sweep,
    take_sample,
)
from napari_bloodcell.core.stain.tensors import BYTE, as_batch, check_mask, levels_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAMES = ("nuclear", "cytoplasmic", "third")
STRETCH_PX = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Separation:
    """The stains of a batch. Densities are natural-log; column 0 is the nuclear stain."""

    dictionary: "Tensor"  # B x 3 x K, unit columns
    background: "Tensor"  # B x 3, density of the ground
    scale: "Tensor"  # B x K, what 1 % of concentrations exceed
    pixels: tuple[int, ...]  # measured, of each image
    flags: tuple[
        str, ...
    ]  # empty, or why the stains are typical ones: "constant", "no stain", "too dark", ...
    concentrations: "Tensor | None" = None  # B x K x H x W

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES[: self.dictionary.shape[2]]

    def __len__(self) -> int:
        return len(self.dictionary)


def separate(
    images: Any,
    config: StainConfig = StainConfig(),
    *,
    mask: Any = None,
    device: "torch.device | None" = None,
    progress: Progress = silent,
) -> Separation:
    """Take images apart. ``mask`` (B x H x W) limits what the stains are learned from (fast only)."""
    import torch

    batch, _ = as_batch(images, device)
    chosen = check_mask(mask, batch)
    if config.mode == "fast":
        found = _measure_batch(batch, config, chosen)
        parts = torch.empty(len(batch), config.stains, *batch.shape[-2:], device=batch.device)
        _concentrate(batch, found, parts.flatten(2), progress)
        return _replace(found, concentrations=parts)
    return _by_updates(batch, config, chosen, progress)


def measure(
    images: Any,
    config: StainConfig = StainConfig(),
    *,
    mask: Any = None,
    device: "torch.device | None" = None,
) -> Separation:
    """Stains without the concentrations of every pixel: what profiles and transfers need."""
    batch, _ = as_batch(images, device)
    if config.mode == "fast":
        return _measure_batch(batch, config, check_mask(mask, batch))
    return _replace(_by_updates(batch, config, check_mask(mask, batch), silent), concentrations=None)


def _concentrate(batch: "Tensor", found: Separation, out: "Tensor", progress: Progress) -> None:
    """Concentrations of each image into ``out`` (B x K x n), a stretch of pixels at a time."""
    import torch

    w = found.dictionary
    stains = w.shape[2]
    both, gram = solver(w), w.mT @ w
    ground = (torch.log(torch.tensor(BYTE)) - found.background)[:, :, None]
    # Density is ground - ln(level), none below zero: the ground's part goes into the product as a constant.
    constant, minus = both @ ground, -both
    flat = batch.flatten(2)
    for i in range(len(batch)):
        progress("Separating stains", i, len(batch))
        for start in range(0, flat.shape[2], STRETCH_PX):
            stop = min(start + STRETCH_PX, flat.shape[2])
            light = levels_of(flat[i, :, start:stop]).log_()
            solved = torch.addmm(constant[i], minus[i], torch.minimum(light, ground[i], out=light))
            alone = solved[stains:]
            h = torch.minimum(solved[:stains], alone, out=out[i, :, start:stop]).clamp_(min=0)
            if stains > 2:
                out[i, :, start:stop] = sweep(h[None].clone(), alone[None], gram[i : i + 1])[0]


def reconstruct(found: Separation) -> "Tensor":
    """Density above the background as the stains explain it: B x 3 x H x W."""
    assert found.concentrations is not None
    flat = found.concentrations.flatten(2)
    explained: Tensor = found.dictionary @ flat
    return explained.view(len(found), 3, *found.concentrations.shape[-2:])


def density_above(images: Any, background: "Tensor") -> "Tensor":
    """What the stains have to explain: density above the background, none below zero."""
    batch, _ = as_batch(images)
    density = levels_of(batch).div_(BYTE).log_().neg_()
    return density.sub_(background[:, :, None, None]).clamp_(min=0)


def _measure_batch(batch: "Tensor", config: StainConfig, mask: "Tensor | None") -> Separation:
    import torch

    generator = torch.Generator().manual_seed(config.seed)
    levels, light = take_sample(batch, mask, config.sample_px, generator)
    density = (light.log()[:, :, None] - levels.log()).clamp_(min=0)
    flags = flag_samples(levels, light, density)
    w, scale, h = dictionary_of(density, config.stains, config.iterations, config.sparsity)
    w, scale = _in_order(w, scale, nuclear_first(w, h))
    w, scale = _typical_where_flagged(w, scale, flags)
    seen = levels.shape[2]
    background = torch.log(BYTE / light)
    return Separation(
        dictionary=w,
        background=background,
        scale=scale,
        pixels=(batch[0, 0].numel() if mask is None else seen,) * len(batch),
        flags=tuple(flags),
    )


def _by_updates(
    batch: "Tensor", config: StainConfig, mask: "Tensor | None", progress: Progress
) -> Separation:
    import torch

    from napari_bloodcell.core.errors import ConfigError

    if mask is not None:
        raise ConfigError(
            f"A mask goes with mode 'fast', not {config.mode!r}: the published updates take every pixel. "
            "Set mode to 'fast', or leave the mask out."
        )
    ws, bs, scales, parts, flags = [], [], [], [], []
    for i, image in enumerate(batch):
        progress("Separating stains", i, len(batch))
        if config.mode == "exact":
            b, w, h = updates.exact(image, config.stains, config.iterations, config.sparsity)
        else:
            b, w, h = updates.fused(
                image, config.stains, config.iterations, config.sparsity, compiled=config.compiled
            )
        order = nuclear_first(w[None], h[None])
        w, scale = _in_order(w[None], _top(h)[None], order)
        flag = _flag_image(image, b)
        w, scale = _typical_where_flagged(w, scale, [flag])
        ws.append(w[0])
        bs.append(b)
        scales.append(scale[0])
        flags.append(flag)
        parts.append(h[order[0]].view(-1, *image.shape[1:]))
    return Separation(
        dictionary=torch.stack(ws),
        background=torch.stack(bs),
        scale=torch.stack(scales),
        pixels=(batch[0, 0].numel(),) * len(batch),
        flags=tuple(flags),
        concentrations=torch.stack(parts),
    )


def _flag_image(image: "Tensor", background: "Tensor") -> str:
    import torch

    levels = levels_of(image.flatten(1)[:, :: max(1, image[0].numel() // 4096)])[None]
    light = BYTE * torch.exp(-background)[None]
    density = (light.log()[:, :, None] - levels.log()).clamp_(min=0)
    return flag_samples(levels, light, density)[0]


def _top(h: "Tensor") -> "Tensor":
    """The 99 % quantile of each stain."""
    import torch

    rank = max(1, h.shape[1] // 100)
    return torch.kthvalue(h, h.shape[1] - rank + 1, dim=1).values.clamp_(min=1e-3)


def _in_order(w: "Tensor", scale: "Tensor", order: "Tensor") -> "tuple[Tensor, Tensor]":
    return w.gather(2, order[:, None].expand(-1, 3, -1)), scale.gather(1, order)


def _typical_where_flagged(w: "Tensor", scale: "Tensor", flags: list[str]) -> "tuple[Tensor, Tensor]":
    import torch

    flagged = torch.tensor([bool(flag) for flag in flags], device=w.device)
    typical = torch.from_numpy(TYPICAL[:, : w.shape[2]]).to(w.device)
    typical = typical / typical.norm(dim=0)
    broken = ~torch.isfinite(w).flatten(1).all(1) | ~torch.isfinite(scale).all(1)
    use = flagged | broken
    return (
        torch.where(use[:, None, None], typical, w),
        torch.where(use[:, None], torch.full_like(scale, TYPICAL_SCALE), scale),
    )


def _replace(found: Separation, **changes: Any) -> Separation:
    import dataclasses

    return dataclasses.replace(found, **changes)
