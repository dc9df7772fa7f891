"""The promptable decoder for one image, in an order that makes a click cheap.

The same numbers as segment-anything's decoder, but for rounding. A click is a handful of words against
thousands of places. Where those meet, a layer of the places (``places @ weight``) is never computed: the
weight goes to the words first (``words @ weight``), and only then the words meet the places. What of the
first block depends on the image alone is kept, and only the one mask that is answered is drawn.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_bloodcell.core.sam.heads import PromptHead
from napari_bloodcell.core.sam.original import Attention, TwoWayAttentionBlock


class QuickHead:
    """``embedding``: 1 x C x h x w. ``size_px``: of the square the encoder saw."""

    def __init__(self, head: PromptHead, embedding: Tensor, size_px: int) -> None:
        h, w = embedding.shape[-2:]
        self._head, self._grid, self._size_px = head, (h, w), size_px
        prompts = head.prompt_encoder
        prompts.image_embedding_size, prompts.mask_input_size = (h, w), (4 * h, 4 * w)
        prompts.input_image_size = (size_px, size_px)
        self._image = _places(embedding)
        self._where = _places(prompts.get_dense_pe())
        self._plain = self._image + prompts.no_mask_embed.weight

    def __call__(
        self,
        *,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        several: bool = True,
    ) -> tuple[Tensor, float]:
        """The best mask for one prompt, 4h x 4w logits, and the model's guess of its IoU. ``several``: the
        best of three nested guesses, for a prompt that leaves open which is meant."""
        head = self._head
        sparse, dense = head.prompt_encoder(points=points, boxes=boxes, masks=masks)
        decoder = head.mask_decoder
        words = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, sparse[0]])
        places = self._plain if masks is None else self._image + _places(dense)
        words, places = self._meet(words, places)
        quality = decoder.iou_prediction_head(words[:1])[0]
        choice = 1 + int(quality[1:].argmax()) if several else 0
        weight = decoder.output_hypernetworks_mlps[choice](words[1 + choice][None])[0]
        return self._draw(places, weight), float(quality[choice])

    def _meet(self, words: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """T x C and N x C through the two-way transformer."""
        transformer, own = self._head.mask_decoder.transformer, words
        for block in transformer.layers:
            words, places = _block(block, words, places, own, self._where)
        final = transformer.final_attn_token_to_image
        words = words + _words_read(final, words + own, places + self._where, places)
        return transformer.norm_final_attn(words), places

    def _draw(self, places: Tensor, weight: Tensor) -> Tensor:
        """Places up to four times as fine, and there against the weights of the mask: two transposed
        convolutions without overlap, so products of matrices."""
        first, norm, act, second, _ = self._head.mask_decoder.output_upscaling
        x = act(F.layer_norm(_finer(first, places), (first.out_channels,), norm.weight, norm.bias, norm.eps))
        maps = act(_finer(second, x)) @ weight
        h, w = self._grid
        out: Tensor = maps.view(h, w, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(4 * h, 4 * w)
        return out


def _places(maps: Tensor) -> Tensor:
    """1 x C x h x w -> N x C."""
    return maps[0].flatten(1).T.contiguous()


def _finer(layer: torch.nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Each place becomes 2 x 2: N x C -> 4N x D, the four of a place one after the other."""
    weight = layer.weight.permute(0, 2, 3, 1).reshape(layer.in_channels, -1)
    assert layer.bias is not None
    return (x @ weight).view(-1, layer.out_channels) + layer.bias


def _block(
    block: TwoWayAttentionBlock, words: Tensor, places: Tensor, own: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    if block.skip_first_layer_pe:
        words = block.self_attn(words[None], words[None], words[None])[0]
    else:
        asked = (words + own)[None]
        words = words + block.self_attn(asked, asked, words[None])[0]
    words = block.norm1(words)
    seen = places + where
    words = block.norm2(words + _words_read(block.cross_attn_token_to_image, words + own, seen, places))
    words = block.norm3(words + block.mlp(words))
    places = places + _places_read(block.cross_attn_image_to_token, seen, words + own, words)
    return words, block.norm4(places)


def _words_read(attention: Attention, words: Tensor, seen: Tensor, places: Tensor) -> Tensor:
    """What T words take from N places. The bias of the keys is alike for all places and drops out."""
    heads, count = attention.num_heads, len(words)
    q = attention.q_proj(words).view(count, heads, -1).transpose(0, 1)  # heads x T x d
    width = q.shape[2]
    keys = attention.k_proj.weight.view(heads, width, -1)
    scores = (q @ keys).flatten(0, 1) @ seen.T  # heads*T x N
    read = (scores * width**-0.5).softmax(dim=1) @ places
    values = attention.v_proj.weight.view(heads, width, -1).transpose(1, 2)
    taken = read.view(heads, count, -1) @ values + attention.v_proj.bias.view(heads, 1, width)
    out: Tensor = attention.out_proj(taken.transpose(0, 1).reshape(count, -1))
    return out


def _places_read(attention: Attention, seen: Tensor, words: Tensor, values: Tensor) -> Tensor:
    """What N places take from T words."""
    heads, count = attention.num_heads, len(words)
    k = attention.k_proj(words).view(count, heads, -1).transpose(0, 1)  # heads x T x d
    width = k.shape[2]
    asked = (k @ attention.q_proj.weight.view(heads, width, -1)).flatten(0, 1)  # heads*T x C
    bias = (k * attention.q_proj.bias.view(heads, 1, width)).sum(dim=2).flatten()
    scores = torch.addmm(bias[:, None], asked, seen.T)  # the short softmax runs along rows: ten times faster
    shares = (scores * width**-0.5).view(heads, count, -1).softmax(dim=1).flatten(0, 1)
    v = attention.v_proj(values).view(count, heads, -1).transpose(0, 1)
    out = attention.out_proj.weight.T.view(heads, width, -1)
    return torch.addmm(attention.out_proj.bias, shares.T, (v @ out).flatten(0, 1))
