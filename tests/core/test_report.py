import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from scipy import stats

from napari_bloodcell.core.artifact import hash_of
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.report import (
    count,
    digest_of,
    draw,
    exact_limits,
    to_json,
    to_text,
    write_differential,
)
from napari_bloodcell.core.taxonomy import COARSE, Taxonomy

FINE = CountConfig(level="fine")


def test_none_of_a_hundred_still_allows_3_6_percent() -> None:
    assert exact_limits(0, 100)[1] == pytest.approx(0.0362, abs=1e-4)
    assert exact_limits(0, 400)[1] == pytest.approx(0.0092, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_limits_are_those_of_clopper_and_pearson(pair: tuple[int, int]) -> None:
    n, total = pair
    oracle = stats.binomtest(n, total).proportion_ci(0.95, "exact")
    assert exact_limits(n, total) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


@pytest.mark.parametrize("n", [0, 1, 7, 50])
def test_limits_hold_what_they_promise(n: int) -> None:
    """At the limits themselves the count is just as unlikely as promised."""
    low, high = exact_limits(n, 50)
    assert stats.binom.cdf(n, 50, high) == pytest.approx(0.025) or n == 50
    assert stats.binom.sf(n - 1, 50, low) == pytest.approx(0.025) or n == 0


def test_bands_and_segmented_are_both_neutrophils() -> None:
    labels = ["neutrophil_banded"] * 3 + ["neutrophil_segmented"] * 5 + ["neutrophil", "monocyte"]
    assert count(labels).percent("neutrophil") == pytest.approx(90)
    fine = count(labels, FINE)
    assert {row.class_name: row.n for row in fine.rows if row.n} == {
        "neutrophil_banded": 3,
        "neutrophil_segmented": 5,
        "neutrophil": 1,
        "monocyte": 1,
    }


def test_smudge_cells_and_erythroblasts_are_outside_the_hundred() -> None:
    d = count(["lymphocyte_typical"] * 8 + ["smudge_cell"] * 3 + ["erythroblast"] * 2 + ["platelet"])
    assert d.counted == 8
    assert d.percent("lymphocyte") == pytest.approx(100)
    assert d.outside == {"erythroblast": 2, "platelet": 1, "smudge_cell": 3}
    assert d.per_hundred == {"erythroblast": pytest.approx(25)}
    assert "erythroblast: 25.0 per 100 white cells" in to_text(d)


def test_counts_of_classes_are_the_same_as_their_cells() -> None:
    of_each = {"neutrophil_banded": 3, "neutrophil_segmented": 5, "smudge_cell": 2, UNIDENTIFIED: 4}
    cells = [name for name, n in of_each.items() for _ in range(n)]
    assert count(of_each) == count(cells)
    assert count({"monocyte": 10**9}).counted == 10**9


def test_blasts_are_never_merged() -> None:
    rows = {row.class_name: row.n for row in count(["myeloblast", "promyelocyte", "myeloblast"]).rows}
    assert rows["myeloblast"] == 2
    assert rows["promyelocyte"] == 1


def test_unidentified_cells_show_and_stay_in_the_denominator() -> None:
    d = count([UNIDENTIFIED] * 2 + ["monocyte"] * 2)
    assert (d.counted, d.unidentified) == (4, 2)
    assert d.percent("monocyte") == pytest.approx(50)
    assert d.rows[-1].class_name == UNIDENTIFIED


@given(
    st.lists(st.sampled_from(["neutrophil_banded", "basophil", "smudge_cell", "myeloblast", UNIDENTIFIED]))
)
def test_rows_add_up_to_the_denominator(labels: list[str]) -> None:
    for config in (CountConfig(), FINE):
        d = count(labels, config)
        assert sum(row.n for row in d.rows) == d.counted == len(labels) - labels.count("smudge_cell")
        assert sum(row.percent for row in d.rows) == pytest.approx(100 if d.counted else 0)


def test_mostly_unidentified_is_said_wherever_the_count_is_told(tmp_path: Path) -> None:
    strange = count([UNIDENTIFIED] * 11 + ["eosinophil"] * 9)
    assert "Most of them are unidentified" in to_text(strange)
    write_differential(tmp_path, strange, title="A", parents={})
    assert "Most of them are unidentified" in (tmp_path / "differential.csv").read_text()
    assert to_json(strange)["mostly_unidentified"] is True


@pytest.mark.parametrize(("unsure", "sure"), [(10, 10), (9, 0), (3, 40), (0, 0)])
def test_some_doubt_or_few_cells_are_no_reason_to_warn(unsure: int, sure: int) -> None:
    plain = count([UNIDENTIFIED] * unsure + ["neutrophil"] * sure)
    assert "Most of them" not in to_text(plain)
    assert to_json(plain)["mostly_unidentified"] is False


def test_no_cells_give_an_empty_differential(tmp_path: Path) -> None:
    d = count([])
    assert d.counted == 0
    assert not d.complete
    assert all((row.n, row.percent, row.low, row.high) == (0, 0, 0, 100) for row in d.rows)
    assert "0 white cells counted, 100 more cells to the target of 100" in to_text(d)
    write_differential(tmp_path, d, title="empty", parents={})
    assert (tmp_path / "differential.png").stat().st_size > 1000


def test_target_count_is_reached() -> None:
    assert count(["monocyte"] * 100).complete
    assert "target of 100 reached" in to_text(count(["monocyte"] * 100))
    assert not count(["monocyte"] * 100, CountConfig(target=200)).complete


def test_a_labs_own_class_has_its_parent_or_its_own_row() -> None:
    taxonomy = Taxonomy.of_lab({"hairy cell": "lymphocyte", "mystery": None})
    d = count(["hairy_cell", "mystery"], taxonomy=taxonomy)
    assert d.percent("lymphocyte") == 50
    assert d.percent("mystery") == 50


def test_wider_confidence_gives_wider_limits() -> None:
    narrow, wide = (count(["monocyte", "basophil"] * 20, CountConfig(confidence=c)) for c in (0.8, 0.99))
    for a, b in zip(narrow.rows, wide.rows, strict=True):
        assert b.low <= a.low <= a.percent <= a.high <= b.high


def test_every_report_says_research_use_only(tmp_path: Path) -> None:
    d = count(["monocyte"])
    write_differential(tmp_path, d, title="t", parents={})
    assert "Research use only" in to_text(d)
    assert "Research use only" in (tmp_path / "differential.csv").read_text()
    assert "Research use only" in json.loads((tmp_path / "differential.json").read_text())["research_use"]


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    d = count(["monocyte"] * 3 + ["basophil", "erythroblast"])
    write_differential(tmp_path, d, title="t", parents={})
    rows = list(csv.DictReader((tmp_path / "differential.csv").read_text().splitlines()))
    stored = json.loads((tmp_path / "differential.json").read_text())
    for row, other in zip(rows, stored["rows"], strict=False):
        assert (row["class"], int(row["n"])) == (other["class_name"], other["n"])
        assert float(row["percent"]) == pytest.approx(other["percent"], abs=0.01)
    assert stored["complete"] is False
    assert json.loads(json.dumps(to_json(d)))["counted"] == 4


FOUR = ("neutrophil_banded", "lymphocyte", "monocyte", "eosinophil")  # classes of a model: no basophil


def test_a_class_the_model_cannot_name_has_no_count_and_no_limits(tmp_path: Path) -> None:
    d = count(["monocyte"] * 3 + ["neutrophil_banded"], known=FOUR)
    assert d.unknown == ("basophil",)
    assert [row.class_name for row in d.rows] == [*COARSE[:-1], UNIDENTIFIED]
    said = [line for line in to_text(d).splitlines() if line.startswith("basophil")]
    assert [line.split(maxsplit=3) for line in said] == [["basophil", "-", "-", "not known to this model"]]
    write_differential(tmp_path, d, title="t", parents={})
    (row,) = (
        row
        for row in csv.DictReader((tmp_path / "differential.csv").read_text().splitlines())
        if row["class"] == "basophil"
    )
    assert (row["n"], row["high"], row["in_denominator"]) == ("", "", "no")
    assert row["note"] == "not known to this model"
    assert json.loads((tmp_path / "differential.json").read_text())["unknown"] == ["basophil"]


def test_the_picture_says_which_classes_the_model_cannot_name() -> None:
    axes = Figure().add_subplot()
    draw(axes, count(["monocyte"] * 3, known=FOUR))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["basophil", "unidentified", "eosinophil", "monocyte", "lymphocyte", "neutrophil"]
    at = {text.xy[1]: text.get_text() for text in axes.texts if isinstance(text, Annotation)}
    assert at[0] == "not known to this model"
    assert at[3] == "3  (100.0 %)"


def test_a_class_that_a_person_gave_is_counted_whatever_the_model_knows() -> None:
    d = count(["monocyte", "basophil"], known=FOUR)
    assert (d.percent("basophil"), d.unknown) == (50, ())
    assert count(["monocyte"] * 2, known=FOUR, reviewed=2).unknown == (), "a person looked at every cell"
    assert count(["monocyte"] * 2, known=FOUR, reviewed=1).unknown == ("basophil",)


def test_a_class_that_was_looked_for_and_not_found_has_its_limits() -> None:
    d = count(["monocyte"] * 100, known=["monocyte", "blast", "smudge_cell"])
    (blast,) = [row for row in d.rows if row.class_name == "blast"]
    assert (blast.n, blast.low) == (0, 0)
    assert blast.high == pytest.approx(3.62, abs=0.01)
    assert "smudge_cell" not in [row.class_name for row in d.rows]
    fine = [row.class_name for row in count(["monocyte"], FINE, known=["monocyte", "neutrophil_banded"]).rows]
    assert fine == ["neutrophil_banded", "monocyte", UNIDENTIFIED]


def test_what_was_signed_before_classes_could_be_unknown_stays_signed() -> None:
    d = count(["monocyte"])
    before = {name: value for name, value in to_json(d).items() if name != "unknown"}
    assert digest_of(d, []) == hash_of([before])


def test_limits_bracket_the_truth_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.02, 0.3, 0.6):
        counts = rng.binomial(100, truth, 2000)
        inside = [low <= truth <= high for low, high in (exact_limits(int(n), 100) for n in counts)]
        assert np.mean(inside) >= 0.95 - 0.011  # exact limits never promise too much; noise of 2000 draws
