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
    monkeypatch.delitem(os.environ, "BLOODCELL_WEIGHTS")


def test_an_older_napari_without_the_page_gives_defaults(monkeypatch):
    monkeypatch.delattr("napari.settings.get_plugin_settings", raising=False)
    assert preferences.preference("reader") == ""
    assert preferences.reader() == person()
