"""The pictures in docs/images: the real window, the real model, a synthetic smear.

Run under a screen: ``make screenshots`` or ``xvfb-run -a python docs/make_screenshots.py``.
"""

import sys
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

IMAGES = Path(__file__).resolve().parent / "images"
WINDOW_PX = (1366, 768)
LONGEST_WAIT_MS = 120_000
PAUSE_MS = 50


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(*WINDOW_PX)
    viewer.theme = "dark"
    _, panel = viewer.window.add_plugin_dock_widget("napari-bloodcell", "Count cells")
    press(panel.sample_button, panel.task)
    press(panel.task.run_button, panel.task)
    for theme, name in (("dark", "count.png"), ("light", "count_light.png")):
        viewer.theme = theme
        QTest.qWait(500)
        viewer.window.screenshot(str(IMAGES / name), canvas_only=False, flash=False)
        print(IMAGES / name)
    viewer.close()
    return 0


def press(button: Any, task: Any) -> None:
    """Click, and wait for what it started."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    waited = 0
    while task.busy:
        QTest.qWait(PAUSE_MS)
        waited += PAUSE_MS
        if waited > LONGEST_WAIT_MS:
            raise TimeoutError(f"{button.text()} took more than {LONGEST_WAIT_MS / 1000:g} s")


if __name__ == "__main__":
    sys.exit(main())
