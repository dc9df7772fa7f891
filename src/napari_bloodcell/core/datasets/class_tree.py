"""Sets with one folder a class. They differ in their codes and in what gives them away."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_bloodcell.core.datasets.layout import (
    holds_images,
    images_of,
    images_of_class,
    split_folders,
    visible_folders,
)
from napari_bloodcell.core.datasets.naming import Codes, Namer
from napari_bloodcell.core.datasets.records import CellImage, Dataset, Preset, Skipped
from napari_bloodcell.core.datasets.sources import DATASETS
from napari_bloodcell.core.taxonomy import DATASET_CODES, DEFAULT, Taxonomy, normalise
from napari_bloodcell.core.words import how_many

NO_CLASS_FOLDER = "outside any class folder"


def read_classes(root: Path, namer: Namer, domain: str, um_per_px: float | None = None) -> Dataset:
    """Every ``<class>/`` folder of one domain, with the folders below it."""

    def other_than(class_name: str | None) -> Callable[[str], bool]:
        return lambda name: namer(name).class_name not in (None, class_name)

    cells: list[CellImage] = []
    deeper: list[Path] = []
    loose, _ = images_of(root)
    skipped = [Skipped(path, NO_CLASS_FOLDER) for path in loose]
    for folder in visible_folders(root):
        named = namer(folder.name)
        images, left = images_of_class(folder, other_than(named.class_name))
        if named.class_name is None:
            skipped.append(Skipped(folder, named.reason, max(1, len(images))))
            continue
        skipped += left
        deeper += [path for path in images if path.parent != folder]
        cells += [CellImage(path, named.class_name, domain, um_per_px=um_per_px) for path in images]
    notes = (_deeper_note(deeper, root),) if deeper else ()
    return Dataset(domain, root, tuple(cells), tuple(skipped), notes)


def _deeper_note(deeper: list[Path], root: Path) -> str:
    """Nobody should wonder where cells come from that lie in a folder such as ``old``."""
    place = deeper[0].parent.relative_to(root).as_posix()
    return f"Read too: {how_many(len(deeper), 'picture')} in folders below class folders, e.g. in {place}/."


def notes_of(parts: Iterable[Dataset]) -> tuple[str, ...]:
    return tuple(note for part in parts for note in part.notes)


@dataclass(frozen=True)
class ClassTree:
    """One known set of ``<class>/`` folders.

    ``signs``: folder names found in no other set; ``least_signs`` of them give the set away. A set whose
    folders have everyday names is recognised by the name of its own folder only. ``foreign``: names of
    another set; one of them, and it is not this set.
    """

    name: str
    codes: Codes = field(default_factory=dict)
    reproduction: Codes = field(default_factory=dict)  # codes of the published systems, over ``codes``
    signs: frozenset[str] = frozenset()
    least_signs: int = 1
    foreign: frozenset[str] = frozenset()

    def recognises(self, root: Path) -> bool:
        names = [normalise(folder.name) for folder in visible_folders(root)]
        if self.foreign.intersection(names):
            return False
        signs = sum(name in self.signs for name in names)
        known = {normalise(code) for code in self.codes}
        if (
            self.signs
            and signs >= self.least_signs
            and 2 * sum(name in known for name in names) >= len(names)
        ):
            return True
        # Everyday names: only the folder's own name tells, and there must be something of ours inside.
        namer = Namer(codes=self.codes)
        return self.name in normalise(root.name) and any(namer(name).class_name for name in names)

    def load(self, root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:
        info = DATASETS[self.name]
        codes: Mapping[str, str | None] = self.codes
        if preset == "reproduction":
            codes = {**self.codes, **self.reproduction}
        found = read_classes(root, Namer(taxonomy, codes), info.domain, info.um_per_px)
        return Dataset(self.name, root, found.cells, found.skipped, (*info.notes, *found.notes))


MATEK = ClassTree(
    "matek",
    DATASET_CODES["matek"],
    reproduction={"MOB": "monocyte"},
    # BAS, EOS and MON could be any lab's short names, and a wrong guess would bring a wrong pixel size.
    signs=frozenset({"ebo", "ksc", "lya", "lyt", "mmz", "mob", "myb", "myo", "ngb", "ngs", "pmb", "pmo"}),
    least_signs=2,
    foreign=frozenset({"abe", "bla", "fgc", "hac", "lyi", "nif", "peb", "plm"}),
)
MLL23 = ClassTree(
    "mll23",
    DATASET_CODES["mll23"],
    signs=frozenset(
        {
            "hairy_cell",
            "lymphocyte_large_granular",
            "lymphocyte_neoplastic",
            "lymphocyte_reactive",
            "neutrophil_band",
            "normoblast",
            "promyelocyte_atypical",
        }
    ),
    least_signs=2,
)
LDWBC = ClassTree("ldwbc", DATASET_CODES["ldwbc"])
# The published systems read SYSU3H's two coarse labels as the commonest fine class of each.
SYSU3H = ClassTree(
    "sysu3h",
    DATASET_CODES["sysu3h"],
    reproduction={"neutrophil": "neutrophil_segmented", "lymphocyte": "lymphocyte_typical"},
)


def has_class_folders(root: Path, taxonomy: Taxonomy = DEFAULT) -> bool:
    """Whether a folder of no known set holds ``<class>/`` folders with images."""
    namer = Namer(taxonomy)
    return any(namer(folder.name).class_name and holds_images(folder) for folder in visible_folders(root))


def _split_folders(root: Path, taxonomy: Taxonomy) -> list[Path]:
    """``train`` and ``test`` folders of class folders (also ``TEST_SIMPLE``, ``train1``, ``Test-A``), where
    there is nothing else."""
    inside = visible_folders(root)
    splits = bool(inside) and split_folders(root) == inside
    return inside if splits and any(has_class_folders(folder, taxonomy) for folder in inside) else []


def recognises_folders(root: Path, taxonomy: Taxonomy = DEFAULT) -> bool:
    return has_class_folders(root, taxonomy) or bool(_split_folders(root, taxonomy))


def load_folders(root: Path, *, taxonomy: Taxonomy = DEFAULT, preset: Preset = "standard") -> Dataset:  # noqa: ARG001
    """Class folders of any lab; the domain is the folder's name. No preset changes a lab's own names."""
    splits = _split_folders(root, taxonomy)
    parts = [read_classes(folder, Namer(taxonomy), root.name) for folder in splits or [root]]
    names = [folder.name for folder in splits]
    return Dataset(
        "folders",
        root,
        tuple(cell for part in parts for cell in part.cells),
        tuple(s for part in parts for s in part.skipped),
        (*((_splits_note(names),) if splits else ()), *notes_of(parts)),
    )


def _splits_note(names: list[str]) -> str:
    if len(names) == 1:
        return f"The folder {names[0]} is taken for a part of one laboratory's cells."
    return (
        f"The folders {', '.join(names)} are taken for parts of one laboratory's cells. "
        "Rename them where they are of several."
    )
