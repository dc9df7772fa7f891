"""The pictures in docs/images: the real window, the real model, synthetic smears.

Run under a screen: ``make screenshots`` or ``xvfb-run -a python docs/make_screenshots.py [NAME ...]``; a name
is that of a scene below, all of them without one.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

import napari_bloodcell.gui.task  # noqa: F401 (before torch, which it keeps from a second LLVM)
from napari_bloodcell.gui import layers, samples

IMAGES = Path(__file__).resolve().parent / "images"
WINDOW_PX = (1366, 768)
LONGEST_WAIT_MS = 300_000
PAUSE_MS = 50


def count(viewer: Any) -> None:
    panel = opened(viewer, "Count cells")
    press(panel.sample_button, panel.task)
    press(panel.task.run_button, panel.task)


def segment(viewer: Any) -> None:
    """Two cells picked, and the outline that a click gives."""
    panel = opened(viewer, "Segment cells")
    press(panel.sample_button, panel.task)
    press(panel.task.run_button, panel.task)
    part, cells = panel.correct, viewer.layers["synthetic-giemsa_blue-7 cells"]
    part.pick_button.click()
    for number, cell in enumerate((3, 4)):
        part._pick(cells, cell, number > 0)
    press(part.delete_button, panel.task)
    part.undo_button.click()
    part.tools["on"].click()
    rows, columns = np.nonzero(viewer.layers["synthetic-giemsa_blue-7 nuclei"].data == 5)
    viewer.layers["prompt: on the cell"].add((np.median(rows), np.median(columns)))
    until(part.take_button.isEnabled, "the live outline")
    part._pick(cells, 3, False)
    part._pick(cells, 4, True)


def stain(viewer: Any) -> None:
    """The field and its preview side by side, and what survives."""
    panel = opened(viewer, "Stain preview")
    press(panel.sample_button, panel.task)
    until(lambda: panel.stains.count() > 1, "the known labs")
    panel.stains.setCurrentIndex(panel.stains.findText("Leishman on pink (synthetic)"))
    panel.beside.setChecked(True)
    press(panel.task.run_button, panel.task)
    press(panel.survival.try_button, panel.task)


def stain_map(viewer: Any) -> None:
    panel = opened(viewer, "Stain preview")
    for sample in ("giemsa", "wright", "rapid"):
        viewer.open_sample("napari-bloodcell", sample)
    until(lambda: panel.stains.count() > len(viewer.layers), "the known labs")
    panel.map_section.expand(animate=False)
    press(panel.map.measure_button, panel.task)
    panel.ensureWidgetVisible(panel.map.nearest)


def embed(viewer: Any) -> None:
    """Three labs on one map, a loop round some cells, raw against invariant."""
    opened_count = opened(viewer, "Count cells")
    for place, (look, seed) in enumerate((("giemsa_blue", 7), ("wright_cream", 11), ("rapid_yellow", 23))):
        image = layers.add_sample(viewer, samples.draw(look, seed))
        image.name = look.replace("_", " ")
        image.translate = (0, place * 1.04 * image.extent.world[1][1])
        opened_count.image.value = image
        press(opened_count.task.run_button, opened_count.task)
    viewer.window.remove_dock_widget(opened_count.parentWidget())
    viewer.reset_view()
    panel = opened(viewer, "Embed")
    panel.other.setCurrentIndex(1)
    press(panel.task.run_button, panel.task)
    until(lambda: bool(panel.figures.text()), "the figures")
    scatter = panel.maps.maps[0]
    places = scatter.places()
    loop(scatter, places[np.argsort(np.hypot(*(places - places[0]).T))[:6]])
    panel.verticalScrollBar().setValue(160)


def classify(viewer: Any) -> None:
    """A model's classes, a class of one's own, and the cell to look at next."""
    panel = opened(viewer, "Classify")
    press(panel.sample_button, panel.task)
    press(panel.task.run_button, panel.task)
    panel.name.setText("Hairy cell")
    panel.add_button.click()
    panel.next_button.click()


def gallery(viewer: Any) -> None:
    """Cells of three labs in one gallery, two of them chosen, with typical ones beside."""
    from napari_bloodcell.gui import layers, samples

    for look, seed in (("giemsa_blue", 7), ("wright_cream", 11), ("rapid_yellow", 23)):
        drawn = samples.draw_cells(look, seed)
        picture = layers.picture_of(layers.add_sample(viewer, drawn.image), viewer)
        list(layers.add_analysis(viewer, picture, drawn.analysis, drawn.table, drawn.rims))
    panel = opened(viewer, "Gallery")
    panel.cells.value = "all"
    until(lambda: len(panel.view._tiles) > 15 and not panel.task.busy, "the gallery")
    panel.uncovers.setChecked(True)
    keys = [tile.key for tile in panel.view._tiles]
    QTest.mouseClick(
        panel.view.viewport(), Qt.MouseButton.LeftButton, pos=panel.view.box_of(keys[0]).center()
    )
    panel.view.choose(keys[:2])


def differential(viewer: Any) -> None:
    panel = opened(viewer, "Differential")
    press(panel.sample_button, panel.task)
    until(lambda: panel.shown is not None, "the count")
    for _ in range(2):  # the first press tells of cells that nobody has looked at
        panel.sign_button.click()


def train(viewer: Any) -> None:
    """An adapter learnt from the outlines of one field: curves, scores, before and after."""
    outline = opened(viewer, "Segment cells")
    press(outline.sample_button, outline.task)
    press(outline.task.run_button, outline.task)
    viewer.window.remove_dock_widget(outline.parentWidget())
    panel = opened(viewer, "Train")
    panel.out.value = Path(tempfile.mkdtemp()) / "my-cells"
    for name, value in (("masks.steps_per_epoch", 2), ("masks.batch", 8), ("masks.held_out", 0.3)):
        panel.form("adapter").widget(name).value = value
    panel.form("training").widget("epochs").value = 12
    press(panel.task.run_button, panel.task)


SCENES: dict[str, Callable[[Any], None]] = {
    "count": count,
    "segment": segment,
    "stain": stain,
    "stain_map": stain_map,
    "embed": embed,
    "classify": classify,
    "gallery": gallery,
    "differential": differential,
    "train": train,
}


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SCENES:
        viewer = napari.Viewer(show=True)
        viewer.window._qt_window.resize(*WINDOW_PX)
        viewer.theme = "dark"
        SCENES[name](viewer)
        for theme, end in (("dark", ""), ("light", "_light")):
            viewer.theme = theme
            QTest.qWait(500)
            target = IMAGES / f"{name}{end}.png"
            viewer.window.screenshot(str(target), canvas_only=False, flash=False)
            print(target)
        viewer.close()
    return 0


def opened(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-bloodcell", name)[1]


def until(is_so: Callable[[], bool], what: str) -> None:
    waited = 0
    while not is_so():
        QTest.qWait(PAUSE_MS)
        waited += PAUSE_MS
        if waited > LONGEST_WAIT_MS:
            raise TimeoutError(f"{what} took more than {LONGEST_WAIT_MS / 1000:g} s")


def loop(scatter: Any, places: Any) -> None:
    """A loop round points of a map, drawn with the mouse."""
    middle, reach = places.mean(axis=0), np.hypot(*(places - places.mean(axis=0)).T).max() + 9
    turns = np.linspace(0, 2 * np.pi, 24)
    line = [QPointF(*(middle + reach * np.array([np.cos(t), np.sin(t)]))).toPoint() for t in turns]
    QTest.mousePress(scatter, Qt.MouseButton.LeftButton, pos=line[0])
    for place in line[1:]:
        QTest.mouseMove(scatter, place)
    QTest.mouseRelease(scatter, Qt.MouseButton.LeftButton, pos=line[-1])


def press(button: Any, task: Any) -> None:
    """Click, and wait for what it started."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    until(lambda: not task.busy, button.text())


if __name__ == "__main__":
    sys.exit(main())
