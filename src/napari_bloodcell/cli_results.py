"""``results``: what an output folder of ``analyse`` holds, also while it is still being written."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from napari_bloodcell.core.config import CountConfig

results_app = App(name="results", help="Results of many images: counts, slide by slide.")


@results_app.command
def summary(
    out: Path,
    /,
    *,
    slide: str = "",
    least_probability: float = 0.0,
    pool: bool = False,
    config: Annotated[CountConfig, Parameter(name="*")] = CountConfig(),
) -> int:
    """The differential of each slide, and of all together. Reads what is finished so far.

    Parameters
    ----------
    out: Path
        Folder that was --out of an analysis.
    slide: str
        Only slides whose name holds this text.
    least_probability: float
        Leave out cells whose class is less probable than this.
    pool: bool
        Print only all slides together.
    """
    from napari_bloodcell.core.ledger import read_ledger
    from napari_bloodcell.core.report import to_text
    from napari_bloodcell.core.results import pooled, summarise

    slides = summarise(out, config, where=slide, least_probability=least_probability)
    for one in () if pool else slides:
        print(f"{one.name}: {one.images} image{'s' * (one.images != 1)}")
        print(to_text(one.differential))
        print()
    print(f"All slides: {len(slides)}, images: {sum(s.images for s in slides)}")
    print(to_text(pooled(slides, config)))
    last = {line["image"]: line for line in read_ledger(out)}
    for line in last.values():
        if line["state"] == "failed":
            print(f"failed: {line['reason']}")
    return 0
