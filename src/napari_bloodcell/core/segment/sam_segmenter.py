"""White cells outlined by a Segment Anything model with its prompt-free head.

The stain proposes where cells are; each proposal is cut out at the cell's own scale, a batch at a time the
network outlines nucleus and cytoplasm, and the outlines go back into the field: the same cell found twice
counts once, touching cells share no pixel. Where the network's outline cannot be a cell, the outline by
stain is kept and a note says so.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from napari_bloodcell.core.artifact import hash_of, read_json, write_json
from napari_bloodcell.core.config import SamConfig, SegmentConfig
from napari_bloodcell.core.errors import ArtifactError, Cancelled
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray, FloatArray, Masks, SmearImage
from napari_bloodcell.core.sam.checkpoint import hash_tensors
from napari_bloodcell.core.sam.ground import on_white
from napari_bloodcell.core.sam.inference import in_batches, ready
from napari_bloodcell.core.sam.lora import merge_for_good, pairs_of
from napari_bloodcell.core.sam.model import CellSam, load_model, save_model
from napari_bloodcell.core.sam.window import Window, window_of
from napari_bloodcell.core.segment.outlines import (
    Drawn,
    draw,
    kept_by_stain,
    look_again,
    proposals_of,
    settle,
    why_not,
)
from napari_bloodcell.core.segment.stain_segmenter import find_by_stain, look
from napari_bloodcell.core.segment.survey import Survey
from napari_bloodcell.core.segment.tiles import Found, segment_field

MODEL, SETTINGS = "segmenter.safetensors", "segmenter.json"
VERSION = 2  # raise it whenever an outline changes


class SamSegmenter:
    """``config``: the input size the model was trained at, and how it is run (device, precision, batch).
    ``white_ground``: whether it was trained on pictures whose ground was made white (``sam/ground.py``).
    ``source``: the name of weights that every installation has; a file then names them and holds no copy.
    """

    kind: ClassVar[str] = "sam"

    def __init__(
        self,
        model: CellSam,
        config: SamConfig | None = None,
        *,
        white_ground: bool = True,
        source: str = "",
    ) -> None:
        self.model, self.source = model, source
        config = config or SamConfig(size_px=model.variant.native_px)
        # bf16 moves outlines by pixels with the machine and its threads: only where it is asked for.
        self.config = replace(config, precision="fp32") if config.precision == "auto" else config
        self.white_ground = white_ground

    @property
    def hash(self) -> str:
        """Of the weights as they are kept: an adapter merged, in half precision."""
        state = {name: tensor.half() for name, tensor in self._merged().state_dict().items()}
        return hash_of({"weights": hash_tensors(state), "version": VERSION} | self._settings())

    def save(self, folder: Path) -> list[str]:
        """An adapter is merged into the weights for good: a bundle needs no second file to make sense."""
        named = {"source": self.source, "hash": self.hash} if self.source else {}
        write_json(folder / SETTINGS, "segmenter", self._settings() | named)
        if named:
            return [SETTINGS]
        save_model(self._merged(), folder / MODEL, half=True)
        return [MODEL, SETTINGS]

    @classmethod
    def load(cls, folder: Path) -> Self:
        _, settings = read_json(folder / SETTINGS, "segmenter")
        config, white = SamConfig(size_px=settings["size_px"]), bool(settings["white_ground"])
        source = str(settings.get("source", ""))
        if not source:
            return cls(load_model(folder / MODEL), config, white_ground=white)
        from napari_bloodcell.core.segment.choose import read_network

        found = cls(read_network(source)[0], config, white_ground=white, source=source)
        if found.hash != settings["hash"]:
            raise ArtifactError(
                f"{folder} was made with other weights of {source!r} than this release ships. Use the "
                "release it was made with, or a bundle made for this one."
            )
        return found

    def segment(
        self,
        image: SmearImage | LazyImage,
        config: SegmentConfig = SegmentConfig(),
        *,
        progress: Progress = silent,
    ) -> Masks:
        """A cancel raises ``Stopped`` with the cells finished before."""

        def find(pixels: ByteArray, seen: Survey, report: Progress) -> Found:
            return self.find(pixels, seen, config, progress=report)

        return segment_field(image, look(image, progress), find, config, kind=self.kind, progress=progress)

    def _settings(self) -> dict[str, object]:
        return {"segmenter": self.kind, "size_px": self.config.size_px, "white_ground": self.white_ground}

    def _merged(self) -> CellSam:
        if not pairs_of(self.model):
            return self.model
        model = deepcopy(self.model)
        merge_for_good(model)
        return model

    def find(
        self, pixels: ByteArray, seen: Survey, config: SegmentConfig, *, progress: Progress = silent
    ) -> Found:
        """The cells of one piece of an image that was looked at before."""
        proposed = find_by_stain(pixels, seen, config, progress=progress)
        proposals = proposals_of(proposed)
        widest_px = config.max_cell_um / seen.assumed_um_per_px
        drawn: list[Drawn] = []
        stopped: Cancelled | None = None
        try:
            for one in self._outlines(pixels, seen.light, proposals, config.device, progress):
                proposal = proposals[len(drawn)]
                why = why_not(one, proposal, widest_px)
                drawn.append(kept_by_stain(proposal, why) if why else one)
        except Cancelled as error:
            stopped = error
        return settle(drawn, proposals, proposed, stopped)

    def outline_windows(
        self, pixels: ByteArray, light: FloatArray, about: list[Drawn], device: str = "auto"
    ) -> list[Drawn]:
        """The cell in the middle of a window round each of these, for who points at cells himself."""
        return list(self._outlines(pixels, light, about, device, silent))

    def _outlines(
        self, pixels: ByteArray, light: FloatArray, proposals: list[Drawn], where: str, progress: Progress
    ) -> Iterator[Drawn]:
        """One outline for each proposal, in order. Where the first window did not fit the cell that was found
        in it, a second one round that cell is looked at."""
        shape, size = (pixels.shape[0], pixels.shape[1]), self.config.size_px
        config = self.config if where == "auto" else replace(self.config, device=where)
        with ready(self.model, config) as device:

            def look_at(pairs: list[tuple[Window, Drawn]]) -> list[Drawn]:
                cut = np.stack([window.cut(pixels, size) for window, _ in pairs])
                if self.white_ground:
                    cut = on_white(cut, light)
                maps, _ = self.model(torch.from_numpy(cut).to(device).permute(0, 3, 1, 2))
                logits = maps.float().cpu().numpy()
                return [draw(one, *pair, shape) for one, pair in zip(logits, pairs, strict=True)]

            def outline(some: list[Drawn]) -> list[Drawn]:
                pairs = [(window_of(one.box_xyxy), one) for one in some]
                drawn = look_at(pairs)
                odd = [i for i, (window, _) in enumerate(pairs) if look_again(drawn[i], window, shape)]
                if odd:
                    second = look_at([(window_of(drawn[i].box_xyxy), some[i]) for i in odd])
                    for i, one in zip(odd, second, strict=True):
                        drawn[i] = one
                return drawn

            yield from (
                one
                for part in in_batches(
                    outline, proposals, config.batch, image_hw=(size, size), progress=progress
                )
                for one in part
            )
