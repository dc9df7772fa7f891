"""BC-SAM, DoRL and SADA through the panel "Train": drawn cells of two labs, real trainings of a few steps."""

import numpy as np
import pytest

from napari_bloodcell.core.bundle.kept import kept_bundles
from napari_bloodcell.core.config import (
    AlignConfig,
    BackboneConfig,
    BcsamConfig,
    DorlConfig,
    FeatureConfig,
    SadaConfig,
    TrainConfig,
)

pytestmark = pytest.mark.gui

METHODS = ("bcsam", "dorl", "sada")
LOOP = TrainConfig(epochs=2, learning_rate=1e-3, device="cpu")
FEW, SMALL = AlignConfig(held_out=0.3), FeatureConfig(input_px=64, device="cpu")
QUICK = {
    "bcsam": {"bcsam": BcsamConfig(align=FEW, features=SMALL, batch=8), "training": LOOP},
    "dorl": {
        "dorl": DorlConfig(align=FEW, features=SMALL, batch=8, depth=1, decoder_depth=1),
        "training": LOOP,
    },
    "sada": {
        "sada": SadaConfig(per_lab=2, steps_per_epoch=1, held_out=0.3, two_stages=False),
        "backbone": BackboneConfig(backbone="small", weights="none", size_px=32),
        "training": LOOP,
    },
}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))


def draw_lab(folder, look, seed):
    from PIL import Image

    from napari_bloodcell.core.synthetic import make_cells

    for name, kind in (("monocyte", "monocyte"), ("lymphocyte", "lymphocyte_typical")):
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(
            make_cells(6, seed=seed, size_px=96, look=look, classes=[kind]).pixels
        ):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    root = tmp_path_factory.mktemp("labs")
    draw_lab(root / "north", "giemsa_blue", 4)
    draw_lab(root / "south", "rapid_yellow", 5)
    return root


@pytest.fixture
def ready(open_panel, click, labs, tmp_path):
    """The panel with a method chosen, the folder added and the settings made small."""
    panel = open_panel("Train")

    def choose(method, folder=labs, epochs=2):
        from dataclasses import replace

        panel.method_box.value = method
        for name, config in QUICK[method].items():
            panel.form(name).set(replace(config, epochs=epochs) if config is LOOP else config)
        panel.data.ask_folder = lambda: folder
        click(panel.data.add_button)
        panel.out.value = tmp_path / f"my {method}"
        return panel

    return choose


def is_made(out, method):
    return (out / "embedder.safetensors").is_file() if method != "sada" else (out / "bundle").is_dir()


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_with_curves_and_what_is_kept_is_offered(
    ready, method, press_run, click, wait, open_panel
):
    panel = ready(method)
    out = panel.out.value
    press_run(panel)
    assert panel.trained is not None, panel.task.message.text()
    assert len(panel.curves.losses()) == len(panel.curves.scores()) == 2
    assert np.isfinite(panel.curves.losses()).all()
    assert panel.result.isVisible()
    assert "after 2 epochs" in panel.result.words.text()
    assert is_made(out, method)
    click(panel.result.keep_button)
    wait(panel)
    assert panel.task.message.text().startswith("Kept: ")
    if method == "sada":
        (file,) = kept_bundles()
        assert file.name == "my sada.bloodcell"
        count = open_panel("Count cells")
        count.model.box.opening.emit()
        assert count.model.box.findData(str(file)) >= 0
    else:
        embed = open_panel("Embed")
        wait(embed)
        embed.way.opening.emit()
        assert f"Embedder my {method}" in [embed.way.itemText(row) for row in range(embed.way.count())]


@pytest.mark.parametrize("method", METHODS)
def test_stop_keeps_the_best_epoch_and_train_goes_on_from_it(ready, method, click, wait, qtbot):
    panel = ready(method, epochs=2000)
    out = panel.out.value
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: len(panel.curves.epochs) >= 2, timeout=60_000)
    click(panel.task.cancel_button)
    wait(panel)
    assert panel.task.message.text().startswith("Stopped."), panel.task.message.text()
    assert is_made(out, method)
    done = len(panel.trained.run.history)
    assert 2 <= done < 2000
    click(panel.task.run_button)
    qtbot.waitUntil(lambda: len(panel.curves.epochs) > done, timeout=60_000)
    click(panel.task.cancel_button)
    wait(panel)
    assert [one.number for one in panel.trained.run.history] == list(
        range(1, len(panel.trained.run.history) + 1)
    )
    panel.ask_sure = lambda _folder: True
    click(panel.result.discard_button)
    wait(panel)
    assert not any(path.is_file() for path in out.rglob("*"))


@pytest.mark.parametrize("method", METHODS)
def test_cells_of_one_lab_only_are_refused_and_nothing_stays(ready, method, press_run, tmp_path):
    draw_lab(tmp_path / "alone" / "north", "giemsa_blue", 4)
    panel = ready(method, tmp_path / "alone")
    out = panel.out.value
    press_run(panel)
    said = panel.task.message.text()
    assert "lab" in said, said
    assert "should not happen" not in said
    assert panel.trained is None
    assert not out.exists()
