"""A whole session as a person has it, pressed in the real window, with pictures; then the program is killed.

``xvfb-run -a python docs/scripted_session.py [FIELD.png] [--out FOLDER]``. Without a field it takes a
synthetic smear and writes to docs/images; a real field's pictures must stay outside the project.

Open, keep in a session, segment, correct an outline, classify, reclassify three cells in the gallery, adapt,
count, sign, export; SIGKILL; open again. The last lines compare the audit before and after the kill.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent / "images"
WINDOW_PX = (1366, 768)
LONGEST_WAIT_S = 300
DIED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("field", nargs="?", help="a real field; without it a synthetic one is drawn")
    arguments.add_argument("--out", type=Path, default=IMAGES)
    arguments.add_argument("--session", type=Path, help=argparse.SUPPRESS)  # the part that is killed
    asked = arguments.parse_args()
    if asked.session is not None:
        work(asked.field, asked.out, asked.session)
        os.kill(os.getpid(), signal.SIGKILL)
    asked.out.mkdir(parents=True, exist_ok=True)
    session = Path(tempfile.mkdtemp()) / "session"
    own = [sys.executable, __file__, *([asked.field] if asked.field else [])]
    done = subprocess.run([*own, "--out", str(asked.out), "--session", str(session)], check=False)  # noqa: S603
    if done.returncode != DIED:
        raise SystemExit(f"the session ended with {done.returncode} before it was killed")
    return reopen(asked.out, session)


def work(field: str | None, out: Path, session: Path) -> None:
    from napari_bloodcell.gui import classes, samples
    from napari_bloodcell.gui.layers import add_sample

    viewer = window()
    if field:
        viewer.open(field)
    else:
        add_sample(viewer, samples.draw())
    keep = panel(viewer, "Session")
    keep.ask_folder = lambda: session
    press(keep.task.run_button, keep)
    segment = panel(viewer, "Segment cells")
    press(segment.task.run_button, segment)
    cells = viewer.layers["cells"]
    wait(lambda: "cells" in actions(session))
    picture(viewer, out, "session-1-segment")

    widen(cells, int(classes.ids(cells)[0]))
    wait(lambda: "outline" in actions(session))

    classify = panel(viewer, "Classify")
    press(classify.task.run_button, classify)
    press(classify.next_button, classify)
    classify.name.setText("Atypical cell")
    press(classify.add_button, classify)
    picture(viewer, out, "session-2-classify")

    gallery = panel(viewer, "Gallery")
    wait(lambda: bool(gallery.view._tiles))
    ready(gallery)
    gallery.view.choose([tile.key for tile in gallery.view._tiles[:3]])
    type_digit(gallery.view, "1")
    wait(lambda: actions(session).count("classify") >= 3)
    picture(viewer, out, "session-3-gallery")

    press(classify.adapt_button, classify)  # three are too few, and it says so
    print("adapt:", classify.task.message.text().splitlines()[0])

    count = panel(viewer, "Differential")
    wait(lambda: count.shown is not None)
    press(count.sign_button, count)
    count.ask_folder = lambda: session.parent
    press(count.task.run_button, count)
    picture(viewer, out, "session-4-differential")
    before = told(session)
    (session.parent / "before-the-kill.txt").write_text(before)


def reopen(out: Path, session: Path) -> int:
    viewer = window()
    keep = panel(viewer, "Session")
    keep.ask_folder = lambda: session
    before = (session.parent / "before-the-kill.txt").read_text()
    after = told(session)
    press(keep.task.run_button, keep)
    picture(viewer, out, "session-5-reopened")
    layers = [layer.name for layer in viewer.layers]
    viewer.close()
    same = before == after
    print(after)
    print(f"layers after the kill: {', '.join(layers)}")
    print(f"classes and audit after the kill are {'those' if same else 'NOT those'} before it")
    return 0 if same else 1


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
    for dock in list(viewer.window._wrapped_dock_widgets.values()):
        if "napari-bloodcell" in dock.name:
            dock.hide()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-bloodcell", name)
    dock.show()
    settle(300)
    return widget


def press(button: Any, widget: Any) -> None:
    """Click, and wait for what it started."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    ready(widget)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    ready(widget)


def ready(widget: Any) -> None:
    settle(300)
    wait(lambda: not widget.task.busy)


def type_digit(widget: Any, digit: str) -> None:
    from qtpy.QtTest import QTest

    QTest.keyClicks(widget, digit)


def picture(viewer: Any, out: Path, name: str) -> None:
    settle(800)
    viewer.window.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)
    print(out / f"{name}.png")


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_WAIT_S
    while not until():
        settle(50)
        if time.monotonic() > end:
            raise TimeoutError(f"waited {LONGEST_WAIT_S} s")


def settle(milliseconds: int) -> None:
    from qtpy.QtTest import QTest

    QTest.qWait(milliseconds)


if __name__ == "__main__":
    sys.exit(main())
