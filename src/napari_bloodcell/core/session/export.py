"""A session as files that any program reads."""

from pathlib import Path

from napari_bloodcell.core.artifact import atomic_path, check_writable, write_bytes
from napari_bloodcell.core.image import write_labels_ome_tiff
from napari_bloodcell.core.rows import harmless_table
from napari_bloodcell.core.session.audit import to_csv
from napari_bloodcell.core.session.folder import check_outside, read_session


def audit_csv(folder: Path) -> str:
    content = read_session(folder)
    return to_csv(content.trail.events, {key: image.name for key, image in content.images.items()})


def write_audit(folder: Path, path: Path) -> None:
    """The audit as a table (CSV)."""
    table = audit_csv(folder)
    check_outside(path, Path(folder))
    write_bytes(path, table.encode())


def export_session(folder: Path, out: Path) -> list[Path]:
    """A folder an image with outlines, nuclei and ``cells.csv``; the audit beside them."""
    content = read_session(folder)
    check_outside(out, content.folder)
    check_writable(out)
    write_bytes(out / "audit.csv", audit_csv(folder).encode())
    written = [out / "audit.csv"]
    for key, record in content.images.items():
        cells = content.cells(key)
        if cells is None:
            continue
        name = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in Path(record.name).stem)
        place = out / f"{name or 'image'}-{key[:8]}"
        write_labels_ome_tiff(place / "labels.ome.tif", cells.labels, record.um_per_px)
        write_labels_ome_tiff(place / "nuclei.ome.tif", cells.labels * cells.nucleus, record.um_per_px)
        with atomic_path(place / "cells.csv") as temporary:
            harmless_table(cells.table).to_csv(temporary, index=False, float_format="%.6g")
        written.append(place)
    return written
