"""An adapter as a model for ``analyse``: its segmenter with embedder and classifier of another model."""

import json
import tempfile
from pathlib import Path

from napari_bloodcell.core.bundle import load_bundle, pack_bundle, save_bundle
from napari_bloodcell.core.sam.adapter import AdapterInfo, read_adapter_info
from napari_bloodcell.core.segment.choose import find_segmenter

BASE = "nano"


def pack_adapter(adapter: Path, sam: str | Path, file: Path, *, base: str | Path = BASE) -> Path:
    """One file (.bloodcell). ``sam``: what the adapter was trained on. Outlines change and with them what is
    seen of each cell, but neither vectors nor classes are learnt anew: the card says so."""
    info, start = read_adapter_info(adapter), load_bundle(base)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / file.stem
        save_bundle(
            folder,
            title=f"{start.title}; outlines taught on {info.data.get('cells', 'own')} cells",
            segmenter=find_segmenter(sam, adapter),
            embedder=start.embedder,
            classifier=start.classifier,
            scores=dict(start.scores),
            card=_card(info, start.card),
            stains=start.stains,
            provenance=start.provenance | {"adapter": info.sha256, "classes_from": start.hash},
        )
        return pack_bundle(folder, file)


def _card(info: AdapterInfo, base: str) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in info.scores.items())
    return "\n".join(
        [
            "# Outlines taught by an adapter",
            "",
            "Research use only. Not for diagnosis.",
            "",
            f"Trained on {info.data.get('cells', '?')} cells of {', '.join(info.data.get('sources', ()))}; "
            f"scores on {info.data.get('held_out', '?')} held-out cells: {scores or 'none'}.",
            f"Recipe: {json.dumps(dict(info.data.get('recipe', {})))}.",
            "",
            "Classes come from the model below, which was trained on cells with other outlines: check them "
            "on your own cells.",
            "",
            base.rstrip(),
            "",
        ]
    )
