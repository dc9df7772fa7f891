"""When the window is painted: not in the turn of the event loop that already did a step's work."""

from collections.abc import Iterator

from qtpy.compat import isalive
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

LISTS = ("layer list", "layer controls")  # what napari's docks are called


def painted_apart(panel: QWidget, steps: Iterator[None]) -> Iterator[None]:
    """After each step a turn for what it changed in napari's lists, then one for the canvas: adding a layer
    and painting it take about as long, and the window should not stand still for both together."""
    window = _main_window(panel)
    docks = [] if window is None else window.findChildren(QDockWidget)
    lists = [dock for dock in docks if dock.objectName() in LISTS]
    canvas = None if window is None else window.centralWidget()
    groups = [group for group in (lists, [canvas] if canvas is not None else []) if group]
    done = False
    try:
        while not done:
            _set_painted(groups, False)
            done = next(steps, steps) is steps
            for group in groups:
                yield
                _set_painted([group], True)
            yield
    finally:  # also where the panel goes in between
        _set_painted(groups, True)


def _set_painted(groups: list[list[QWidget]], painted: bool) -> None:
    for group in groups:
        for widget in group:
            if isalive(widget):  # napari's window may be closed in between
                widget.setUpdatesEnabled(painted)


def _main_window(widget: QWidget | None) -> QMainWindow | None:
    """Also of a panel that floats in a window of its own."""
    while widget is not None and not isinstance(widget, QMainWindow):
        widget = widget.parentWidget()
    return widget
