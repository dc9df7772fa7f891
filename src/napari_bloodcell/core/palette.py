"""One colour for each class, the same in the viewer, in pictures and in reports.

Okabe and Ito's palette first (told apart in all common kinds of colour blindness); fine classes are shades
of their parent's colour.
"""

import hashlib

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


def colour_of(class_name: str) -> str:
    """A lab's own class gets a colour from its name, the same on every machine."""
    if class_name in COLOURS:
        return COLOURS[class_name]
    digest = hashlib.sha256(class_name.encode()).digest()
    red, green, blue = (64 + value // 2 for value in digest[:3])
    return f"#{red:02X}{green:02X}{blue:02X}"
