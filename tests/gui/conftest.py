"""What the GUI tests share. Without a Qt binding or a screen they are skipped, each file with the reason."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from napari.viewer import Viewer

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def why_not() -> str | None:
    if not any(find_spec(name) for name in BINDINGS):
        return f"no Qt binding ({', '.join(BINDINGS)}): pip install napari[all]"
    if find_spec("pytestqt") is None:
        return "no pytest-qt: pip install napari-bloodcell[test]"
    has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return None if has_screen else "no display: run under `xvfb-run -a`"


class _Skipped(pytest.Module):
    """A test file that is not even imported: its imports need what is missing."""

    def collect(self) -> Any:
        pytest.skip(why_not() or "", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    return _Skipped.from_parent(parent, path=module_path) if why_not() else None


@pytest.fixture(scope="session", autouse=True)
def libraries() -> None:
    # Ours comes before torchvision: gui/task.py says why.
    for name in ("napari.qt", "sklearn.ensemble", "napari_bloodcell.gui.task", "torchvision"):
        import_module(name)


@pytest.fixture(autouse=True)
def libraries_out_of_the_collector(libraries: None) -> Iterator[None]:
    """Each window that a test closes, and each layer that it takes away, is followed by a look through all objects
    for garbage: half a second with those of the libraries, which never are. Some come with the first window."""
    _freeze_what_is_new()
    yield
    _freeze_what_is_new()


_frozen = 0


def _freeze_what_is_new() -> None:
    global _frozen  # noqa: PLW0603
    if len(sys.modules) > _frozen:
        gc.collect()
        gc.freeze()
        _frozen = len(sys.modules)


@pytest.fixture(scope="session", autouse=True)
def manifests_read_once() -> Iterator[None]:
    """napari reads those of all plugins with each window, and again for its preferences."""
    from npe2 import PluginManifest

    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda *_, **__: iter(found))
        yield


@pytest.fixture(autouse=True)
def own_preferences(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Preferences of the test alone: napari writes each change to the disk at once, and a test may be killed."""
    from napari import settings

    from napari_bloodcell.gui import preferences, reader_name

    if hasattr(settings, "_PLUGIN_SETTINGS"):
        folder = tmp_path_factory.mktemp("preferences")
        monkeypatch.setattr(settings, "_CFG_PATH", str(folder / "settings.yaml"))
        monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})
    yield
    reader_name._said().name = ""
    for variable in list(preferences._set_by_us):
        os.environ.pop(variable, None)
    preferences._set_by_us.clear()


@pytest.fixture(scope="session")
def smear() -> Any:
    """A small synthetic field with its truth."""
    from napari_bloodcell.core.config import SmearConfig
    from napari_bloodcell.core.synthetic import make_smear

    return make_smear(SmearConfig(width_px=420, height_px=320, um_per_px=0.1, white_cells=4, seed=3))


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Any]:
    """The chain with invented classes instead of a model: what counting gives, fast and always the same."""
    from napari_bloodcell.core.bundle import Bundle
    from napari_bloodcell.core.crop import crop
    from napari_bloodcell.core.embed.measurements import MeasurementEmbedder, measure
    from napari_bloodcell.core.pipeline import Analysis
    from napari_bloodcell.core.records import Predictions
    from napari_bloodcell.core.report import count
    from napari_bloodcell.core.segment import StainSegmenter

    names = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "erythroblast")

    def analyse(picture: Any, bundle: str, config: Any, progress: Any) -> Any:
        smear = picture.read(config.read)
        masks = StainSegmenter().segment(smear, config.segment, progress=progress)
        crops = crop(smear, masks, config.crop, progress=progress)
        measured = measure(crops, progress=progress)
        kinds = masks.cell_id % len(names)
        labels = np.asarray(names, dtype=np.str_)[kinds]
        predictions = Predictions(
            cell_id=masks.cell_id,
            class_names=names,
            probabilities=np.eye(len(names), dtype=np.float32)[kinds],
            labels=labels,
            doubt=("",) * len(masks),
            distance=np.zeros(len(masks), np.float32),
        )
        embedder = MeasurementEmbedder()
        model: Any = Bundle(
            name=bundle,
            title="made up",
            hash="0" * 64,
            segmenter=StainSegmenter(),
            embedder=embedder,
            classifier=SimpleNamespace(calibration=SimpleNamespace(basis="nothing"), class_names=names),
            scores={},
            card="",
        )
        analysis = Analysis(
            image=smear,
            masks=masks,
            measurements=measured,
            embeddings=embedder.from_table(measured),
            predictions=predictions,
            differential=count(list(labels), config.count),
            bundle=model,
            config=config,
        )
        return analysis, analysis.table()

    return analyse


@pytest.fixture
def viewer(make_napari_viewer: Any, qtbot: Any) -> "Iterator[Viewer]":
    """The real napari window on a small laptop's screen. After the test nothing may still be running."""
    from napari_bloodcell.gui.task import under_way

    window = make_napari_viewer(show=True)
    window.window._qt_window.resize(1366, 768)
    yield window
    qtbot.waitUntil(lambda: under_way() == 0, timeout=180_000)


@pytest.fixture
def open_panel(viewer: "Viewer", qtbot: Any) -> Callable[[str], Any]:
    """Opens a panel by the name in the manifest, as the menu does."""

    def open_it(name: str) -> Any:
        panel = viewer.window.add_plugin_dock_widget("napari-bloodcell", name)[1]
        qtbot.waitUntil(panel.isVisible)
        return panel

    return open_it


@pytest.fixture
def click(qtbot: Any) -> Callable[[Any], None]:
    from qtpy.QtCore import Qt

    def press(button: Any) -> None:
        assert button.isEnabled(), f"{button.text()} is disabled"
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return press


@pytest.fixture
def wait(qtbot: Any) -> Callable[[Any], None]:
    """Until a panel's task, started before, is done."""

    def until_done(panel: Any) -> None:
        qtbot.waitUntil(lambda: not panel.task.busy, timeout=180_000)

    return until_done


@pytest.fixture
def deaf(qtbot: Any) -> Iterator[Any]:
    """A call that hears of no Cancel until the end of the test, or until ``end()``; and that has ``begun``."""
    from threading import Event

    from napari_bloodcell.gui.task import under_way

    begun, gate = Event(), Event()

    def call(*given: Any) -> str:
        given[-1]("Pretending", 1, 2)
        begun.set()
        gate.wait(60)
        return "nobody should see this"

    def end() -> None:
        gate.set()
        qtbot.waitUntil(lambda: under_way() == 0, timeout=60_000)
        qtbot.wait(20)

    yield SimpleNamespace(call=call, end=end, begun=begun)
    gate.set()


@pytest.fixture
def press_run(click: Any, wait: Any) -> Callable[[Any], None]:
    """Press a panel's Run and wait for its end."""

    def run(panel: Any) -> None:
        click(panel.task.run_button)
        assert not panel.task.run_button.isEnabled()
        wait(panel)

    return run


@pytest.fixture
def add_smear(viewer: "Viewer", smear: Any) -> Callable[[], Any]:
    def add() -> Any:
        return viewer.add_image(smear.image.pixels.copy(), name="smear", scale=(0.1, 0.1), units=("um", "um"))

    return add


@pytest.fixture
def add_counted(viewer: "Viewer", add_smear: Any, made_up: Any) -> Callable[..., Any]:
    """Adds an image with its cells outlined and classified, as counting leaves them; gives the cells layer."""
    from napari_bloodcell.core.config import AnalyseConfig
    from napari_bloodcell.core.progress import silent
    from napari_bloodcell.gui import layers

    def add(name: str, *, turned: bool = False) -> Any:
        """``turned``: another picture, of the same size."""
        image = add_smear()
        image.name = name
        if turned:
            image.data = np.ascontiguousarray(image.data[::-1, ::-1])
        taken = layers.picture_of(image, viewer)
        analysis, table = made_up(taken, "nano", AnalyseConfig(), silent)
        list(layers.add_analysis(viewer, taken, analysis, table, layers.rims_of(analysis.masks.labels)))
        return viewer.layers[-1]

    return add


@pytest.fixture
def counted_planes(viewer: "Viewer", smear: Any, made_up: Any) -> list[Any]:
    """A stack of two fields, "stack", with the cells of either; the second is the one that is shown."""
    from napari_bloodcell.core.config import AnalyseConfig
    from napari_bloodcell.core.progress import silent
    from napari_bloodcell.gui import layers

    pixels = smear.image.pixels
    stack = viewer.add_image(np.stack([pixels, pixels[::-1]]), name="stack", rgb=True)
    cells = []
    for plane in range(2):
        viewer.dims.set_point(0, plane)
        taken = layers.picture_of(stack, viewer)
        analysis, table = made_up(taken, "nano", AnalyseConfig(), silent)
        list(layers.add_analysis(viewer, taken, analysis, table, layers.rims_of(analysis.masks.labels)))
        cells.append(viewer.layers[-1])
    return cells


@pytest.fixture
def no_session_stays_open() -> Iterator[None]:
    from napari_bloodcell.gui import autosave

    yield
    for one in autosave.opened():
        one.close()


@pytest.fixture
def counted(add_counted: Any) -> Any:
    return add_counted("smear")


@pytest.fixture
def differential(open_panel: Callable[[str], Any], counted: Any, qtbot: Any) -> Any:
    """The panel, with the counted cells in it and ada at the screen."""
    panel = open_panel("Differential")
    panel.reader.setText("ada")
    qtbot.waitUntil(lambda: panel.shown is not None, timeout=60_000)
    return panel
