"""What all panels share: where they are docked, and that the main button says what it does."""

from importlib.resources import files

import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QTabBar

from napari_bloodcell.gui.wrapped import Wrapped

pytestmark = pytest.mark.gui


def test_our_panels_are_tabs_of_one_place_and_other_docks_stay_where_they_are(viewer, open_panel, qtbot):
    window = viewer.window._qt_window
    other = viewer.window.add_dock_widget(QLabel("another's"), name="other", area="right")
    docks = []
    for name in ("Count cells", "Segment cells", "Classify", "Gallery", "Differential"):
        panel = open_panel(name)
        docks.append(panel.parentWidget())
        qtbot.wait(50)
        assert not panel.visibleRegion().isEmpty()  # the one just opened is the one that is seen
        assert window.height() <= 768
    assert set(window.tabifiedDockWidgets(docks[0])) == set(docks[1:])
    titles = [dock.windowTitle() for dock in docks]
    assert titles == ["Count cells", "Segment cells", "Classify", "Gallery", "Differential"]
    (bar,) = [one for one in window.findChildren(QTabBar) if one.count() and one.tabText(0) in titles]
    assert bar.elideMode() == Qt.TextElideMode.ElideNone
    assert bar.usesScrollButtons()
    assert not window.tabifiedDockWidgets(other)


def test_a_panel_that_was_moved_away_stays_alone(viewer, open_panel, qtbot):
    window = viewer.window._qt_window
    first = open_panel("Count cells").parentWidget()
    second = open_panel("Classify").parentWidget()
    qtbot.wait(50)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, second)
    second.hide()
    second.show()
    qtbot.wait(50)
    assert window.dockWidgetArea(second) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert not window.tabifiedDockWidgets(first)
    third = open_panel("Gallery").parentWidget()
    qtbot.wait(50)
    assert window.tabifiedDockWidgets(first) == [third]


def names():
    manifest = PluginManifest.from_file(str(files("napari_bloodcell") / "napari.yaml"))
    return [widget.display_name for widget in manifest.contributions.widgets]


@pytest.mark.parametrize("name", names())
def test_no_word_makes_a_panel_wider(open_panel, qtbot, name):
    panel = open_panel(name)
    qtbot.wait(50)
    before, long = panel.minimumWidth(), "slide_0001_field_0007_Giemsa_100x_oil_2026-11-29_" * 3
    assert before < 400
    for label in panel.findChildren(QLabel):
        assert isinstance(label, Wrapped) == label.wordWrap(), label.text()
        if isinstance(label, Wrapped):
            label.setText(long)
            label.show()
            assert label.text() == long
    qtbot.wait(50)
    assert panel.minimumWidth() == before


def test_the_main_button_of_each_panel_says_what_it_does(open_panel):
    for name in names():
        assert len(open_panel(name).task.run_button.toolTip()) > 20, name
