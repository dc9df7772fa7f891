"""``napari-bloodcell session``: what a session holds, and its audit."""

from pathlib import Path

from cyclopts import App

session_app = App(name="session", help="Sessions: the folders in which corrections by hand are kept.")


@session_app.command
def info(folder: Path, /) -> int:
    """Images, cells, people and the number of changes of a session.

    Parameters
    ----------
    folder: Path
        Folder of the session.
    """
    from napari_bloodcell.core.session import describe

    print(describe(folder))
    return 0


@session_app.command
def audit(folder: Path, /, *, out: Path | None = None) -> int:
    """Who changed what, when, from what to what: a CSV table.

    Parameters
    ----------
    folder: Path
        Folder of the session.
    out: Path | None
        File to write; without it the table is printed.
    """
    from napari_bloodcell.core.session import audit_csv, write_audit

    if out is None:
        print(audit_csv(folder), end="")
    else:
        write_audit(folder, out)
        print(out)
    return 0


@session_app.command
def export(folder: Path, /, *, out: Path) -> int:
    """Write the cells of a session as they are now: outlines, tables with every correction, and the audit.

    Parameters
    ----------
    folder: Path
        Folder of the session.
    out: Path
        Folder for the files.
    """
    from napari_bloodcell.core.session import export_session

    for path in export_session(folder, out):
        print(path)
    return 0
