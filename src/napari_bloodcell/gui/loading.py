"""Torch loaded in a task, where a model needs it."""

import ctypes
import importlib.util
import json
import sys
from pathlib import Path

from napari_bloodcell.core.progress import Progress

WITHOUT_TORCH = {"stain-watershed", "measurements", "details"}  # kinds of parts of a bundle


def load_torch(progress: Progress) -> None:
    """Have torch loaded, in a task. Python's import holds the interpreter while the system opens the large
    libraries, most of a second, and the window would stand still: they are opened without it first."""
    progress("Loading", 0, 0)
    found = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if found is not None and found.origin and sys.platform == "linux":
        library = Path(found.origin).parent / "lib" / "libtorch_python.so"
        opener = ctypes.CDLL(None).dlopen  # a foreign call lets go of the interpreter
        opener.restype = ctypes.c_void_p
        # Symbols stay local: other libraries of the window, LLVM among them, must not find them.
        opener(str(library).encode(), ctypes.RTLD_LOCAL | 2)  # 2: resolve now, RTLD_NOW
    import torch  # noqa: F401


def load_for(bundle: str, progress: Progress) -> None:
    """Have torch loaded, where a model needs it."""
    from napari_bloodcell.core.bundle import find_bundle
    from napari_bloodcell.core.bundle.members import MANIFEST

    place = find_bundle(bundle)
    body = json.loads((place / MANIFEST).read_text()) if place.is_dir() else {}
    if not {body.get("segmenter"), body.get("embedder")} <= WITHOUT_TORCH:
        load_torch(progress)
