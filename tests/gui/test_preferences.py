"""The Preferences page: every setting on it does something, and nothing breaks without it."""

import os

import pytest

from napari_bloodcell.core.session import person
from napari_bloodcell.gui import preferences

pytestmark = pytest.mark.gui


@pytest.fixture
def page(make_napari_viewer):
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("this napari has no settings of plugins")
    make_napari_viewer()
    page = settings.get_plugin_settings("napari-bloodcell").general
    before = page.model_dump()
    yield page
    for name, value in before.items():
        setattr(page, name, value)


def test_nothing_set_is_what_the_system_says(page):
    assert preferences.preference("reader") == ""
    assert preferences.reader() == person()


def test_the_reader_set_there_stands_in_the_panels(page, viewer, open_panel):
    page.reader = "Dr Ada"
    for name in ("Classify", "Gallery", "Differential", "Session"):
        assert open_panel(name).reader.text() == "Dr Ada"


def test_folders_set_there_reach_the_core_unless_the_system_sets_them(page, monkeypatch, tmp_path):
    from napari_bloodcell.core.folders import cache_folder, weights_folder

    monkeypatch.delenv("BLOODCELL_WEIGHTS", raising=False)
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "set outside"))
    page.weights_folder, page.cache_folder = str(tmp_path / "weights"), str(tmp_path / "cache")
    preferences.apply()
    assert weights_folder() == tmp_path / "weights"
    assert cache_folder() == tmp_path / "set outside"


def test_a_change_counts_from_the_next_press_and_what_was_set_is_taken_back(page, monkeypatch):
    for variable in preferences.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    page.device = "cpu"
    preferences.apply()
    assert os.environ["BLOODCELL_DEVICE"] == "cpu"
    page.device = "mps"
    preferences.apply()
    assert os.environ["BLOODCELL_DEVICE"] == "mps"
    page.device = "auto"
    preferences.apply()
    assert os.environ["BLOODCELL_DEVICE"] == "auto"
    for name, value in (("weights_folder", "~/w"), ("weights_folder", "")):
        setattr(page, name, value)
        preferences.apply()
    assert "BLOODCELL_WEIGHTS" not in os.environ


def test_a_device_that_is_not_there_is_said_by_the_panel_that_needs_it(
    page, open_panel, counted, press_run, monkeypatch, tmp_path
):
    monkeypatch.delenv("BLOODCELL_DEVICE", raising=False)
    page.device = "mps"
    panel = open_panel("Train")
    panel.out.value = tmp_path / "out"
    panel.form("adapter").widget("masks.held_out").value = 0.5
    press_run(panel)
    assert "Device 'mps' was asked for" in panel.task.message.text()


def test_the_palette_colours_classes_of_the_next_count(page, viewer, add_counted, open_panel, monkeypatch):
    from napari_bloodcell.gui import classes

    monkeypatch.delenv("BLOODCELL_PALETTE", raising=False)
    clear = classes.class_list(add_counted("a")).colours["neutrophil"]
    page.palette = "soft"
    open_panel("Classify")
    soft = classes.class_list(add_counted("b")).colours["neutrophil"]
    assert (clear, soft) == ("#0072B2", "#4477AA")


def test_offline_refuses_to_download(page, monkeypatch, tmp_path):
    from napari_bloodcell.core.errors import WeightsError
    from napari_bloodcell.core.sam.download import download

    monkeypatch.delenv("BLOODCELL_OFFLINE", raising=False)
    page.offline = True
    preferences.apply()
    with pytest.raises(WeightsError, match="Downloads are switched off"):
        download("http://127.0.0.1:9/x", tmp_path / "x", 10)
    assert list(tmp_path.iterdir()) == []


def test_an_older_napari_without_the_page_gives_defaults(monkeypatch):
    monkeypatch.delattr("napari.settings.get_plugin_settings", raising=False)
    assert preferences.preference("reader") == ""
    assert preferences.reader() == person()
