"""Where a report may be written: not over the tables of an analysis, whose names are those of a report's."""

from pathlib import Path

from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.session.folder import SESSION

TABLES = ("cells.csv", "cells.parquet", "patients.csv")
FILES = ("report.html", "report.pdf", "report.json", "report.csv", *TABLES)
OF_ANALYSIS = ("run.json", "images.json", "ledger.jsonl", "table")  # of an image, and of a folder of results
ADVICE = "Name a new folder, or that of an earlier report, for --out."


def check_place(out: Path) -> None:
    """Refused before anything is read or written."""
    if (out / SESSION).exists():
        raise ArtifactError(f"{out} is the folder of a session: a report does not belong among it. {ADVICE}")
    if any((out / name).exists() for name in OF_ANALYSIS):
        raise ArtifactError(
            f"{out} holds results of `analyse`: a report would take the place of their cells.csv and "
            f"cells.parquet. {ADVICE}"
        )
    theirs = [name for name in FILES if (out / name).exists()]
    if theirs and not any(name.startswith("report.") for name in theirs):
        raise ArtifactError(f"{out} holds a {theirs[0]} that is no report's. {ADVICE}")
