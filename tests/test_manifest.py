"""The manifest: valid, one file, and every name in it leads somewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ROOT / "src" / "napari_bloodcell" / "napari.yaml"

npe2 = pytest.importorskip("npe2")


@pytest.fixture(scope="module")
def manifest():
    return npe2.PluginManifest.from_file(PACKAGED)


def test_the_file_at_the_root_is_a_link_to_the_packaged_one():
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert link.readlink() == Path("src/napari_bloodcell/napari.yaml")
    assert link.resolve() == PACKAGED


def test_npe2_finds_nothing_to_object_to():
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(PACKAGED)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_package_announces_the_manifest():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="napari.manifest", name="napari-bloodcell")
    assert entry.value == "napari_bloodcell:napari.yaml"


def test_names_and_ids_stay_as_they_were_published(manifest):
    contributions = manifest.contributions
    assert [widget.display_name for widget in contributions.widgets] == [
        "Count cells",
        "Segment cells",
        "Stain preview",
        "Embed",
        "Classify",
        "Gallery",
        "Differential",
        "Session",
        "Blind reading",
        "Train",
    ]
    assert [sample.key for sample in contributions.sample_data] == [
        "giemsa",
        "wright",
        "rapid",
        "three_labs",
        "real",
    ]
    assert {command.id for command in contributions.commands} == {
        "napari-bloodcell.count",
        "napari-bloodcell.segment",
        "napari-bloodcell.stain",
        "napari-bloodcell.embed",
        "napari-bloodcell.classify",
        "napari-bloodcell.gallery",
        "napari-bloodcell.differential",
        "napari-bloodcell.blind",
        "napari-bloodcell.session",
        "napari-bloodcell.train",
        "napari-bloodcell.open",
        "napari-bloodcell.save_outlines",
        "napari-bloodcell.save_table",
        "napari-bloodcell.save_geojson",
        "napari-bloodcell.save_folder",
        "napari-bloodcell.sample_giemsa",
        "napari-bloodcell.sample_wright",
        "napari-bloodcell.sample_rapid",
        "napari-bloodcell.sample_three_labs",
        "napari-bloodcell.sample_real",
    }


def test_every_menu_takes_contributions_and_every_entry_has_its_command(manifest):
    menus = pytest.importorskip("napari._app_model.constants").MenuId
    commands = {command.id for command in manifest.contributions.commands}
    allowed = {str(menu) for menu in menus.contributables()}
    assert manifest.contributions.menus
    for menu, entries in manifest.contributions.menus.items():
        assert menu in allowed, f"napari would drop {menu} without a word"
        assert {entry.command for entry in entries} <= commands


@pytest.mark.parametrize(
    "command", ["sample_giemsa", "sample_wright", "sample_rapid", "sample_three_labs", "sample_real"]
)
def test_sample_commands_lead_to_functions(manifest, command):
    assert callable(_python_of(manifest, command))


@pytest.mark.gui
@pytest.mark.parametrize(
    "command", ["classify", "gallery", "differential", "session", "blind", "count", "segment", "train"]
)
def test_widget_commands_lead_to_widgets(manifest, command):
    qt = pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)
    assert issubclass(_python_of(manifest, command), qt.QWidget)


def test_the_three_samples_are_images_of_different_looks():
    from napari_bloodcell.gui import samples

    looks = set()
    for sample in (samples.giemsa, samples.wright, samples.rapid):
        ((pixels, options, kind),) = sample()
        assert kind == "image"
        assert pixels.dtype == "uint8"
        assert pixels.ndim == 3
        assert options["units"] == ("um", "um")
        looks.add(options["metadata"]["napari_bloodcell_sample"]["config"]["look"])
    assert len(looks) == 3


def _python_of(manifest, command):
    from npe2.manifest.utils import import_python_name

    (found,) = [c for c in manifest.contributions.commands if c.id == f"napari-bloodcell.{command}"]
    return import_python_name(found.python_name)
