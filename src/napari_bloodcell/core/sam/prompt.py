"""Click, box, scribble or an existing mask -> the cell there. The image is embedded once; a prompt is cheap.

Frames: everything the caller gives or gets is in pixels of the image, x before y.
"""

import hashlib

import numpy as np
import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.config import SamConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.records import BoolArray, ByteArray
from napari_bloodcell.core.sam.embeddings import EmbeddingCache
from napari_bloodcell.core.sam.inference import ready
from napari_bloodcell.core.sam.lora import without_adapter
from napari_bloodcell.core.sam.model import CellSam
from napari_bloodcell.core.sam.question import Answer, Prompt, scribble
from napari_bloodcell.core.sam.quick_head import QuickHead
from napari_bloodcell.core.sam.variants import check_size

__all__ = ["Answer", "Prompt", "PromptSession", "scribble"]

MASK_LOGIT = 8.0  # what a pixel of a given mask is worth; the decoder's own logits are of this size


class PromptSession:
    """One image, embedded once by the plain checkpoint (an adapter is left out), asked as often as needed."""

    def __init__(
        self,
        model: CellSam,
        pixels: ByteArray,
        config: SamConfig | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise SegmentError(
                f"An image of shape {pixels.shape} and type {pixels.dtype} is not accepted; prompts take "
                "H x W x 3 uint8 RGB."
            )
        config = config or SamConfig(size_px=model.variant.native_px)
        self.model, self.config = model, config
        self.frame_px = check_size(config.size_px)
        self.image_hw = (pixels.shape[0], pixels.shape[1])
        self._resize = ResizeLongestSide(self.frame_px)
        self.frame_hw = self._resize.get_preprocess_shape(*self.image_hw, self.frame_px)
        self._embedding = self._embed(pixels, cache)
        self._quick: QuickHead | None = None

    def ask(self, prompts: list[Prompt]) -> Answer:
        """A mask for each prompt. One lonely point is ambiguous: the best of three guesses is taken."""
        if not prompts:
            return Answer(masks=np.zeros((0, *self.image_hw), bool), scores=np.zeros(0, np.float32))
        for prompt in prompts:
            check_prompt(prompt, self.image_hw)
        masks, scores = [], []
        device = self.model.device
        with torch.inference_mode():
            if self._quick is None or self._embedding.device != device:
                self._embedding = self._embedding.to(device)
                self._quick = QuickHead(self.model.plain, self._embedding, self.frame_px)
            for prompt in prompts:
                logits, score = self._best(prompt, device)
                masks.append(self._enlarge(logits[None, None]))
                scores.append(score)
        return Answer(masks=np.stack(masks), scores=np.asarray(scores, np.float32))

    def _embed(self, pixels: ByteArray, cache: EmbeddingCache | None) -> Tensor:
        key = {
            "image": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
            "shape": list(pixels.shape),
            "model": self.model.base_sha256,
            "frame_px": self.frame_px,
            "attention": self.config.attention,
            "precision": self.config.precision,
        }
        found = cache.get(key) if cache is not None else None
        if found is not None:
            return torch.from_numpy(found)
        resized = torch.from_numpy(self._resize.apply_image(pixels)).permute(2, 0, 1)[None]
        with without_adapter(self.model), ready(self.model, self.config) as device:
            embedding = self.model.embed(resized.to(device), self.frame_px).float().cpu()
        if cache is not None:
            cache.put(key, embedding.numpy())
        return embedding

    def _best(self, prompt: Prompt, device: torch.device) -> tuple[Tensor, float]:
        asked = {
            "points": self._points(prompt, device),
            "boxes": self._box(prompt, device),
            "masks": self._mask(prompt, device),
        }
        if self.config.attention == "fused" and self._quick is not None:
            return self._quick(**asked, several=_is_ambiguous(prompt))  # type: ignore[arg-type]
        maps, quality = self.model.plain(
            self._embedding,
            (self.frame_px, self.frame_px),
            **asked,
            several=_is_ambiguous(prompt),
        )
        best = int(quality[0].argmax())
        return maps[0, best], float(quality[0, best])

    def _points(self, prompt: Prompt, device: torch.device) -> tuple[Tensor, Tensor] | None:
        if prompt.points_xy is None:
            return None
        points = self._resize.apply_coords(np.asarray(prompt.points_xy, float).reshape(-1, 2), self.image_hw)
        inside = np.ones(len(points)) if prompt.inside is None else np.asarray(prompt.inside)
        return (
            torch.as_tensor(points, dtype=torch.float32, device=device)[None],
            torch.as_tensor(inside, dtype=torch.int64, device=device)[None],
        )

    def _box(self, prompt: Prompt, device: torch.device) -> Tensor | None:
        if prompt.box_xyxy is None:
            return None
        box = self._resize.apply_boxes(np.asarray(prompt.box_xyxy, float).reshape(1, 4), self.image_hw)
        return torch.as_tensor(box, dtype=torch.float32, device=device)

    def _mask(self, prompt: Prompt, device: torch.device) -> Tensor | None:
        if prompt.mask is None:
            return None
        h, w = self.frame_hw
        part = torch.from_numpy(prompt.mask.astype(np.float32)).to(device)[None, None]
        part = F.interpolate(part, (h, w), mode="bilinear", antialias=True, align_corners=False)
        whole = F.pad(part, (0, self.frame_px - w, 0, self.frame_px - h))
        return MASK_LOGIT * (2 * F.avg_pool2d(whole, 4) - 1)

    def _enlarge(self, maps: Tensor) -> BoolArray:
        """Decoder logits -> the image's own size, as Meta's predictor does it."""
        h, w = self.frame_hw
        wide = F.interpolate(maps, (self.frame_px, self.frame_px), mode="bilinear", align_corners=False)
        own = F.interpolate(wide[..., :h, :w], self.image_hw, mode="bilinear", align_corners=False)
        mask: BoolArray = (own[0, 0] > 0).cpu().numpy()
        return mask


def check_prompt(prompt: Prompt, image_hw: tuple[int, int]) -> None:
    """What was drawn must lie on the image and be something."""
    height, width = image_hw
    if prompt.points_xy is None and prompt.box_xyxy is None and prompt.mask is None:
        raise SegmentError("The prompt is empty. Give points, a box or a mask.")
    for words, values in (("point", prompt.points_xy), ("corner of a box", prompt.box_xyxy)):
        places = np.zeros((0, 2)) if values is None else np.asarray(values, float).reshape(-1, 2)
        odd = ~((places >= 0) & (places <= (width, height))).all(axis=1)
        if odd.any():
            x, y = places[odd][0]
            raise SegmentError(
                f"A {words} at x {x:g}, y {y:g} is outside the image of {width} x {height} px. "
                "Place it on the cell."
            )
    count = 0 if prompt.points_xy is None else np.size(prompt.points_xy) // 2
    if prompt.inside is not None and len(prompt.inside) != count:
        raise SegmentError(f"{count} points come with {len(prompt.inside)} values of inside; give as many.")
    if prompt.mask is not None and prompt.mask.shape != image_hw:
        raise SegmentError(f"The mask has shape {prompt.mask.shape}; the image has {image_hw}. Draw it here.")
    if prompt.mask is not None and not prompt.mask.any():
        raise SegmentError("The mask is empty: nothing in it to improve. Draw it, or click on the cell.")


def _is_ambiguous(prompt: Prompt) -> bool:
    points = 0 if prompt.points_xy is None else len(np.reshape(prompt.points_xy, (-1, 2)))
    return points == 1 and prompt.box_xyxy is None and prompt.mask is None
