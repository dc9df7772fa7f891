"""How fast cells are outlined, against the way the released scripts run: one image at a time, fp32, through
segment-anything's unmodified ViT-B at 224 px.

``python -m benchmarks.segment_speed [--json]`` from the root. Random weights, the same for both; nothing is
downloaded. All are timed in turn, and each ratio is the median over the rounds; of fields and clicks the
shortest time is told, for a machine that does nothing else.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import cast

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn
from torch.nn import functional as F  # noqa: N812

from benchmarks._common import Figure, finish, header
from napari_bloodcell.core.config import AnalyseConfig, SamConfig, SegmentConfig, SmearConfig
from napari_bloodcell.core.device import computes_bf16
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import SmearImage
from napari_bloodcell.core.sam.attention import join_qkv
from napari_bloodcell.core.sam.inference import predict_parts
from napari_bloodcell.core.sam.model import CellSam, new_model
from napari_bloodcell.core.sam.prompt import Prompt, PromptSession
from napari_bloodcell.core.segment.choose import find_segmenter
from napari_bloodcell.core.segment.pointed import PointedSession
from napari_bloodcell.core.segment.sam_segmenter import SamSegmenter
from napari_bloodcell.core.synthetic import make_smear

SIDE, IMAGES, ROUNDS, BUDGET_S = 224, 8, 7, 75
LIMITS = {
    "vitb_fp32_ratio": "at least 2.1",
    "vitb_bf16_ratio": "at least 3.4",
    "vitb_fp32_ceiling": "of vitb_fp32_ratio: if all but the blocks' matrix products took no time",
    "vitb_bf16_ceiling": "of vitb_bf16_ratio, likewise",
    "nano_ratio": "at least 12",
    "gpu_ratio": "at least 30",
    "field_s": "under 1.5",
    "click_ms": "under 60",
    "click_nano_ms": "under 60",
}
Run = Callable[[], object]


class Plain(nn.Module):
    """ViT-B at 224 px from segment-anything's own parts, two channels, as BC-SAM and DoRL use it."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = ImageEncoderViT(
            img_size=SIDE, use_rel_pos=True, global_attn_indexes=(2, 5, 8, 11), window_size=14,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )  # fmt: skip
        self.prompt_encoder = PromptEncoder(256, (SIDE // 16, SIDE // 16), (SIDE, SIDE), 16)
        transformer = TwoWayTransformer(2, 256, 8, 2048)
        self.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer, num_multimask_outputs=1)

    @torch.no_grad()
    def loop(self, pictures: np.ndarray, model: CellSam) -> np.ndarray:
        found = []
        for picture in pictures:
            pixels = torch.from_numpy(picture).to(model.device).permute(2, 0, 1)[None]
            pixels = (pixels.float() - model.pixel_mean) / model.pixel_std
            sparse, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
            maps, _ = self.mask_decoder.predict_masks(
                self.image_encoder(pixels), self.prompt_encoder.get_dense_pe(), sparse, dense
            )
            wide = F.interpolate(maps, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            found.append(wide.argmax(dim=1)[0].to(torch.uint8).cpu().numpy())
        return np.stack(found)


def plain_of(model: CellSam) -> Plain:
    """The same weights; tables of a fresh model at 1024 px are cut to the size the plain one has."""
    with torch.device("meta"):
        plain = Plain()
    state = {key.removeprefix("cells."): value for key, value in join_qkv(model.state_dict()).items()}
    ready = {}
    for key, wanted in plain.state_dict().items():
        value = state[key]
        if key.endswith("pos_embed"):
            value = F.interpolate(value.permute(0, 3, 1, 2), wanted.shape[1:3], mode="bilinear")
            value = value.permute(0, 2, 3, 1)
        elif value.shape != wanted.shape:  # relative positions of the global blocks
            value = F.interpolate(value.T[None], wanted.shape[0], mode="linear")[0].T
        ready[key] = value.clone()
    plain.load_state_dict(ready, assign=True)
    return plain.eval()


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(runs: dict[str, Run], budget_s: float) -> dict[str, list[float]]:
    """Seconds of each, round by round; the first round warms up and is not counted."""
    for run in runs.values():
        run()
    start, times = time.perf_counter(), {name: list[float]() for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(seconds(run))
        if time.perf_counter() - start > budget_s:
            break
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    plain = times["plain"]
    return {
        name: median(p / t for p, t in zip(plain, own, strict=True))
        for name, own in times.items()
        if name != "plain"
    }


def field_s(smear: SmearImage) -> float:
    """A field of 640 x 480 px from pixels to a counted differential, outlined by the network that ships."""
    config = AnalyseConfig(segmenter="sam", segment=SegmentConfig(device="cpu"))
    return min(seconds(lambda: analyse(smear, config=config)) for _ in range(6))


def click_nano_ms(smear: SmearImage) -> float:
    """A click on the same field to its mask, by the network that ships."""
    segmenter = find_segmenter("nano", None, SamConfig(device="cpu", precision="fp32"))
    session = PointedSession(cast(SamSegmenter, segmenter), smear)
    click = [Prompt(points_xy=np.array([[320.0, 240.0]]))]
    return 1000 * min(seconds(lambda: session.ask(click)) for _ in range(12))


def click_ms(vitb: CellSam) -> float:
    """A click on a 640 x 480 image to its mask, by the decoder of SAM at 1024 px; embedded before."""
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(1))
    vitb.embed = lambda *_: embedding  # type: ignore[method-assign]
    session = PromptSession(vitb, np.zeros((480, 640, 3), np.uint8), SamConfig(device="cpu", size_px=1024))
    click = [Prompt(points_xy=np.array([[320.0, 240.0]]))]
    return 1000 * min(seconds(lambda: session.ask(click)) for _ in range(12))


def on_gpu(pictures: np.ndarray, plain: Plain, vitb: CellSam) -> float:
    many = np.concatenate([pictures] * 16)
    plain.to("cuda"), vitb.to("cuda")
    fast = SamConfig(device="cuda", precision="bf16", batch=len(many))
    times = in_turn(
        {"plain": lambda: plain.loop(many, vitb), "gpu": lambda: predict_parts(vitb, many, fast)}, 30
    )
    return ratios(times)["gpu"]


@torch.inference_mode()
def linear_layers_ms(dtype: torch.dtype) -> float:
    """What the matrix products of ViT-B's 12 blocks take for one image, in a batch, at the best this CPU does
    with them. No program that computes them all in this precision is faster than this."""
    total = 0.0
    for inputs, outputs, layers in ((768, 768, 4), (768, 3072, 1), (3072, 768, 1)):
        tokens, layer = torch.randn(IMAGES * 196, inputs).to(dtype), nn.Linear(inputs, outputs).to(dtype)
        ways: list[Run] = [partial(layer, tokens)]
        if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            onednn = torch.ops.mkldnn._linear_pointwise
            ways.append(partial(onednn, tokens, layer.weight.detach(), layer.bias.detach(), "none", [], ""))
        total += 12 * layers * min(seconds(way) for way in ways for _ in range(20))
    return 1000 * total / IMAGES


def main() -> None:
    torch.manual_seed(0)
    vitb, nano = new_model("vit_b", channels=2), new_model("nano")
    plain = plain_of(vitb)
    smear = make_smear(SmearConfig(width_px=640, height_px=480, white_cells=3, seed=5)).image
    pictures = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    header(
        "segment_speed",
        f"{IMAGES} images of {SIDE} px a round, up to {ROUNDS} rounds in turn, random weights",
    )
    fp32 = SamConfig(device="cpu", precision="fp32", batch=IMAGES)
    runs: dict[str, Run] = {
        "plain": lambda: plain.loop(pictures, vitb),
        "vitb_fp32": lambda: predict_parts(vitb, pictures, fp32),
        "nano": lambda: predict_parts(nano, pictures, fp32),
    }
    bf16 = computes_bf16(torch.device("cpu"))
    if bf16:
        low = SamConfig(device="cpu", precision="bf16", batch=IMAGES)
        runs["vitb_bf16"] = lambda: predict_parts(vitb, pictures, low)
    same = (plain.loop(pictures[:2], vitb) == predict_parts(vitb, pictures[:2], fp32)).mean()
    times = in_turn(runs, BUDGET_S)
    found = ratios(times)
    figures: dict[str, Figure] = {
        "vitb_fp32_ratio": found["vitb_fp32"],
        "vitb_bf16_ratio": found.get("vitb_bf16"),
        "nano_ratio": found["nano"],
        "gpu_ratio": on_gpu(pictures, plain, vitb) if torch.cuda.is_available() else None,
        "field_s": field_s(smear),
        "click_ms": click_ms(vitb.to("cpu")),
        "click_nano_ms": click_nano_ms(smear),
    }
    plain_ms = 1000 * median(times["plain"]) / IMAGES
    for name, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        if name == "fp32" or bf16:
            least = linear_layers_ms(dtype)
            figures[f"vitb_{name}_ceiling"] = plain_ms / least
            print(f"matrix products of the blocks alone, {name}: {least:.0f} ms an image")
    reasons = {}
    if not bf16:
        reasons["vitb_bf16_ratio"] = "this CPU does not compute in bf16 (neither AMX nor AVX-512 BF16)"
    if figures["gpu_ratio"] is None:
        reasons["gpu_ratio"] = "torch sees no GPU here"
    for name, own in times.items():
        print(f"{name}: {1000 * median(own) / IMAGES:.0f} ms an image (median of {len(own)} rounds)")
    print(f"pixels of the same class as the plain loop's: {100 * same:.3f} %")
    finish(figures, {name: LIMITS[name] for name in figures if name not in reasons}, reasons)


if __name__ == "__main__":
    main()
