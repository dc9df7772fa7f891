"""From result folders to what is printed and kept."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from napari_bloodcell.core.config import AnalyseConfig, CountConfig, ReadConfig, SmearConfig
from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.errors import ArtifactError, DataError
from napari_bloodcell.core.pipeline import analyse
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.report import count, exact_limits
from napari_bloodcell.core.report.agreement import agreement, agreements, alpha_of, joined
from napari_bloodcell.core.report.enough import enough
from napari_bloodcell.core.report.gallery import SIDE_PX, _doubtful, picture_of
from napari_bloodcell.core.report.make import make_report
from napari_bloodcell.core.report.readers import Reader, merge, read_readers, read_table
from napari_bloodcell.core.store import write_analysis
from napari_bloodcell.core.synthetic import make_smear

# Enough cells


def test_enough_needs_the_target_and_close_limits() -> None:
    few, many = count(["monocyte", "basophil"] * 30), count(["monocyte", "basophil"] * 60)
    assert not enough(few, 10).now
    assert enough(few, 10).more >= 40
    assert enough(many, 10).now
    assert enough(many, 10).text().startswith("Enough cells now: 120 counted")
    assert not enough(many, 3).now


def test_the_cells_still_needed_are_those_that_make_the_limits_close() -> None:
    d = count(["monocyte"] * 60 + ["neutrophil"] * 60)
    found = enough(d, 5)
    total = d.counted + found.more
    low, high = exact_limits(total / 2, total)
    assert 50 * (high - low) <= 5
    low, high = exact_limits((total - 1) / 2, total - 1)
    assert 50 * (high - low) > 5


def test_cells_to_the_target_and_those_to_close_limits_are_told_apart() -> None:
    few = count(["monocyte"] * 15 + ["neutrophil"] * 15)
    found = enough(few, 9)
    assert found.more > 70
    assert found.text() == (
        f"Not enough cells yet: 70 more to the target of 100, about {found.more} more until neutrophil, now "
        "known to ± 18.7 points, is known to ± 9."
    )
    assert enough(few, 15).text() == (
        "Not enough cells yet: 70 more to the target of 100, by which neutrophil, now known to ± 18.7 points, is "
        "likely known to ± 15."
    )
    assert enough(few, 20).text() == (
        "Not enough cells yet: 70 more to the target of 100; neutrophil is known to ± 18.7 points."
    )
    many = count(["monocyte"] * 60 + ["neutrophil"] * 60)
    assert (
        enough(many, 5).text().startswith("Not enough cells yet: about 282 more until neutrophil, now known")
    )


def test_no_cells_are_not_enough() -> None:
    nothing = enough(count([]), 10)
    assert (nothing.now, nothing.more) == (False, 100)
    assert nothing.text() == "No cells yet: count 100 at least."


# Readers


def reader(name: str, answers: dict[int, str]) -> Reader:
    return Reader(name=name, answers={("a.png", cell): said for cell, said in answers.items()})


def test_kappa_is_that_of_scikit_learn_and_its_limits_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        a = rng.choice(["x", "y", "z"], 150, p=[0.6, 0.3, 0.1])
        b = np.where(rng.random(150) < 0.8, a, rng.choice(["x", "y", "z"], 150, p=[0.6, 0.3, 0.1]))
        found = agreement(reader("a", dict(enumerate(a))), reader("b", dict(enumerate(b))))
        assert found.kappa == pytest.approx(cohen_kappa_score(a, b))
        assert found.low is not None
        assert found.high is not None
        inside.append(found.low <= 0.8 <= found.high)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_readers_of_one_class_have_no_kappa_and_those_without_a_common_cell_none_either() -> None:
    same = agreement(reader("a", {1: "x", 2: "x"}), reader("b", {1: "x", 2: "x"}))
    assert same.kappa is None
    assert "kappa is not defined" in same.text()
    apart = agreement(reader("a", {1: "x"}), reader("b", {2: "x"}))
    assert apart.text() == "a and b looked at no cell in common."


def test_two_who_agree_on_all_cells_are_not_known_to_agree_on_every_cell_to_come() -> None:
    said = {cell: "xy"[cell % 2] for cell in range(30)}
    found = agreement(reader("a", said), reader("b", said))
    assert (found.kappa, found.high) == (1, 1)
    assert found.low == pytest.approx(2 * exact_limits(30, 30)[0] - 1)  # chance alone gives a half
    assert "95 % limits 0.77 to 1.00" in found.text()


def readers(answers: str) -> list[Reader]:
    """A line a reader, a letter a cell, a dot where nothing was said."""
    return [
        reader(f"reader {at}", {cell: said for cell, said in enumerate(line.split()) if said != "."})
        for at, line in enumerate(answers.strip().splitlines())
    ]


# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), sections A, B and C, and the computational
# example of Wikipedia's article.
TWO_OF_TEN = """
0 1 0 0 0 0 0 0 1 0
1 1 1 0 0 1 0 0 0 0
"""
FOUR_OF_TWELVE = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
THREE_OF_FIFTEEN = """
. . . . . 3 4 1 2 1 1 3 3 . 3
1 . 2 1 3 3 4 3 . . . . . . .
. . 2 1 3 4 4 . 2 1 1 3 3 . 4
"""


@pytest.mark.parametrize(
    ("answers", "published"), [(TWO_OF_TEN, 0.095), (FOUR_OF_TWELVE, 0.743), (THREE_OF_FIFTEEN, 0.691)]
)
def test_alpha_is_that_of_published_examples(answers: str, published: float) -> None:
    assert alpha_of(readers(answers)) == pytest.approx(published, abs=0.0006)


def test_three_readers_are_compared_in_pairs_and_all_together() -> None:
    found = agreements(readers(FOUR_OF_TWELVE))
    assert found is not None
    assert [pair.readers for pair in found.pairs][:2] == [("reader 0", "reader 1"), ("reader 0", "reader 2")]
    assert len(found.texts()) == 7
    assert found.texts()[-1] == (
        "All 4 readers: Krippendorff's alpha 0.74 (fewer than 20 cells: too few for its limits) of the 11 cells "
        "that two or more have named."
    )
    assert (("a.png", 5), ("1", "2", "3", "4")) in found.disputed
    assert (("a.png", 1), ("2", "2", "3", "2")) in found.disputed
    assert found.to_json()["alpha"] == found.alpha


def drawn_readers(cells: int, dice: np.random.Generator) -> list[Reader]:
    """Three who see one class of four and slip in a fifth of the cells; the second named two thirds of them."""
    truth = dice.choice(4, cells, p=[0.6, 0.2, 0.15, 0.05])
    slips = dice.random((3, cells)) < 0.2
    said = np.where(slips, dice.integers(0, 4, (3, cells)), truth)
    there = np.ones((3, cells), bool)
    there[1] = dice.random(cells) < 2 / 3
    return [
        reader(f"reader {at}", {cell: str(said[at, cell]) for cell in np.flatnonzero(there[at]).tolist()})
        for at in range(3)
    ]


def test_the_limits_of_alpha_hold_it_as_often_as_they_say() -> None:
    dice = np.random.default_rng(5)
    truth = alpha_of(drawn_readers(30_000, dice))
    assert truth is not None
    held = []
    for _ in range(200):
        found = agreements(drawn_readers(120, dice))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= truth <= found.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_the_limits_of_alpha_are_those_of_a_plain_loop_over_cells() -> None:
    dice = np.random.default_rng(6)
    some = drawn_readers(60, dice)
    found = agreements(some)
    assert found is not None
    alphas = []
    for _ in range(400):
        drawn = dice.integers(0, 60, 60)
        again = [
            reader(one.name, {at: one.answers[here, cell]
                              for at, cell in enumerate(drawn.tolist())
                              for here in ["a.png"] if (here, cell) in one.answers})
            for one in some
        ]  # fmt: skip
        alphas.append(alpha_of(again))
    assert (found.low, found.high) == pytest.approx(np.quantile(alphas, [0.025, 0.975]), abs=0.04)
    assert found.to_json()["alpha_low"] == found.low
    assert f"({found.alpha:.2f}" not in found.texts()[-1]
    assert f"(95 % limits {found.low:.2f} to {found.high:.2f}) of the" in found.texts()[-1]


def test_three_who_agree_on_all_may_still_differ_on_the_next_cell() -> None:
    line = " ".join(["x y"] * 15)
    found = agreements(readers(f"{line}\n{line}\n{line}"))
    assert found is not None
    assert found.alpha == 1
    assert found.high == 1
    assert found.low == pytest.approx(1 - 2 * (1 - 0.8843), abs=0.02)


def test_one_class_alone_has_no_alpha_and_readers_apart_are_not_compared() -> None:
    found = agreements(readers("x x\nx x\nx x"))
    assert found is not None
    assert found.alpha is None
    assert "is not defined" in found.texts()[-1]
    apart = readers("x . .\n. x .\n. . x")
    assert agreements(apart) is None
    told = agreements(apart, always=apart[:2])
    assert told is not None
    assert told.text() == "reader 0 and reader 1 looked at no cell in common."
    assert agreements(apart[:1]) is None


def test_one_person_at_two_places_is_one_reader() -> None:
    table, session = reader("ada", {1: "x"}), reader("ada", {1: "y", 2: "y"})
    (ada,) = joined([table], [session])
    assert ada.answers == {("a.png", 1): "x", ("a.png", 2): "y"}


def test_a_third_reader_decides_and_without_one_the_cell_is_unidentified() -> None:
    first, second = reader("a", {1: "x", 2: "x", 3: "x"}), reader("b", {1: "x", 2: "y"})
    third = reader("c", {2: "y"})
    assert merge([first, second]) == {("a.png", 1): "x", ("a.png", 2): UNIDENTIFIED, ("a.png", 3): "x"}
    assert merge([first, second, third])[("a.png", 2)] == "y"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,cell\na,1\n", "needs the columns image, cell_id, cell_type; it has image, cell"),
        ("", "it has no rows"),
        (
            "image,cell_id,cell_type\na.png,1,monocit\n",
            "line 2: Unknown class 'monocit'. Did you mean 'monocyte'",
        ),
        ("image,cell_id,cell_type\na.png,one,monocyte\n", "line 2: cell_id 'one' is no whole number"),
        ("image,cell_id,cell_type\na.png,1,mono\na.png,1,eos\n", "line 3: cell 1 of a.png is there twice"),
    ],
)
def test_a_bad_readers_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "anna.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        read_table(tmp_path / "anna.csv")


def test_a_readers_words_are_understood_and_empty_cells_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "anna.csv").write_text("image,cell_id,cell_type\na,1,Band\na,2,\na,3,unidentified\n")
    (anna,) = read_table(tmp_path / "anna.csv")
    assert anna.answers == {
        ("a", 1): "neutrophil_banded",
        ("a", 3): UNIDENTIFIED,
    }


def test_readers_are_called_as_the_column_person_says(tmp_path: Path) -> None:
    head = "image,cell_id,cell_type,person\n"
    (tmp_path / "t1.csv").write_text(head + "a,1,monocyte,Ada\na,2,basophil,\na,1,basophil,Bo\n")
    ada, bo = read_table(tmp_path / "t1.csv")
    assert (ada.name, ada.answers) == ("Ada", {("a", 1): "monocyte"})
    assert (bo.name, bo.answers) == ("Bo", {("a", 1): "basophil"})
    (tmp_path / "t2.csv").write_text(head + "a,3,monocyte,Ada\n")  # another day
    both = read_readers([tmp_path / "t1.csv", tmp_path / "t2.csv"])
    assert [(one.name, len(one.answers)) for one in both] == [("Ada", 2), ("Bo", 1)]
    (tmp_path / "t2.csv").write_text(head + "a,1,eosinophil,Ada\n")  # the same cell once more
    both = read_readers([tmp_path / "t1.csv", tmp_path / "t2.csv"])
    assert [one.name for one in both] == ["Ada (t1.csv)", "Ada (t2.csv)", "Bo"]
    (tmp_path / "t1.csv").write_text(head + "a,1,monocyte,\n")
    (nobody,) = read_table(tmp_path / "t1.csv")
    assert (nobody.name, nobody.answers) == ("t1", {})


def test_files_of_one_name_are_two_readers(tmp_path: Path) -> None:
    for folder, cell in (("ada", 1), ("bo", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cells.csv").write_text(f"image,cell_id,cell_type\na,{cell},monocyte\n")
    tables = [tmp_path / "ada" / "cells.csv", tmp_path / "bo" / "cells.csv"]
    assert [one.name for one in read_readers(tables)] == [f"cells ({table})" for table in tables]


def test_rows_the_model_answered_are_no_persons_answers(tmp_path: Path) -> None:
    rows = "a,1,basophil,bundle nano 12\na,2,monocyte,person anna\na,3,eosinophil,\n"
    (tmp_path / "cells.csv").write_text("image,cell_id,cell_type,cell_type_source\n" + rows)
    (reader,) = read_table(tmp_path / "cells.csv")
    assert reader.answers == {("a", 2): "monocyte", ("a", 3): "eosinophil"}


# The report


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fields of two cells each, of two slides; one has markup in its name."""
    root = tmp_path_factory.mktemp("results")
    for seed, name in ((2, "one"), (5, "<b>two")):
        config = SmearConfig(width_px=360, height_px=260, white_cells=2, seed=seed)
        picture = root / "pictures" / name / "field.png"
        picture.parent.mkdir(parents=True)
        Image.fromarray(np.array(make_smear(config).image.pixels)).save(picture)
        reading = AnalyseConfig(read=ReadConfig(um_per_px=config.um_per_px))
        write_analysis(root / "out" / f"field-{seed}", analyse(picture, "nano", reading))
    return root / "out"


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href"} and value and not value.startswith(("data:", "#")):
                self.outside.append(value)
            assert tag != "script"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone_and_shows_what_was_counted(results: Path, tmp_path: Path) -> None:
    made = make_report([results], tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert not page.outside
    words = " ".join(page.words)
    assert "Research use only. Not for diagnosis." in words
    assert "No cell was reviewed by a person" in words
    assert "alibrated on" in words
    assert made.pooled.enough.text() in words
    assert "<b>two" in words  # the slide's name, not markup
    assert text.count("data:image/jpeg;base64,") == len(made.table)
    for run in made.runs:
        assert str(run.image["sha256"])[:12] in words


def test_every_form_says_the_same(results: Path, tmp_path: Path) -> None:
    made = make_report([results], tmp_path)
    stored = json.loads((tmp_path / "report.json").read_text())
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    cells = pd.read_parquet(tmp_path / "cells.parquet")
    assert len(pd.read_csv(tmp_path / "cells.csv")) == len(cells) == len(made.table) == 4
    assert {slide["slide"] for slide in stored["slides"]} == {"one", "<b>two"}
    pooled = {row["class"]: row for row in rows if row["slide"] == "All slides"}
    for row in stored["pooled"]["differential"]["rows"]:
        assert int(pooled[row["class_name"]]["n"]) == row["n"]
        assert row["n"] == sum(
            other["n"]
            for slide in stored["slides"]
            for other in slide["differential"]["rows"]
            if other["class_name"] == row["class_name"]
        )
    assert stored["runs"][0]["bundle"]["sha256"]
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert (tmp_path / "report.pdf").stat().st_size > 10_000


def answers(path: Path, table: pd.DataFrame, said: list[str]) -> Path:
    rows = zip(table["source"], table["cell_id"], said, strict=True)
    lines = ["image,cell_id,cell_type", *(f"{image},{cell},{name}" for image, cell, name in rows)]
    path.write_text("\n".join(lines))
    return path


def test_readers_replace_the_model_and_are_compared(results: Path, tmp_path: Path) -> None:
    table = make_report([results], tmp_path / "first").table
    anna = answers(tmp_path / "anna.csv", table, ["basophil"] * 4)
    ben = answers(tmp_path / "ben.csv", table, ["basophil", "basophil", "basophil", "monocyte"])
    made = make_report([results], tmp_path / "second", readers=[anna, ben])
    assert made.pooled.differential.reviewed == 4
    assert list(made.table["cell_type"]) == ["basophil"] * 3 + [UNIDENTIFIED]
    assert set(made.table["cell_type_source"]) == {"person anna and ben"}
    assert made.agreement is not None
    assert [(pair.agreed, pair.cells) for pair in made.agreement.pairs] == [(3, 4)]
    assert not made.doubtful  # all were looked at
    text = (tmp_path / "second" / "report.html").read_text()
    assert "Cells the readers disagree on" in text
    assert "4 of 4 cells were reviewed by a person" in text


def test_every_form_of_a_report_has_each_pair_of_three_readers(results: Path, tmp_path: Path) -> None:
    table = make_report([results], tmp_path / "first").table
    said = {"anna": ["basophil"] * 4, "ben": ["basophil"] * 3 + ["monocyte"], "cleo": ["monocyte"] * 4}
    people = [answers(tmp_path / f"{name}.csv", table, kinds) for name, kinds in said.items()]
    made = make_report([results], tmp_path / "report", readers=people)
    assert made.agreement is not None
    assert [pair.readers for pair in made.agreement.pairs] == [
        ("anna", "ben"),
        ("anna", "cleo"),
        ("ben", "cleo"),
    ]
    page = (tmp_path / "report" / "report.html").read_text()
    assert all(text.replace("'", "&#x27;") in page for text in made.agreement.texts())
    assert "All 3 readers: Krippendorff" in page
    assert "<td>basophil</td><td>monocyte</td><td>monocyte</td>" in page
    assert set(made.agreement.texts()) <= set(made.said_by_people())  # what the terminal prints
    body = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [pair["cells"] for pair in body["agreement"]["pairs"]] == [4, 4, 4]


def test_an_answer_that_fits_no_cell_or_two_is_refused(results: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("image,cell_id,cell_type\nfield.png,99,monocyte\n")
    with pytest.raises(
        DataError, match="1 answers of wrong fit no cell of these results; the first is cell 99"
    ):
        make_report([results], tmp_path / "out", readers=[wrong])
    wrong.write_text("image,cell_id,cell_type\nfield.png,1,monocyte\n")
    with pytest.raises(DataError, match="Two images are called 'field.png'"):
        make_report([results], tmp_path / "out", readers=[wrong])
    assert not list((tmp_path / "out").iterdir())


def test_one_table_is_not_two_readers(results: Path, tmp_path: Path) -> None:
    table = make_report([results], tmp_path / "first").table
    anna = answers(tmp_path / "anna.csv", table, ["basophil"] * 4)
    with pytest.raises(DataError, match="is given as two readers: it would agree with itself"):
        make_report([results], tmp_path / "out", readers=[anna, tmp_path / "." / "anna.csv"])
    assert not (tmp_path / "out").exists()
    ben = answers(tmp_path / "ben.csv", table, ["basophil"] * 4)
    made = make_report([results], tmp_path / "out", readers=[anna, ben])
    assert made.warnings == (f"The tables {anna} and {ben} are the same.",)


def test_readers_who_name_the_images_in_two_ways_are_compared(results: Path, tmp_path: Path) -> None:
    table = make_report([results], tmp_path / "first").table
    anna = answers(tmp_path / "anna.csv", table, ["basophil"] * 4)
    part = table.assign(source=[str(Path(source).relative_to(results.parent)) for source in table["source"]])
    ben = answers(tmp_path / "ben.csv", part, ["basophil"] * 3 + ["monocyte"])
    made = make_report([results], tmp_path / "second", readers=[anna, ben])
    assert made.agreement is not None
    assert [(pair.agreed, pair.cells) for pair in made.agreement.pairs] == [(3, 4)]
    columns = table[["image", "source", "cell_id"]].assign(
        cell_type="monocyte", cell_id=table["cell_id"] * 1.0
    )
    columns.to_csv(tmp_path / "carl.csv")  # as pandas writes it
    assert make_report([results], tmp_path / "third", readers=[tmp_path / "carl.csv"]).table["reviewed"].all()


def test_an_edited_result_is_refused_and_the_same_image_counts_once(results: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    made = make_report([results, copy], tmp_path / "out")
    assert len(made.table) == 4
    assert sum("it is counted once" in note for note in made.notes) == 2
    path = next(copy.rglob("cells.parquet"))
    pd.read_parquet(path).iloc[:1].to_parquet(path)
    with pytest.raises(ArtifactError, match="was changed after the analysis"):
        make_report([copy], tmp_path / "out")


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no finished analysis: there is no run\.json"):
        make_report([tmp_path], tmp_path / "out")
    with pytest.raises(DataError, match="is no folder"):
        make_report([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["field-2", ".", "session", "tables"])
def test_a_report_takes_no_other_files_place(results: Path, tmp_path: Path, place: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    (copy / "ledger.jsonl").write_text("")
    for folder, name in (("session", "session.json"), ("tables", "cells.csv")):
        (copy / folder).mkdir()
        (copy / folder / name).write_text("mine")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(ArtifactError, match="Name a new folder, or that of an earlier report, for --out"):
        make_report([results], copy / place)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    for _ in range(2):
        make_report([results], copy / "report")


def test_a_field_without_cells_makes_a_report(tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((80, 80, 3), (230, 220, 240), np.uint8)).save(blank)
    write_analysis(tmp_path / "res" / "blank", analyse(blank, "nano"))
    made = make_report([tmp_path / "res"], tmp_path / "out")
    assert made.pooled.differential.counted == 0
    Page((tmp_path / "out" / "report.html").read_text())
    assert "No cells yet" in (tmp_path / "out" / "report.html").read_text()


def test_a_picture_that_is_gone_or_changed_is_not_shown(results: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(results.parent, moved)
    made = make_report([results], tmp_path / "out", ReportConfig(gallery=2))
    assert [cell.pixels is not None for cell in made.doubtful] == [True, True]
    source = Path(str(made.table["source"].iloc[0]))
    kept = source.read_bytes()
    try:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(source)
        again = make_report([results], tmp_path / "out")
    finally:
        source.write_bytes(kept)
    shown = {(cell.image, cell.cell_id, cell.pixels is not None) for cell in again.doubtful}
    assert sum(there for _, _, there in shown) < len(again.doubtful)
    assert "image not there, or changed" in (tmp_path / "out" / "report.html").read_text()


def test_what_lies_beyond_the_picture_is_white_and_the_cell_said_to_be_cut_off() -> None:
    pixels = np.full((60, 80, 3), (200, 90, 160), np.uint8)
    shown = picture_of(pixels, (0, 10, 40, 50))  # with its margin, from x = -10 to 50
    assert shown is not None
    beyond = round(10 / 60 * SIDE_PX)
    assert (shown[:, : beyond - 1] == 255).all()
    assert (shown[:, beyond + 1 :] == (200, 90, 160)).all()
    row = {"image": "a.png", "cell_id": 1, "cell_type": "monocyte", "best": "monocyte", "second": ""}
    row |= {"cell_type_prob": 0.9, "second_prob": 0.0, "x0": 0, "y0": 10, "x1": 40, "y1": 50}
    cut = _doubtful(row | {"doubt": "could be basophil too", "touches_border": True}, pixels)
    assert cut.doubt == "could be basophil too; cut off at the edge of the picture"
    assert _doubtful(row | {"doubt": "", "touches_border": False}, pixels).doubt == ""


def test_settings_reach_the_count(results: Path, tmp_path: Path) -> None:
    config = ReportConfig(count=CountConfig(level="fine", target=400), slide_by="image", title="Ward 7")
    made = make_report([results], tmp_path, config)
    assert made.pooled.differential.level == "fine"
    assert made.pooled.enough.more >= 396
    assert all("/field.png" in slide.name for slide in made.slides)
    assert "<h1>Ward 7</h1>" in (tmp_path / "report.html").read_text()


def test_a_long_first_page_of_the_pdf_goes_on_behind_it(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from napari_bloodcell.core.report import pdf

    made = make_report([results], tmp_path / "report")
    short = len(list(pdf._pages(made)))
    drawn: list[float] = []
    monkeypatch.setattr(pdf, "draw", lambda axes, _: drawn.append(axes.get_position().height))
    pages = list(pdf._pages(replace(made, comments=tuple(f"comment {n}" for n in range(120)))))
    assert len(pages) > short
    assert drawn[0] > 0.05
    texts = "\n".join(text.get_text() for page in pages for text in page.texts)
    assert all(f"comment {n}" in texts for n in (0, 119))
    assert min(text.get_position()[1] for text in pages[0].texts) >= 0.03
