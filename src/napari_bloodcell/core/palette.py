"""One colour for each class, the same in the viewer, in pictures and in reports.

Both palettes are told apart in all common kinds of colour blindness; fine classes are shades of their
parent's colour. ``BLOODCELL_PALETTE`` (the Preferences set it) says which is taken.
"""

import hashlib
import os
from collections.abc import Mapping

from napari_bloodcell.core.records import UNIDENTIFIED

COLOURS = {
    "neutrophil": "#0072B2",
    "neutrophil_segmented": "#0072B2",
    "neutrophil_banded": "#56B4E9",
    "lymphocyte": "#009E73",
    "lymphocyte_typical": "#009E73",
    "lymphocyte_atypical": "#66C7AB",
    "monocyte": "#F0E442",
    "eosinophil": "#D55E00",
    "basophil": "#CC79A7",
    "erythroblast": "#A6761D",
    "myeloblast": "#4B0082",
    "promyelocyte": "#7B4FB0",
    "myelocyte": "#A487CC",
    "metamyelocyte": "#CDBBE6",
    "smudge_cell": "#999999",
    UNIDENTIFIED: "#5C5C5C",
}
# Paul Tol's bright scheme: softer, for projectors and print.
SOFT = {
    "neutrophil": "#4477AA",
    "neutrophil_segmented": "#4477AA",
    "neutrophil_banded": "#99BBDD",
    "lymphocyte": "#228833",
    "lymphocyte_typical": "#228833",
    "lymphocyte_atypical": "#77BB88",
    "monocyte": "#CCBB44",
    "eosinophil": "#EE6677",
    "basophil": "#AA3377",
    "erythroblast": "#66CCEE",
    "smudge_cell": "#999999",
    UNIDENTIFIED: "#404040",
}
PALETTES: Mapping[str, Mapping[str, str]] = {"clear": COLOURS, "soft": COLOURS | SOFT}


def colours() -> Mapping[str, str]:
    """The palette that is set; the first where nothing, or nothing known, is."""
    return PALETTES.get(os.environ.get("BLOODCELL_PALETTE", ""), COLOURS)


def colour_of(class_name: str) -> str:
    """A lab's own class gets a colour from its name, the same on every machine."""
    known = colours()
    if class_name in known:
        return known[class_name]
    digest = hashlib.sha256(class_name.encode()).digest()
    red, green, blue = (64 + value // 2 for value in digest[:3])
    return f"#{red:02X}{green:02X}{blue:02X}"
