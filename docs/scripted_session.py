"""A whole session as a person has it, pressed in the real window, with pictures; then it is killed.

``xvfb-run -a python docs/scripted_session.py [FIELD.png] [--out FOLDER]``. Without a field it takes a
synthetic smear and writes its pictures to docs/images. With ``BLOODCELL_DATA`` it takes real fields of the
folder ``bccd`` there, laid side by side, and the classes their labels give; those pictures go to a temporary
folder and must stay outside the project.

Open, keep in a session, segment, correct an outline, classify, reclassify three cells in the gallery, name
the cells whose class is known, adapt, count, sign, export; SIGKILL; open again. Each step's time is printed,
and the audit before and after the kill.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent / "images"
WINDOW_PX = (1366, 768)
FIELDS = (3, 4)  # real ones, rows and columns
LONGEST_WAIT_S = 300
DIED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("field", nargs="?", type=Path, help="a field; without it see above")
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--session", type=Path, help=argparse.SUPPRESS)  # the part that is killed
    asked = arguments.parse_args()
    if asked.session is not None:
        work(asked.field, asked.out, asked.session)
        os.kill(os.getpid(), signal.SIGKILL)
    place = Path(tempfile.mkdtemp(prefix="scripted-session-"))
    field = asked.field or (real_fields(place) if os.environ.get("BLOODCELL_DATA") else None)
    out = asked.out or (place if field else IMAGES)
    out.mkdir(parents=True, exist_ok=True)
    session = place / "session"
    own = [sys.executable, __file__, *([str(field)] if field else [])]
    done = subprocess.run([*own, "--out", str(out), "--session", str(session)], check=False)  # noqa: S603
    if done.returncode != DIED:
        raise SystemExit(f"the session ended with {done.returncode} before it was killed")
    return reopen(out, session)


def work(field: Path | None, out: Path, session: Path) -> None:  # noqa: PLR0915 (one story, in order)
    from napari_bloodcell.gui import classes, samples
    from napari_bloodcell.gui.layers import add_sample

    viewer = window()
    with timed("open the image"):
        if field:
            viewer.open(field)
        else:
            add_sample(viewer, samples.draw())
    keep = panel(viewer, "Session")
    keep.ask_folder = lambda: session
    with timed("open a session"):
        press(keep.task.run_button, keep)
    segment = panel(viewer, "Segment cells")
    with timed("segment"):
        press(segment.task.run_button, segment)
    cells = segment.correct.cells.value
    wait(lambda: "cells" in actions(session))
    picture(viewer, out, "session-1-segment")

    with timed("correct an outline, to its line on the disk"):
        widen(cells, int(classes.ids(cells)[0]))
        wait(lambda: "outline" in actions(session), 5)

    classify = panel(viewer, "Classify")
    with timed("classify"):
        press(classify.task.run_button, classify)
    press(classify.next_button, classify)
    classify.name.setText("Atypical cell")
    press(classify.add_button, classify)
    picture(viewer, out, "session-2-classify")

    gallery = panel(viewer, "Gallery")
    with timed("show the gallery"):
        wait(lambda: bool(gallery.view._tiles))
        ready(gallery)
    with timed("reclassify three"):
        reclassify(gallery, [tile.key for tile in gallery.view._tiles[:3]], "1")
        wait(lambda: actions(session).count("classify") >= 3, 5)
    digits = {name: classes.class_list(cells).digit(name) for name in classes.class_list(cells).names}
    for name, known in known_cells(field, cells).items():
        reclassify(gallery, [tile.key for tile in gallery.view._tiles if tile.key[1] in known], digits[name])
    picture(viewer, out, "session-3-gallery")

    classify = panel(viewer, "Classify")
    with timed("adapt"):
        press(classify.adapt_button, classify)
    print(classify.task.message.text())
    picture(viewer, out, "session-4-adapt")

    count = panel(viewer, "Differential")
    with timed("count"):
        wait(lambda: count.shown is not None)
    for _ in range(2):  # the first press tells of cells that nobody has looked at
        press(count.sign_button, count)
    count.ask_folder = lambda: session.parent
    with timed("export"):
        press(count.task.run_button, count)
    picture(viewer, out, "session-5-differential")
    settle(1000)  # the signature is on the disk within a second
    before = told(session)
    (session.parent / "before-the-kill.txt").write_text(before)


def reopen(out: Path, session: Path) -> int:
    viewer = window()
    keep = panel(viewer, "Session")
    keep.ask_folder = lambda: session
    before = (session.parent / "before-the-kill.txt").read_text()
    after = told(session)
    with timed("open again"):
        press(keep.task.run_button, keep)
    picture(viewer, out, "session-6-reopened")
    layers = [layer.name for layer in viewer.layers]
    viewer.close()
    same = before == after
    for when, text in (("before", before), ("after", after)):
        print(f"--- the audit and the cells {when} the kill ---")
        print(text)
    print(f"layers after the kill: {', '.join(layers)}")
    print(f"classes and audit after the kill are {'those' if same else 'NOT those'} before it")
    return 0 if same else 1


def real_fields(place: Path) -> Path:
    """Fields of one lab side by side, as one picture, and where on it cells of a known class lie."""
    import csv
    import json

    import numpy as np
    from PIL import Image

    bccd = Path(os.environ["BLOODCELL_DATA"]) / "bccd"
    kinds = {row["image"]: row["class"] for row in csv.DictReader((bccd / "labels.csv").open())}
    boxes = [row for row in csv.DictReader((bccd / "boxes.csv").open()) if row["kind"] == "wbc"]
    chosen = [row for row in boxes if _label(kinds, row["image"])]
    step = max(1, len(chosen) // (FIELDS[0] * FIELDS[1]))
    chosen = list({row["image"]: row for row in chosen[::step]}.values())[: FIELDS[0] * FIELDS[1]]
    known, rows = [], []
    for number, row in enumerate(chosen):
        pixels = np.asarray(Image.open(bccd / "fields" / row["image"]).convert("RGB"))
        top, left = (number // FIELDS[1]) * pixels.shape[0], (number % FIELDS[1]) * pixels.shape[1]
        x = left + (int(row["xmin"]) + int(row["xmax"])) / 2
        y = top + (int(row["ymin"]) + int(row["ymax"])) / 2
        known.append({"x": x, "y": y, "class": _label(kinds, row["image"])})
        rows.append(pixels)
    lines = [np.hstack(rows[i : i + FIELDS[1]]) for i in range(0, len(rows), FIELDS[1])]
    Image.fromarray(np.vstack([line for line in lines if line.shape[1] == lines[0].shape[1]])).save(
        place / "field.png"
    )
    (place / "field.json").write_text(json.dumps(known))
    return place / "field.png"


def _label(kinds: dict[str, str], image: str) -> str:
    """The class of a field with a single labelled cell; empty where there are more."""
    stem = Path(image).stem
    named = [kind for name, kind in kinds.items() if name.startswith(f"{stem}_")]
    return named[0] if len(named) == 1 else ""


def known_cells(field: Path | None, cells: Any) -> dict[str, set[int]]:
    """Class -> cells whose class is known from the labels beside the field."""
    import json

    beside = None if field is None else field.with_suffix(".json")
    if beside is None or not beside.is_file():
        return {}
    found: dict[str, set[int]] = {}
    for one in json.loads(beside.read_text()):
        cell = int(cells.data[int(one["y"]), int(one["x"])])
        if cell:
            found.setdefault(str(one["class"]), set()).add(cell)
    return found


def reclassify(gallery: Any, keys: list[Any], digit: str) -> None:
    if keys and digit:
        gallery.view.choose(keys)
        type_digit(gallery.view, digit)
        settle(50)


@contextmanager
def timed(what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - begin:.2f} s", flush=True)


def told(session: Path) -> str:
    """The cells as the session has them, and every line of the audit."""
    from napari_bloodcell.core.session import audit_csv, read_session

    content = read_session(session)
    lines = [audit_csv(session)]
    for key in content.images:
        cells = content.cells(key)
        if cells is not None:
            lines.append(cells.table[["label", "cell_type", "cell_type_source"]].to_string())
    return "\n".join(lines)


def actions(session: Path) -> list[str]:
    from napari_bloodcell.core.session import read_session

    return [event.action for event in read_session(session).trail.events]


def widen(cells: Any, cell: int) -> None:
    """As a stroke of the brush at the cell's lower edge."""
    import numpy as np

    place = np.argwhere(cells.data == cell)[-1]
    cells.brush_size = 12
    cells.paint(tuple(place), cell)


def window() -> Any:
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(*WINDOW_PX)
    viewer.theme = "dark"
    return viewer


def panel(viewer: Any, name: str) -> Any:
    """One panel at a time is shown: small screens have no room for two."""
    known = {}
    for dock in list(viewer.window._wrapped_dock_widgets.values()):
        if "napari-bloodcell" in dock.name:
            dock.hide()
            known[dock.name.partition(" (")[0]] = dock
    if name in known:  # opened before: what it was told is still in it
        known[name].show()
        settle(300)
        return known[name].inner_widget()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-bloodcell", name)
    dock.show()
    settle(300)
    return widget


def press(button: Any, widget: Any) -> None:
    """Click, and wait for what it started."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    ready(widget)
    wait(button.isEnabled, 10)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    ready(widget)


def ready(widget: Any) -> None:
    settle(30)
    wait(lambda: not widget.task.busy, 10)


def type_digit(widget: Any, digit: str) -> None:
    from qtpy.QtTest import QTest

    QTest.keyClicks(widget, digit)


def picture(viewer: Any, out: Path, name: str) -> None:
    settle(800)
    viewer.window.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)
    print(out / f"{name}.png")


def wait(until: Callable[[], bool], step_ms: int = 50) -> None:
    end = time.monotonic() + LONGEST_WAIT_S
    while not until():
        settle(step_ms)
        if time.monotonic() > end:
            raise TimeoutError(f"waited {LONGEST_WAIT_S} s")


def settle(milliseconds: int) -> None:
    from qtpy.QtTest import QTest

    QTest.qWait(milliseconds)


if __name__ == "__main__":
    sys.exit(main())
