"""Image embeddings on disk, so that a picture opened again is ready at once. The longest unused go."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_of, read_arrays, write_arrays
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.folders import cache_folder

KIND = "embedding"
MAX_BYTES = 2 * 2**30


class EmbeddingCache:
    """Files named by the hash of what made them: image, model, frame."""

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "embeddings"
        self.max_bytes = max_bytes

    def get(self, key: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """What was put under this key, or None. A broken file is dropped: it can be made again."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            header, arrays = read_arrays(path, KIND)
        except ArtifactError:
            path.unlink(missing_ok=True)
            return None
        if dict(header.config) != dict(key):
            return None
        os.utime(path)  # used now
        return arrays["embedding"]

    def put(self, key: Mapping[str, Any], embedding: NDArray[np.float32]) -> None:
        if embedding.nbytes > self.max_bytes:
            return
        write_arrays(self._path(key), KIND, {"embedding": embedding}, config=dict(key))
        files = sorted(
            self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns, reverse=True
        )
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self.max_bytes:
                path.unlink(missing_ok=True)

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{hash_of(dict(key))}.safetensors"
