"""Painting apart from the work: what napari draws waits for a turn of the event loop of its own."""

from itertools import islice

import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_bloodcell.gui.painting import painted_apart


@pytest.fixture
def window(qtbot):
    made = QMainWindow()
    made.setCentralWidget(QWidget())
    qtbot.addWidget(made)
    return made


def dock(window, name):
    made = QDockWidget(name, window)
    made.setObjectName(name)
    made.setWidget(QWidget())
    return made


def painted(*widgets):
    return tuple(widget.updatesEnabled() for widget in widgets)


def test_a_step_its_lists_and_its_canvas_have_turns_of_their_own(window):
    lists, mine, canvas = dock(window, "layer list"), dock(window, "mine"), window.centralWidget()
    seen = []

    def work():
        seen.append(painted(lists, canvas, mine))
        yield
        seen.append(painted(lists, canvas, mine))

    steps = painted_apart(mine.widget(), work())
    turns = [painted(lists, canvas, mine) for _ in steps]
    apart = [(False, False, True), (True, False, True), (True, True, True)]
    assert seen == [(False, False, True)] * 2
    assert turns == [*apart, *apart]


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_a_window_is_painted_again_where_the_panel_goes_in_between(window, turns):
    lists, canvas = dock(window, "layer controls"), window.centralWidget()
    steps = painted_apart(lists.widget(), iter([None, None]))
    list(islice(steps, turns))
    assert not canvas.updatesEnabled()
    steps.close()
    assert painted(lists, canvas) == (True, True)


def test_a_window_is_painted_again_after_a_fault(window):
    def fault():
        yield
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        list(painted_apart(window.centralWidget(), fault()))
    assert window.centralWidget().updatesEnabled()


def test_a_panel_without_a_window_of_napari_takes_the_same_steps(qtbot):
    panel, done = QWidget(), []
    qtbot.addWidget(panel)
    list(painted_apart(panel, (done.append(number) for number in range(3))))
    assert done == [0, 1, 2]


def test_napari_names_its_lists_as_we_look_for_them(viewer):
    from napari_bloodcell.gui.painting import LISTS

    names = {one.objectName() for one in viewer.window._qt_window.findChildren(QDockWidget)}
    assert set(LISTS) <= names


def test_steps_that_outlive_the_window_end_quietly(qapp):
    window = QMainWindow()
    window.setCentralWidget(QWidget())
    panel = QWidget()
    dock(window, "layer list").setWidget(panel)
    steps = painted_apart(panel, iter([None, None]))
    next(steps)
    window.deleteLater()
    QCoreApplication.sendPostedEvents(window, QEvent.Type.DeferredDelete)
    assert not isalive(panel)
    steps.close()
