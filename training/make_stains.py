"""The stain profiles that ship: the laboratories of the synthetic smears, measured on five fields each.

``python training/make_stains.py`` writes ``src/napari_bloodcell/core/stain/labs``.
"""

import sys
import typing
from pathlib import Path

from napari_bloodcell.core.config import SmearConfig
from napari_bloodcell.core.config.smear import SmearLook
from napari_bloodcell.core.stain.profile import average, profiles_of
from napari_bloodcell.core.synthetic import make_smear

LABS = Path(__file__).resolve().parent.parent / "src" / "napari_bloodcell" / "core" / "stain" / "labs"
FIELDS = 5


def main() -> int:
    LABS.mkdir(parents=True, exist_ok=True)
    for look in typing.get_args(SmearLook):
        if look == "random":
            continue
        fields = [
            make_smear(SmearConfig(look=look, seed=seed, white_cells=6)).image.pixels
            for seed in range(100, 100 + FIELDS)
        ]
        stain, ground = look.rsplit("_", 1)
        name = f"{stain.replace('_', '-').title()} on {ground} (synthetic)"
        average(profiles_of(fields), name=name).save(LABS / f"{look}.json")
        print(LABS / f"{look}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
