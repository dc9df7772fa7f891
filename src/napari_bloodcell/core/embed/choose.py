"""An embedder by name or by folder."""

from pathlib import Path

from napari_bloodcell.core.artifact import read_arrays
from napari_bloodcell.core.embed import EMBEDDERS, Embedder
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.folders import cache_folder

FILE = "embedder.safetensors"
RESTAINED = "embedder-restained.json"
MADE_BY = {
    "sam+bcsam": "train bcsam",
    "sam+dorl": "train dorl",
    "sam+aligned": "embed align",
    "sada": "train sada",
    "restained": "classify adapt",
}

FROM_FILES = ("dinov2", "dinobloom")  # written "dinobloom:FILE"


def kept_embedders_folder() -> Path:
    """Where embedders lie that a person trained and kept; each in a folder of its own."""
    return cache_folder() / "embedders"


def kept_embedders() -> list[Path]:
    return sorted(path.parent for path in kept_embedders_folder().glob(f"*/{FILE}"))


def find_embedder(name_or_folder: str | Path) -> Embedder:
    """A kind that needs no training of its own, or the folder of a trained one (or of a bundle)."""
    name, folder = str(name_or_folder), Path(name_or_folder)
    if (folder / FILE).is_file():
        header, _ = read_arrays(folder / FILE, "embedder")
        loaded: Embedder = EMBEDDERS[str(header.config.get("kind"))].load(folder)
        return loaded
    if (folder / RESTAINED).is_file():
        restaining: Embedder = EMBEDDERS["restained"].load(folder)
        return restaining
    family, colon, file = name.partition(":")
    if colon and family in FROM_FILES:
        from napari_bloodcell.core.embed.dino import DinoEmbedder

        foreign: Embedder = DinoEmbedder.read(Path(file), family)  # type: ignore[arg-type]
        return foreign
    if name in MADE_BY:
        raise ArtifactError(
            f"{name!r} is made from cells first: napari-bloodcell {MADE_BY[name]} DATA --out FOLDER. Then "
            "give that folder."
        )
    if name in EMBEDDERS:
        made: Embedder = EMBEDDERS[name]()
        return made
    ready = ", ".join(kind for kind in EMBEDDERS if kind not in (*MADE_BY, "dino"))
    raise ArtifactError(
        f"There is no embedder {name!r}. Give {ready}, dinov2:FILE, "
        f"dinobloom:FILE, or a folder that holds {FILE}."
    )
