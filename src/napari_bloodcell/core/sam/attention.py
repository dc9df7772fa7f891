"""Attention of the image encoder with q, k and v as three layers, so that LoRA can reach q and v alone.

Two ways to the same numbers: ``exact`` goes step by step as segment-anything does; ``fused`` uses torch's
scaled-dot-product kernel with the relative-position bias and, on some CPUs, oneDNN's matrix products.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everybody writes it)

from napari_bloodcell.core.sam.original import add_decomposed_rel_pos, get_rel_pos

Mode = Literal["fused", "exact"]

# The bias of one piece of queries stays below this: 1024 px would need 800 MB in one piece.
MAX_BIAS_VALUES = 16 * 2**20
_PARTS = ("q", "k", "v")


@cache
def prefers_onednn() -> bool:
    """On AVX-512 torch's BLAS may stay at half the speed of oneDNN; on AVX2 both are at the CPU's limit."""
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide and bool(torch.backends.mkldnn.enabled) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class FastLinear(nn.Linear):
    """A linear layer that takes oneDNN's path for fp32 inference on a CPU where that is the faster one."""

    exact = False

    def forward(self, x: Tensor) -> Tensor:
        plain = (
            self.exact
            or torch.is_grad_enabled()
            or x.device.type != "cpu"
            or x.dtype != torch.float32
            or self.weight.dtype != torch.float32
            or torch.is_autocast_enabled("cpu")
            or not prefers_onednn()
        )
        if plain:
            return super().forward(x)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


class SplitAttention(nn.Module):
    """``segment_anything``'s attention, its fused qkv layer cut in three. Input and output B x H x W x D."""

    def __init__(self, dim: int, heads: int, table_rows: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = FastLinear(dim, dim), FastLinear(dim, dim), FastLinear(dim, dim)
        self.proj = FastLinear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(table_rows, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(table_rows, dim // heads))
        self.mode: Mode = "fused"

    def forward(self, x: Tensor) -> Tensor:
        out = self._exact(x) if self.mode == "exact" else self._fused(x)
        attended: Tensor = self.proj(out)
        return attended

    def _exact(self, x: Tensor) -> Tensor:
        b, h, w, dim = x.shape
        q, k, v = (
            layer(x).view(b, h * w, self.heads, -1).transpose(1, 2).reshape(b * self.heads, h * w, -1)
            for layer in (self.q, self.k, self.v)
        )
        weights = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        weights = add_decomposed_rel_pos(weights, q, self.rel_pos_h, self.rel_pos_w, (h, w), (h, w))
        out: Tensor = weights.softmax(dim=-1) @ v
        return out.view(b, self.heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(b, h, w, dim)

    def _fused(self, x: Tensor) -> Tensor:
        b, h, w, dim = x.shape
        qkv = (layer(x).view(b, h * w, self.heads, -1) for layer in (self.q, self.k, self.v))
        q, k, v = (one.transpose(1, 2) for one in qkv)
        table_h = get_rel_pos(h, h, self.rel_pos_h).to(q.dtype)  # h x h x head
        table_w = get_rel_pos(w, w, self.rel_pos_w).to(q.dtype)
        rows = max(1, min(h, MAX_BIAS_VALUES // (b * self.heads * w * h * w)))
        pieces = []
        for top in range(0, h, rows):
            part = q[:, :, top * w : (top + rows) * w]
            bias = _bias(part.unflatten(2, (-1, w)), table_h[top : top + rows], table_w)
            pieces.append(F.scaled_dot_product_attention(part, k, v, attn_mask=bias))
        out = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
        return out.transpose(1, 2).reshape(b, h, w, dim)


def _bias(q: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """What the relative positions add: q is B x heads x rows x W x head, the result
    B x heads x rows*W x H*W."""
    b, heads, rows, w, _ = q.shape
    h = table_h.shape[1]
    by_row = q @ table_h.transpose(1, 2)  # rows x W against H
    by_column = (q.transpose(2, 3) @ table_w.transpose(1, 2)).transpose(2, 3)
    return (by_row[..., :, None] + by_column[..., None, :]).view(b, heads, rows * w, h * w)


def split_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From one ``attn.qkv`` layer to three: rows 0..D are q, then k, then v."""
    ready: dict[str, Tensor] = {}
    for key, value in state.items():
        before, found, kind = key.partition(".attn.qkv.")
        if not found:
            ready[key] = value
            continue
        for part, rows in zip(_PARTS, value.chunk(3, dim=0), strict=True):
            ready[f"{before}.attn.{part}.{kind}"] = rows.contiguous()
    return ready


def join_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back, so that other programs read what we save."""
    ready: dict[str, Tensor] = {}
    for key, value in state.items():
        before, found, rest = key.partition(".attn.")
        part, _, kind = rest.partition(".")
        if not found or part not in _PARTS or not before.startswith("image_encoder."):
            ready[key] = value
        elif part == "q":
            parts = [state[f"{before}.attn.{p}.{kind}"] for p in _PARTS]
            ready[f"{before}.attn.qkv.{kind}"] = torch.cat(parts, dim=0)
    return ready
