"""The parts of segment-anything's networks, as its authors wrote them.

They are loaded without the rest of the package: that brings torchvision and with it torch's compiler, which
take longer to load than torch itself, for helpers that the networks do not use.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
    from segment_anything.modeling.image_encoder import add_decomposed_rel_pos, get_rel_pos
    from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
else:

    def _load() -> str:
        """Under a name of ours: other plugins may want the whole package."""
        package = find_spec("segment_anything")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("No module named 'segment_anything'", name="segment_anything")
        folder = Path(package.origin).parent / "modeling"
        name = f"{__package__}._original"
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        module = module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return name

    _name = _load()
    _encoder, _decoder, _prompts, _transformer = (
        sys.modules[f"{_name}.{part}"]
        for part in ("image_encoder", "mask_decoder", "prompt_encoder", "transformer")
    )
    ImageEncoderViT, MaskDecoder = _encoder.ImageEncoderViT, _decoder.MaskDecoder
    PromptEncoder, TwoWayTransformer = _prompts.PromptEncoder, _transformer.TwoWayTransformer
    add_decomposed_rel_pos, get_rel_pos = _encoder.add_decomposed_rel_pos, _encoder.get_rel_pos
    Attention, TwoWayAttentionBlock = _transformer.Attention, _transformer.TwoWayAttentionBlock

__all__ = [
    "Attention",
    "ImageEncoderViT",
    "MaskDecoder",
    "PromptEncoder",
    "TwoWayAttentionBlock",
    "TwoWayTransformer",
    "add_decomposed_rel_pos",
    "get_rel_pos",
]
