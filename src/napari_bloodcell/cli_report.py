"""``napari-bloodcell report``: results as something to print and keep. No logic of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_bloodcell.cli_defaults import asked, said
from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.config.report import ReportConfig

if TYPE_CHECKING:
    AskedReport = ReportConfig
else:
    AskedReport = asked(ReportConfig, count=asked(CountConfig))

# also of `classify`
OwnClasses = Annotated[
    Path | None,
    Parameter(
        help="Your own classes beside the usual ones: a table (.csv) with the columns class and parent."
    ),
]


def report(
    results: list[Path],
    /,
    *,
    out: Path,
    readers: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    patients: Path | None = None,
    classes: OwnClasses = None,
    config: Annotated[AskedReport, Parameter(name="*")] = AskedReport(),
) -> int:
    """Turn results or sessions into a report: slides, patients and all together, limits, doubtful cells.

    It counts as the analyses did, by the settings they were run with; a flag goes first.
    Writes report.html (one file, to print), report.pdf, report.json, report.csv, cells.csv, cells.parquet;
    patients.csv too where patients are known.

    Parameters
    ----------
    results: list[Path]
        Folders that `analyse --out` wrote, or folders of sessions: those are counted as corrected, with who
        reviewed them, the kappa of readers who named the same cells, and the sign-off.
    out: Path
        Folder for the report.
    readers: list[Path]
        Tables of people who named cells (CSV with image, cell_id, cell_type, and perhaps person). Each two
        are compared by kappa, three and more by alpha too. What most said counts; without that the cell is
        unidentified.
    patients: Path
        Whose the slides are (CSV with slide and patient): each patient is counted too. Not needed where the
        list of images that was analysed says it.
    """
    from napari_bloodcell.core.datasets.own_classes import with_own
    from napari_bloodcell.core.report.differential import to_text
    from napari_bloodcell.core.report.make import make_report

    with progress_bar() as progress:
        made = make_report(
            results,
            out,
            config,
            asked=said(config.count),
            readers=readers or (),
            patients=patients,
            taxonomy=with_own(classes),
            progress=progress,
        )
    print(to_text(made.pooled.differential))
    print(made.pooled.enough.text())
    print("\n".join([*made.said_by_people(), *(f"note: {text}" for text in made.warnings)]))
    print(f"Everything is in {out}; begin with {out / 'report.html'}")
    return 0
