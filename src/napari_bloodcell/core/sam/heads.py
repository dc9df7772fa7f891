"""The two decoders that read an image embedding.

``CellHead`` needs no prompt: one output channel a class, for a whole batch at once (BC-SAM, DoRL).
``PromptHead`` is the plain checkpoint's own: points, boxes and masks for one image.
"""

import torch
from torch import Tensor, nn

from napari_bloodcell.core.sam.encoder import Detail, convolve
from napari_bloodcell.core.sam.original import MaskDecoder, PromptEncoder, TwoWayTransformer
from napari_bloodcell.core.sam.variants import PATCH_PX, Variant

# Made fresh in a cell head; all else starts as the checkpoint has it (methods, section 1).
FRESH = (
    "mask_decoder.mask_tokens.",
    "mask_decoder.output_hypernetworks_mlps.",
    "mask_decoder.iou_prediction_head.",
)


class Head(nn.Module):
    """A prompt encoder and a mask decoder, with segment-anything's names for their tensors."""

    def __init__(self, variant: Variant, outputs: int) -> None:
        super().__init__()
        grid = variant.native_px // PATCH_PX
        self.prompt_encoder = PromptEncoder(
            embed_dim=variant.prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(variant.native_px, variant.native_px),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=outputs - 1,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=variant.prompt_dim,
                mlp_dim=variant.decoder_mlp,
                num_heads=variant.decoder_heads,
            ),
            transformer_dim=variant.prompt_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )


class CellHead(Head):
    """Embedding B x C x h x w -> one map a class, B x channels x 4h x 4w, and its own guess of their IoU.

    Where the encoder has a stem, its detail is added on the way up: patches of 16 px alone lose the edge.
    """

    def __init__(self, variant: Variant, outputs: int) -> None:
        super().__init__(variant, outputs)
        if variant.stem:
            wide, narrow = variant.prompt_dim // 4, variant.prompt_dim // 8
            _, quarter, eighth = variant.stem
            self.eighth = nn.Conv2d(eighth, wide, 1)
            self.quarter = nn.Sequential(
                convolve(narrow + quarter, wide), nn.Conv2d(wide, narrow, 3, padding=1)
            )

    def forward(self, embedding: Tensor, detail: Detail | None = None) -> tuple[Tensor, Tensor]:
        b, c, h, w = embedding.shape
        decoder, prompts = self.mask_decoder, self.prompt_encoder
        source = embedding + prompts.no_mask_embed.weight.view(1, c, 1, 1)
        places = prompts.pe_layer((h, w))[None]  # alike for every image of the batch
        start = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        words, source = decoder.transformer(source, places, start.expand(b, -1, -1))
        wide = self._enlarge(source.transpose(1, 2).view(b, c, h, w), detail)
        mlps = decoder.output_hypernetworks_mlps
        weights = torch.stack([mlp(words[:, 1 + i]) for i, mlp in enumerate(mlps)], dim=1)
        maps = (weights @ wide.flatten(2)).view(b, len(mlps), *wide.shape[2:])
        return maps, decoder.iou_prediction_head(words[:, 0])

    def _enlarge(self, source: Tensor, detail: Detail | None) -> Tensor:
        steps = self.mask_decoder.output_upscaling
        if detail is None:
            out: Tensor = steps(source)
            return out
        quarter, eighth = detail
        wide = steps[3:](steps[:3](source) + self.eighth(eighth))
        finer: Tensor = wide + self.quarter(torch.cat([wide, quarter], dim=1))
        return finer


class PromptHead(Head):
    """The decoder of the plain checkpoint: three nested guesses and one single mask for each prompt."""

    def forward(
        self,
        embedding: Tensor,
        size_px: tuple[int, int],
        *,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        several: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Prompts for ONE image, in pixels of the size the encoder saw.

        ``points``: N x P x 2 (x, y) and N x P labels (1 cell, 0 ground, -1 filler); ``boxes``: N x 4;
        ``masks``: N x 1 x 4h x 4w logits. Returns logits N x (3 or 1) x 4h x 4w, and guesses of their IoU.
        """
        h, w = embedding.shape[-2:]
        prompts = self.prompt_encoder
        prompts.image_embedding_size, prompts.mask_input_size = (h, w), (4 * h, 4 * w)
        prompts.input_image_size = size_px
        sparse, dense = prompts(points=points, boxes=boxes, masks=masks)
        maps, quality = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return maps, quality
