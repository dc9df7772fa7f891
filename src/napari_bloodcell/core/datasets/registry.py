"""One door to all sets: by name, or by what the folder looks like."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from napari_bloodcell.core.datasets import (
    acevedo,
    bccd,
    bone_marrow,
    coco,
    labelled,
    lisc,
    raabin,
    voc,
    wbc_dg,
    yolo,
    zheng,
)
from napari_bloodcell.core.datasets.class_tree import (
    LDWBC,
    MATEK,
    MLL23,
    SYSU3H,
    load_folders,
    recognises_folders,
)
from napari_bloodcell.core.datasets.labelled import NoneListedError
from napari_bloodcell.core.datasets.layout import images_of, unwrap, visible_folders
from napari_bloodcell.core.datasets.own_classes import own_classes
from napari_bloodcell.core.datasets.records import Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy, normalise

_NAMES_NOTHING = frozenset({"cells", "crops", "data", "dataset", "images"})
_MOST_REASONS = 3  # of what was left out, in a message
NOT_A_SET = "no data set recognised in this folder"


class Load(Protocol):
    def __call__(self, root: Path, *, taxonomy: Taxonomy = ..., preset: Preset = ...) -> Dataset: ...


@dataclass(frozen=True)
class Loader:
    load: Load
    recognises: Callable[[Path], bool]


# In the order of asking: the most telling layouts first.
LOADERS: dict[str, Loader] = {
    "voc": Loader(voc.load, voc.recognises),
    "bccd": Loader(bccd.load, bccd.recognises),
    "labels": Loader(labelled.load, labelled.recognises),
    "coco": Loader(coco.load, coco.recognises),
    "yolo": Loader(yolo.load, yolo.recognises),
    "zheng": Loader(zheng.load, zheng.recognises),
    "lisc": Loader(lisc.load, lisc.recognises),
    "acevedo": Loader(acevedo.load, acevedo.recognises),
    "bone_marrow": Loader(bone_marrow.load, bone_marrow.recognises),
    "matek": Loader(MATEK.load, MATEK.recognises),
    "mll23": Loader(MLL23.load, MLL23.recognises),
    "raabin": Loader(raabin.load, raabin.recognises),
    "ldwbc": Loader(LDWBC.load, LDWBC.recognises),
    "sysu3h": Loader(SYSU3H.load, SYSU3H.recognises),
    "wbc_dg": Loader(wbc_dg.load, wbc_dg.recognises),
    "folders": Loader(load_folders, recognises_folders),
}


def load_dataset(
    root: Path, name: str | None = None, *, taxonomy: Taxonomy | None = None, preset: Preset = "standard"
) -> Dataset:
    """The cells of a folder: one set, or several side by side, each its own domain. Without a ``taxonomy``
    the classes are the usual ones and those the folder lists in a classes.csv."""
    root = Path(root).expanduser()
    if not root.is_dir():
        kind = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {kind}. Give the folder that holds the images.")
    # The folder's name may become a domain: "." and ".." have none, a link has the one it was given.
    root = root.resolve() if root.name == "" or ".." in root.parts else root.absolute()
    known = taxonomy or own_classes(unwrap(root)) or DEFAULT
    if name is not None:
        return _load_named(root, known_name(name), known, preset, by_name=True)
    found = _recognise(root, known)
    if found is not None:
        part = _load_found(found[1], found[0], known, preset)
        # An archive's inner folder may be called by what it holds; the lab is the folder that was given.
        says_nothing = part.root != root and normalise(part.root.name) in _NAMES_NOTHING
        return part.renamed(part.root.name, root.name) if says_nothing else part
    parts, skipped = _side_by_side(root, known, preset, listed=taxonomy is None)
    if not parts:
        raise DataError(f"No cells found in {root}. {_accepted()}")
    return merge(root, parts, skipped)


def known_name(name: str) -> str:
    """The registered name: ``Matek-19`` and ``matek`` are the same set."""
    key = normalise(name)
    for known in DATASETS:
        if key == known or key.startswith(f"{known}_"):
            return known
    raise DataError(f"Unknown data set {name!r}. Known: {', '.join(DATASETS)}.")


def _load_named(
    root: Path, name: str, taxonomy: Taxonomy, preset: Preset, *, by_name: bool = False
) -> Dataset:
    places = [place for place in unwrap(root) if _is_set(name, place, taxonomy)]
    skipped: list[Skipped] = []
    for place in places or ([] if name == "folders" else unwrap(root)):
        found = LOADERS[name].load(place, taxonomy=taxonomy, preset=preset)
        if found.cells or found.unlabelled:
            return replace(found, taxonomy=taxonomy)
        skipped += found.skipped
    raise DataError(_no_cells(root, name, skipped, by_name))


def _no_cells(root: Path, name: str, skipped: list[Skipped], by_name: bool) -> str:
    info = DATASETS[name]
    reasons: Counter[str] = Counter()
    for one in skipped:
        reasons[one.reason] += one.count
    left = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(_MOST_REASONS))
    all_left = f" Left out: {left}." if left else ""
    mend = (
        "Leave out the name to have the layout recognised."
        if by_name
        else "Mend what is named, or say by name what the folder is (`datasets check --dataset`)."
    )
    return f"No cells found in {root} ({info.title}). Looked for {info.layout}.{all_left} {mend}"


def _is_set(name: str, place: Path, taxonomy: Taxonomy) -> bool:
    return recognises_folders(place, taxonomy) if name == "folders" else LOADERS[name].recognises(place)


def _load_found(root: Path, name: str, taxonomy: Taxonomy, preset: Preset) -> Dataset:
    """What was recognised. A table of other pictures, as some archives have one, does not hide folders of
    classes beside it."""
    try:
        return _load_named(root, name, taxonomy, preset)
    except NoneListedError as error:
        if not any(recognises_folders(place, taxonomy) for place in unwrap(root)):
            raise
        found = _load_named(root, "folders", taxonomy, preset)
        table = str(error).partition(", e.g. ")[0]
        return replace(found, notes=(*found.notes, f"{table}: the folders of classes were read instead."))


def _recognise(root: Path, taxonomy: Taxonomy) -> tuple[str, Path] | None:
    places = unwrap(root)
    for place in places:
        for name, loader in LOADERS.items():
            if name != "folders" and loader.recognises(place):
                return name, place
    return next((("folders", place) for place in places if recognises_folders(place, taxonomy)), None)


def _side_by_side(
    root: Path, around: Taxonomy, preset: Preset, *, listed: bool
) -> tuple[list[Dataset], list[Skipped]]:
    """``listed``: a folder may list classes of its own beside those of the folder around it."""
    parts: list[Dataset] = []
    skipped: list[Skipped] = []
    for folder in visible_folders(root):
        own = own_classes(unwrap(folder)) if listed else None
        taxonomy = around if own is None else Taxonomy.joined([around, own])
        found = _recognise(folder, taxonomy)
        if found is None:
            skipped.append(Skipped(folder, NOT_A_SET, max(1, len(images_of(folder)[0]))))
            continue
        try:
            part = _load_found(found[1], found[0], taxonomy, preset)
        except DataError as error:  # one broken set does not hide the others
            skipped.append(Skipped(folder, f"a set that cannot be read: {error}"))
            continue
        if found[0] in ("coco", "folders", "labels", "voc", "yolo"):
            part = part.renamed(part.domains[0], folder.name)  # a wrapper has the name people gave it
        parts.append(part)
    return parts, skipped


def merge(root: Path, parts: list[Dataset], skipped: list[Skipped]) -> Dataset:
    """Several sets as one. Two copies of a set keep apart, each under its folder's name."""
    ready: list[Dataset] = []
    taken: set[str] = set()
    for part in parts:
        own = part
        for domain in part.domains:
            if domain in taken:
                own = own.renamed(domain, f"{domain} ({part.root.relative_to(root)})")
        taken |= set(own.domains)
        ready.append(own)
    return Dataset(
        " + ".join(dict.fromkeys(part.name for part in ready)),
        root,
        tuple(cell for part in ready for cell in part.cells),
        (*skipped, *(s for part in ready for s in part.skipped)),
        tuple(dict.fromkeys(note for part in ready for note in part.notes)),
        tuple(cell for part in ready for cell in part.unlabelled),
        Taxonomy.joined([part.taxonomy for part in ready]),
    )


def _accepted() -> str:
    sets = "; ".join(f"{info.name}: {info.layout}" for info in DATASETS.values())
    return f"Accepted are one of these layouts, or several side by side: {sets}."
