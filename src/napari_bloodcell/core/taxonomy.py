"""Which classes there are, which belong to which, and what each data set calls them.

A file may be labelled at either level: ``neutrophil`` is a parent of bands and segmented ones, not an error.
A lab may bring its own list; its classes keep their own names and name their parents.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from napari_bloodcell.core.errors import TaxonomyError

COARSE = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")

# Of a hundred white cells of a healthy adult; the rest of the kinds are rare.
NORMAL_BLOOD = {
    "neutrophil_segmented": 0.57,
    "neutrophil_banded": 0.03,
    "lymphocyte_typical": 0.295,
    "monocyte": 0.065,
    "eosinophil": 0.03,
    "basophil": 0.01,
}

# Fine class -> coarse parent. A class that is its own top level stands alone in a coarse table too.
FINE = {
    "basophil": "basophil",
    "eosinophil": "eosinophil",
    "erythroblast": "erythroblast",
    "myeloblast": "myeloblast",
    "promyelocyte": "promyelocyte",
    "myelocyte": "myelocyte",
    "metamyelocyte": "metamyelocyte",
    "neutrophil_banded": "neutrophil",
    "neutrophil_segmented": "neutrophil",
    "monocyte": "monocyte",
    "lymphocyte_typical": "lymphocyte",
    "lymphocyte_atypical": "lymphocyte",
    "smudge_cell": "smudge_cell",
}

# Counted and shown, but outside the hundred per cent: not intact white cells.
NOT_IN_DENOMINATOR = frozenset({"smudge_cell", "artefact", "platelet"})
# Reported as so many per 100 white cells.
PER_HUNDRED = frozenset({"erythroblast"})

COMMON_ALIASES = {
    "neut": "neutrophil",
    "granulocyte_neutrophil": "neutrophil",
    "band": "neutrophil_banded",
    "band_neutrophil": "neutrophil_banded",
    "neutrophil_band": "neutrophil_banded",
    "stab": "neutrophil_banded",
    "seg": "neutrophil_segmented",
    "segmented": "neutrophil_segmented",
    "segmented_neutrophil": "neutrophil_segmented",
    "lymph": "lymphocyte",
    "lymp": "lymphocyte",
    "typical_lymphocyte": "lymphocyte_typical",
    "atypical_lymphocyte": "lymphocyte_atypical",
    "reactive_lymphocyte": "lymphocyte_atypical",
    "lymphocyte_reactive": "lymphocyte_atypical",
    "mono": "monocyte",
    "eos": "eosinophil",
    "eosi": "eosinophil",
    "baso": "basophil",
    "normoblast": "erythroblast",
    "nrbc": "erythroblast",
    "blast": "myeloblast",
    "smudge": "smudge_cell",
    "artifact": "artefact",
}

# As laboratories name them in German and French, where a word has one meaning.
OTHER_LANGUAGES = {
    "neutrophil": (
        *("pmn", "neutrophile", "neutrophiler", "neutrophile_granulozyten", "neutrophiler_granulozyt"),
        *("polynucléaire_neutrophile", "polynucléaires_neutrophiles"),
    ),
    "neutrophil_segmented": (
        *("segmentkernige", "segmentkerniger", "segmentkernige_neutrophile", "neutrophile_segmentkernige"),
        *("segmentkernige_granulozyten", "segmentkerniger_granulozyt"),
    ),
    "neutrophil_banded": (
        *("stabkernige", "stabkerniger", "stabkernige_neutrophile", "neutrophile_stabkernige"),
        *("stabkernige_granulozyten", "stabkerniger_granulozyt"),
    ),
    "eosinophil": (
        *("eosinophile", "eosinophiler", "eosinophile_granulozyten", "eosinophiler_granulozyt"),
        *("éosinophile", "polynucléaire_éosinophile", "polynucléaires_éosinophiles"),
    ),
    "basophil": (
        *("basophile", "basophiler", "basophile_granulozyten", "basophiler_granulozyt"),
        *("polynucléaire_basophile", "polynucléaires_basophiles"),
    ),
    "lymphocyte": ("lymphozyt", "lymphozyten"),
    "monocyte": ("monozyt", "monozyten"),
    "erythroblast": ("erythroblasten", "normoblasten", "érythroblaste"),
    "myeloblast": ("myeloblasten", "blasten", "blaste", "myéloblaste"),
    "promyelocyte": ("promyelozyt", "promyelozyten", "promyélocyte"),
    "myelocyte": ("myelozyt", "myelozyten", "myélocyte"),
    "metamyelocyte": ("metamyelozyt", "metamyelozyten", "métamyélocyte"),
    "smudge_cell": ("kernschatten", "gumprechtsche_kernschatten"),
}
COMMON_ALIASES |= {word: meant for meant, words in OTHER_LANGUAGES.items() for word in words}

# Where a person lists classes that are not among the usual ones.
OWN_CLASSES = (
    "in napari: add it in Classify; elsewhere a table with the columns class and parent: classes.csv in a "
    "folder of cells, --classes for tables"
)

# Codes of the public sets. None: dropped on purpose, and counted as such.
DATASET_CODES: dict[str, dict[str, str | None]] = {
    "acevedo": {
        "BA": "basophil",
        "EO": "eosinophil",
        "MO": "monocyte",
        "ERB": "erythroblast",
        "PMY": "promyelocyte",
        "MY": "myelocyte",
        "MMY": "metamyelocyte",
        "BNE": "neutrophil_banded",
        "SNE": "neutrophil_segmented",
        "LY": "lymphocyte_typical",
        "IG": None,
        "NEUTROPHIL": None,
        "PLATELET": None,
    },
    "matek": {
        "BAS": "basophil",
        "EOS": "eosinophil",
        "MON": "monocyte",
        "MOB": None,
        "EBO": "erythroblast",
        "MYO": "myeloblast",
        "PMO": "promyelocyte",
        "PMB": None,
        "MYB": "myelocyte",
        "MMZ": "metamyelocyte",
        "NGB": "neutrophil_banded",
        "NGS": "neutrophil_segmented",
        "LYT": "lymphocyte_typical",
        "LYA": "lymphocyte_atypical",
        "KSC": "smudge_cell",
    },
    # Bone marrow. What its paper calls blasts are those of any line; proerythroblasts, immature lymphocytes
    # and abnormal eosinophils are not what the classes of blood mean.
    "bone_marrow": {
        "BAS": "basophil",
        "EOS": "eosinophil",
        "MON": "monocyte",
        "EBO": "erythroblast",
        "BLA": "myeloblast",
        "PMO": "promyelocyte",
        "MYB": "myelocyte",
        "MMZ": "metamyelocyte",
        "NGB": "neutrophil_banded",
        "NGS": "neutrophil_segmented",
        "LYT": "lymphocyte_typical",
        "KSC": "smudge_cell",
        "ABE": None,
        "ART": None,
        "FGC": None,
        "HAC": None,
        "LYI": None,
        "NIF": None,
        "OTH": None,
        "PEB": None,
        "PLM": None,
    },
    "mll23": {
        "basophil": "basophil",
        "eosinophil": "eosinophil",
        "monocyte": "monocyte",
        "normoblast": "erythroblast",
        "myeloblast": "myeloblast",
        "promyelocyte": "promyelocyte",
        "myelocyte": "myelocyte",
        "metamyelocyte": "metamyelocyte",
        "neutrophil_band": "neutrophil_banded",
        "neutrophil_segmented": "neutrophil_segmented",
        "lymphocyte": "lymphocyte_typical",
        "lymphocyte_reactive": "lymphocyte_atypical",
        "smudge_cell": "smudge_cell",
        "hairy_cell": None,
        "lymphocyte_large_granular": None,
        "lymphocyte_neoplastic": None,
        "plasma_cell": None,
        "promyelocyte_atypical": None,
    },
    "zheng": {
        "1": "neutrophil",
        "2": "lymphocyte",
        "3": "monocyte",
        "4": "eosinophil",
        "5": "basophil",
    },
    "lisc": {
        "baso": "basophil",
        "eosi": "eosinophil",
        "lymp": "lymphocyte",
        "mono": "monocyte",
        "neut": "neutrophil",
        "mixt": None,
    },
    "sysu3h": {name: name for name in COARSE},
    "ldwbc": {name: name for name in COARSE},
}


@dataclass(frozen=True)
class Taxonomy:
    """A list of classes with their parents. The default knows the 13 fine and 5 coarse ones."""

    parents: Mapping[str, str] = field(default_factory=lambda: dict(FINE))
    aliases: Mapping[str, str] = field(default_factory=lambda: dict(COMMON_ALIASES))

    @classmethod
    def of_lab(cls, classes: Mapping[str, str | None] | Iterable[str]) -> "Taxonomy":
        """A lab's own list: names, or names with their parents (``{"hairy cell": "lymphocyte"}``)."""
        pairs = dict(classes) if isinstance(classes, Mapping) else dict.fromkeys(classes)
        if not pairs:
            raise TaxonomyError("A class list needs at least one class; this one is empty.")
        parents = dict(FINE)
        for name, parent in pairs.items():
            if not normalise(name):
                raise TaxonomyError(f"{name!r} is not a class name: it needs at least one letter or digit.")
            own = normalise(name)
            default = FINE.get(own, own)
            parents[own] = normalise(parent) if parent else default
        return cls(parents=parents)

    @classmethod
    def joined(cls, parts: Iterable["Taxonomy"]) -> "Taxonomy":
        """Every class of several lists; a class must have the same parent in all of them."""
        own: dict[str, str] = {}
        for name, parent in (pair for part in parts for pair in part.parents.items()):
            if FINE.get(name) != parent and own.setdefault(name, parent) != parent:
                raise TaxonomyError(
                    f"{name!r} belongs to {own[name]} in one list of classes and to {parent} in another. "
                    "Give it one parent."
                )
        return cls(parents=FINE | own)

    @property
    def names(self) -> tuple[str, ...]:
        """Every valid class: fine ones first, then parents that are not fine classes themselves."""
        tops = [p for p in dict.fromkeys([*COARSE, *self.parents.values()]) if p not in self.parents]
        return (*self.parents, *tops)

    def resolve(self, name: str) -> str:
        """The class a written name means: case, blanks, plurals and usual short forms are understood."""
        key = normalise(name)
        valid = set(self.names)
        singular = key.removesuffix("s")
        for candidate in (key, self.aliases.get(key, ""), singular, self.aliases.get(singular, "")):
            if candidate in valid or candidate in NOT_IN_DENOMINATOR:
                return candidate
        near = self.nearest(name)
        meant = f" Did you mean {near!r}?" if near else ""
        raise TaxonomyError(
            f"Unknown class {name!r}.{meant} Known: {', '.join(self.names)}. "
            f"Correct the name, or list it as a class of your own ({OWN_CLASSES})."
        )

    def nearest(self, name: str, also: Iterable[str] = ()) -> str | None:
        """The known name most like a mistyped one; None where none is near. ``also``: a set's own codes."""
        known = [*self.names, *self.aliases, *also]
        found = difflib.get_close_matches(normalise(name), known, n=1, cutoff=0.7)
        return self.aliases.get(found[0], found[0]) if found else None

    def coarse(self, name: str) -> str:
        """The top-level class of a class (itself where it has no parent)."""
        return self.parents.get(name, name)


def normalise(name: str) -> str:
    """``"Segmented Neutrophil "`` -> ``"segmented_neutrophil"``. Letters of all languages stay."""
    composed = unicodedata.normalize("NFC", name.strip().lower())
    return re.sub(r"[\W_]+", "_", composed).strip("_")


def code_of(dataset: str, code: str) -> str | None:
    """The class a data set's own code stands for; None where the set's code is dropped on purpose."""
    codes = {k.casefold(): v for k, v in DATASET_CODES[dataset].items()}
    if code.casefold() not in codes:
        raise TaxonomyError(
            f"{code!r} is not a class of {dataset}. Its codes: {', '.join(DATASET_CODES[dataset])}."
        )
    return codes[code.casefold()]


DEFAULT = Taxonomy()
