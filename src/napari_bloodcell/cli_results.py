"""``results``: what an output folder of ``analyse`` holds, also while it is still being written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from napari_bloodcell.cli_defaults import asked, said
from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.cli_report import OwnClasses
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.config.report import ExportConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.words import how_many, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_bloodcell.core.report.provenance import Made

    AskedCount = CountConfig
else:
    AskedCount = asked(CountConfig)

results_app = App(
    name="results",
    help="Results of many images: counts, slide by slide; taking some out; cells for QuPath or COCO.",
)


@results_app.command
def summary(  # noqa: PLR0913 (a flag each)
    out: Path,
    /,
    *,
    slide: str = "",
    least_probability: float = 0.0,
    pool: bool = False,
    by: Literal["slide", "patient"] = "slide",
    patients: Path | None = None,
    config: Annotated[AskedCount, Parameter(name="*")] = AskedCount(),
) -> int:
    """The differential of each slide or patient, and of all together. Reads what is finished so far.

    It counts as the analyses did, by the settings they were run with; a flag goes first.

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
    by: Literal["slide", "patient"]
        Slides of one patient together, and how far they differ.
    patients: Path
        Whose the slides are (CSV with slide and patient), where the list of images did not say.
    """
    from napari_bloodcell.core.report import to_text
    from napari_bloodcell.core.report.patients import NOBODY, to_text_of, without_patient
    from napari_bloodcell.core.report.provenance import count_settings, made_in
    from napari_bloodcell.core.results import by_patient, each_of, pooled, summarise, with_patients

    made = list(made_in(out, slide))
    count, told = count_settings(made, said(config))
    slides = summarise(out, count, where=slide, least_probability=least_probability)
    slides = with_patients(slides, patients)
    people = by_patient(slides, count) if by == "patient" else []
    if by == "patient" and not people:
        raise DataError(NOBODY)
    if by == "slide":
        texts = [f"{s.name}: {how_many(s.images, 'image')}\n{to_text(s.differential)}" for s in slides]
    else:
        texts = [to_text_of(one) for one in people]
        told = [*told, *without_patient(each_of(slides))]
    for text in () if pool else texts:
        print(f"{text}\n")
    print(f"All slides: {len(slides)}, images: {sum(s.images for s in slides)}")
    print(to_text(pooled(slides, count)))
    _tell(out, made, told)
    return 0


def _tell(out: Path, made: "Sequence[Made]", told: "Sequence[str]") -> None:
    """What a person should know of the images beside the count."""
    from napari_bloodcell.core.ledger import read_ledger
    from napari_bloodcell.core.report.provenance import differences, edited_text, gone_text, unfinished_text

    for note in (*unfinished_text(out), *differences(made), *told, *gone_text(made), *edited_text(made)):
        print(f"note: {note}")
    last = {line["image"]: line for line in read_ledger(out)}
    for line in last.values():
        if line["state"] == "failed":
            print(f"failed: {one_line(line['reason'])}")


@results_app.command
def drop(out: Path, names: list[str], /) -> int:
    """Take results of images out of a folder: of pictures that were removed, or of earlier runs.

    The pictures themselves are not touched.

    Parameters
    ----------
    out: Path
        Folder that was --out of an analysis.
    names: list[str]
        Names of images, of the folders of their results, or patterns ('*_old.png', in quotes).
    """
    from napari_bloodcell.core.results import drop as take_out

    dropped = take_out(out, names)
    print(f"Taken out of {out}: {', '.join(dropped)}. Its cells.csv is that of the last `analyse`.")
    return 0


@results_app.command
def export(
    results: list[Path],
    /,
    *,
    out: Path,
    readers: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    classes: OwnClasses = None,
    config: Annotated[ExportConfig, Parameter(name="*")] = ExportConfig(),
) -> int:
    """Cells with outlines and classes for other programs: GeoJSON that QuPath opens, or COCO.

    Parameters
    ----------
    results: list[Path]
        Folders that `analyse --out` wrote, or folders of sessions, with every correction.
    out: Path
        Folder for the files; those of the same names are replaced.
    readers: list[Path]
        Tables of people who named cells (CSV with image, cell_id, cell_type), as `report` takes them.
    """
    from napari_bloodcell.core.datasets.own_classes import with_own
    from napari_bloodcell.core.export import export_cells

    with progress_bar() as progress:
        done = export_cells(
            results, out, config, readers=readers or (), taxonomy=with_own(classes), progress=progress
        )
    for note in done.notes:
        print(f"note: {note}")
    if done.left_out:
        print(f"note: {how_many(done.left_out, 'cell')} left out, which no person has looked at.")
    print(f"{how_many(done.cells, 'cell')} of {how_many(done.images, 'picture')} written to {out}")
    return 0
