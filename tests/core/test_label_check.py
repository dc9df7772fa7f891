"""Labels that an evaluation's own answers contradict: wrong ones are found, and nothing is hidden or changed."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluate_parts import draw_labs

from napari_bloodcell.core.config import EvaluateConfig
from napari_bloodcell.core.evaluate import evaluate
from napari_bloodcell.core.evaluate.label_check import _merit

CONFIG = EvaluateConfig(settings="published", folds=3, bootstrap=100)
pytestmark = pytest.mark.usefixtures("no_figures", "own_cache")


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Two labs; in each, two cells carry the label of another class. And the names of those."""
    root = draw_labs(tmp_path_factory.mktemp("mislabelled"), cells=30)
    moved = set()
    for lab in ("north", "south"):
        for was, said in (("lymphocyte", "neutrophil"), ("neutrophil", "lymphocyte")):
            cell = sorted((root / lab / was).glob("*.png"))[3]
            cell.rename(root / lab / said / f"wrong_{cell.name}")
            moved.add(str(root / lab / said / f"wrong_{cell.name}"))
    return root, moved


def listed(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "labels_to_check.csv").read_text().splitlines()))


def test_wrong_labels_come_first_in_table_and_page_and_the_cells_stay_as_they_are(
    mislabelled: tuple[Path, set[str]], tmp_path: Path
) -> None:
    root, moved = mislabelled
    before = {path: path.read_bytes() for path in root.rglob("*.png")}
    found = evaluate([root], ["measurements/random_forest"], tmp_path / "out", CONFIG)
    rows = listed(tmp_path / "out")
    assert len(moved & {row["image"] for row in rows}) >= 3  # of 4; thirty cells a lab are few to learn from
    assert rows[0]["image"] in moved
    assert len(rows) <= 12  # of 60: a list of everything would hold them too
    assert all(row["label"] != row["answer"] for row in rows)
    gaps = [float(row["probability"]) - float(row["probability_of_label"]) for row in rows]
    assert gaps == sorted(gaps, reverse=True)
    assert all(f"→ {row['lab']}" in row["judge"] for row in rows)
    page = (tmp_path / "out" / "labels_to_check.html").read_text()
    assert page.count("data:image/jpeg") == len(rows)
    assert page.index("1. ") < page.index("wrong_")
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())["labels"]
    assert {lab: one["to_check"] for lab, one in stored.items()} == {
        one.lab: len(one.found) for one in found.judged
    }
    assert "## Labels to look at again" in (tmp_path / "out" / "table.md").read_text()
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == before


def test_no_more_cells_are_pictured_than_the_page_says(
    mislabelled: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_bloodcell.core.evaluate.label_check.MOST_PICTURED", 2)
    evaluate([mislabelled[0]], ["measurements/random_forest"], tmp_path / "out", CONFIG)
    page = (tmp_path / "out" / "labels_to_check.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "the first 2 are shown" in page
    assert len(listed(tmp_path / "out")) >= 4


def test_a_bundle_that_learnt_the_labels_does_not_judge_them_where_another_can(
    mislabelled: tuple[Path, set[str]], tmp_path: Path
) -> None:
    root, _ = mislabelled
    config = replace(CONFIG, protocol="leave-one-lab-out")
    found = evaluate([root], ["measurements/random_forest"], tmp_path / "out", config)
    score: Any = found.scores[0]
    bundle = replace(
        score, frozen=True, sees_target=True, metrics={"accuracy": replace(_best(score), value=1.0)}
    )
    assert max([score, bundle], key=_merit) is score
    unseen = replace(bundle, sees_target=False)
    assert max([score, unseen], key=_merit) is unseen


def _best(score: Any) -> Any:
    return score.metrics["accuracy"]
