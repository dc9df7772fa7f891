"""A session's folder as a report: the classes that stand, who said what, and whose name is under it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.image import read_image
from napari_bloodcell.core.report import digest_of
from napari_bloodcell.core.report.make import Report, make_report
from napari_bloodcell.core.report.sessions import counted, read_work
from napari_bloodcell.core.report.signed import cells_digest, outlines_hash
from napari_bloodcell.core.session import Change, Session, SessionCells

CONFIG = ReportConfig()
KINDS = ["neutrophil_banded", "neutrophil_segmented", "monocyte", "lymphocyte", "basophil", "unidentified"]


@dataclass
class Desk:
    """A session in which people sit down one after the other."""

    folder: Path
    key: str
    session: Session

    def say(self, who: str, cell: int, old: str, new: str, action: str = "classify") -> None:
        note = f"person {who}" if who else "bundle nano"
        change = Change(action=action, image=self.key, cell_id=cell, old=old, new=new, note=note)
        self.session.record([change])

    def sign(self, who: str, config: ReportConfig = ReportConfig(), **told: Any) -> None:
        pooled, slides = counted(read_work(self.folder).runs, config)
        signed = {"who": who, "when": "2026-01-02T03:04:05+00:00", "digest": digest_of(pooled, slides)} | told
        note = f"{pooled.counted} white cells"
        self.session.record([Change(action="sign-off", image=self.key, new=signed, note=note)])

    def report(self, config: ReportConfig = ReportConfig(), **more: Any) -> Report:
        return make_report([self.folder], self.folder.parent / "report", config, **more)


def cells_of(kinds: list[str], *, moved: int = 0) -> SessionCells:
    labels = np.zeros((40, 20 * len(kinds)), np.int32)
    for place in range(len(kinds)):
        labels[6 + moved : 26, 20 * place + 3 : 20 * place + 17] = place + 1
    table = pd.DataFrame(
        {
            "label": range(1, len(kinds) + 1),
            "cell_type": kinds,
            "cell_type_source": "bundle nano",
            "touches_border": [place == 0 for place in range(len(kinds))],
        }
    )
    bundle = {"name": "nano", "sha256": "ab" * 32}
    return SessionCells(labels=labels, nucleus=labels > 0, table=table, made_from={"bundle": bundle})


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 120, 3), dtype=np.uint8)).save(tmp_path / "field.png")
    with Session(tmp_path / "session", who="ada") as session:
        key = session.add_image(read_image(tmp_path / "field.png"))
        session.save_cells(key, cells_of(KINDS))
        yield Desk(tmp_path / "session", key, session)


def numbers(report: Report) -> dict[str, int]:
    return {row.class_name: row.n for row in report.pooled.differential.rows if row.n}


def test_corrected_classes_count_and_who_reviewed_them_is_said(desk: Desk) -> None:
    desk.say("ada", 6, "unidentified", "eosinophil")
    desk.say("ada", 3, "monocyte", "monocyte")
    report = desk.report()
    assert numbers(report) == {
        "neutrophil": 2,
        "monocyte": 1,
        "lymphocyte": 1,
        "basophil": 1,
        "eosinophil": 1,
    }
    assert [slide.name for slide in report.slides] == ["field.png"]
    assert report.pooled.differential.reviewed == 2
    assert report.reviewed_text() == "2 of 6 cells were reviewed by a person (ada), who changed 1 of them."
    assert report.sign_off == ("Not signed yet.",)
    assert report.agreement is None


def test_a_count_that_a_readers_table_has_changed_is_not_the_signed_one(desk: Desk, tmp_path: Path) -> None:
    desk.sign("ada")
    (signed,) = desk.report().sign_off
    table = tmp_path / "bo.csv"
    for kind, told in (("neutrophil", []), ("lymphocyte", ["1 cell of it is counted as bo named it."])):
        table.write_text(
            f"image,cell_id,cell_type\nfield.png,1,{kind}\n"
        )  # a banded neutrophil in the session
        first, *more = desk.report(readers=[table]).sign_off
        assert first == signed
        assert [text.partition("another one: ")[2] for text in more] == told


def test_two_people_who_named_the_same_cells_are_compared(desk: Desk) -> None:
    for cell, kind in enumerate(KINDS[:4], 1):
        desk.say("ada", cell, kind, kind)
    for cell, kind in enumerate(["neutrophil_banded", "neutrophil_banded", "monocyte"], 1):
        desk.say("bo", cell, KINDS[cell - 1], kind)
    together = desk.report().agreement
    assert together is not None
    (found,) = together.pairs
    assert found.readers == ("ada", "bo")
    assert (found.cells, found.agreed) == (3, 2)
    assert found.disputed == ((("field.png", 2), "neutrophil_segmented", "neutrophil_banded"),)
    page = (desk.folder.parent / "report" / "report.html").read_text()
    assert "ada and bo agree on 2 of 3 cells" in page
    assert "Cells the readers disagree on" in page


def test_a_word_that_was_taken_back_is_nobodys_answer(desk: Desk) -> None:
    desk.say("ada", 1, "neutrophil_banded", "basophil")
    desk.say("bo", 1, "basophil", "monocyte")
    desk.say("ada", 1, "monocyte", "basophil", action="undo")  # bo's; the note says whose word stands again
    desk.say("bo", 2, "neutrophil_segmented", "monocyte")
    desk.say("", 2, "monocyte", "neutrophil_segmented", action="undo")
    desk.say("bo", 3, "monocyte", "monocyte")
    desk.say("bo", 3, "monocyte", "macrophage", action="rename")
    readers = {one.name: dict(one.answers) for one in read_work(desk.folder).readers}
    assert readers == {"ada": {("field.png", 1): "basophil"}, "bo": {("field.png", 3): "macrophage"}}


def test_what_was_said_before_the_session_was_opened_is_that_persons_answer(desk: Desk) -> None:
    named = cells_of(KINDS)
    sources = ["person ada", "person", *["bundle nano"] * 4]
    desk.session.save_cells(desk.key, replace(named, table=named.table.assign(cell_type_source=sources)))
    desk.say("bo", 1, "neutrophil_banded", "monocyte")
    desk.session.record(
        [Change(action="undo", image=desk.key, cell_id=1, old="monocyte", new=KINDS[0], note="person ada")]
    )
    readers = {one.name: dict(one.answers) for one in read_work(desk.folder).readers}
    assert readers == {"ada": {("field.png", 1): "neutrophil_banded"}}


def test_a_signature_holds_until_a_class_changes_and_again_when_it_is_changed_back(desk: Desk) -> None:
    desk.sign("ada")
    signed = "Signed by ada, 2026-01-02 03:04:05 UTC: 6 white cells of field.png, unchanged since."
    assert desk.report().sign_off == (signed,)
    desk.say("bo", 1, "neutrophil_banded", "monocyte")
    assert desk.report().sign_off == (
        "Changed since ada signed it, 2026-01-02 03:04:05 UTC: field.png. Sign again.",
    )
    desk.say("", 1, "monocyte", "neutrophil_banded", action="undo")
    assert desk.report().sign_off == (signed,)
    assert signed in (desk.folder.parent / "report" / "report.html").read_text()
    written = json.loads((desk.folder.parent / "report" / "report.json").read_text())
    assert written["sign_off"] == [signed]


def test_a_signature_is_checked_by_the_settings_it_was_given_under(desk: Desk) -> None:
    fine = ReportConfig(count=CountConfig(level="fine", count_border=False), merge_bands=True)
    desk.sign("ada", fine, count=fine.count.to_json(), merge_bands=True)
    assert desk.report().sign_off[0].startswith("Signed by ada")
    report = desk.report(fine)
    assert numbers(report) == {
        "neutrophil": 1,
        "lymphocyte": 1,
        "monocyte": 1,
        "basophil": 1,
        "unidentified": 1,
    }


def test_a_signature_is_under_classes_and_outlines_and_tells_what_nobody_has_looked_at(desk: Desk) -> None:
    (run,) = read_work(desk.folder).runs
    drawn = cells_of(KINDS)
    table = zip(run.table["cell_id"], run.table["cell_type"], strict=True)
    cells = cells_digest(
        [(run.slide, cell, kind) for cell, kind in table], [(run.slide, outlines_hash(drawn.labels))]
    )
    desk.sign("ada", cells=cells, looked={"cells": 6, "unseen": 6, "doubtful": 1})
    (told,) = desk.report().sign_off
    assert told.endswith("unchanged since; 6 of 6 cells were looked at by nobody, 1 of them doubtful.")
    for cell, old, new in ((3, "monocyte", "lymphocyte"), (4, "lymphocyte", "monocyte")):
        desk.say("", cell, old, new)
    report = desk.report()
    assert report.sign_off[0].startswith("Changed since ada signed it")
    desk.sign("ada")  # as an older release did, under the figures
    for cell, old, new in ((4, "monocyte", "lymphocyte"), (3, "lymphocyte", "monocyte")):
        desk.say("", cell, old, new)
    assert desk.report().sign_off[0].startswith("Signed by ada")
    desk.sign("ada", cells=cells)
    assert desk.report().sign_off[0].endswith("unchanged since.")
    desk.session.save_cells(desk.key, cells_of(KINDS, moved=1))
    assert desk.report().sign_off[0].startswith("Changed since ada signed it")


def test_a_signature_under_two_images_outlives_another_under_one_of_them(desk: Desk) -> None:
    path = desk.folder.parent / "second.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 120, 3)).astype(np.uint8)).save(path)
    second = desk.session.add_image(read_image(path))
    desk.session.save_cells(second, cells_of(KINDS))

    def signed(who: str, images: list[str]) -> None:
        work = read_work(desk.folder)
        names = {desk.key: "field.png", second: "second.png"}
        runs = [run for run in work.runs if run.image["name"] in {names[key] for key in images}]
        new = {"who": who, "when": "2026-01-02T03:04:05+00:00", "digest": digest_of(*counted(runs, CONFIG))}
        note = f"{6 * len(images)} white cells"
        desk.session.record([Change(action="sign-off", image=key, new=new, note=note) for key in images])

    signed("ada", [desk.key, second])
    signed("bo", [second])
    both = "Signed by ada, 2026-01-02 03:04:05 UTC: 12 white cells of field.png, second.png, unchanged since."
    alone = "Signed by bo, 2026-01-02 03:04:05 UTC: 6 white cells of second.png, unchanged since."
    assert desk.report().sign_off == (both, alone)
    desk.say("cy", 1, KINDS[0], "monocyte")
    assert desk.report().sign_off[0].startswith("Changed since ada signed it")
    assert desk.report().sign_off[1] == alone


def test_the_comment_is_in_the_report(desk: Desk) -> None:
    for text in ("old", "few platelets"):
        desk.session.record([Change(action="comment", image=desk.key, new=text)])
    desk.report()
    page = (desk.folder.parent / "report" / "report.html").read_text()
    assert "Comment: few platelets" in page
    assert "Comment: old" not in page


def test_comments_on_single_images_and_on_all_are_told_apart(desk: Desk) -> None:
    path = desk.folder.parent / "second.png"
    Image.fromarray(np.full((40, 120, 3), 200, np.uint8)).save(path)
    second = desk.session.add_image(read_image(path))
    for key, action, text in (
        (desk.key, "comment", "few platelets"),
        (second, "comment", "thick"),
        (desk.key, "comment on all", "stained twice"),
        (second, "comment on all", "stained twice"),
    ):
        desk.session.record([Change(action=action, image=key, new=text)])
    assert desk.report().comments == ("stained twice", "field.png: few platelets", "second.png: thick")


def test_two_sessions_of_one_image_count_it_once_and_compare_their_people(desk: Desk) -> None:
    """Of two sessions with the same outlines; where outlines differ, cell numbers mean nothing."""
    desk.say("ada", 1, "neutrophil_banded", "monocyte")
    folders = [desk.folder]
    for name, moved in (("second", 0), ("third", 2)):
        with Session(desk.folder.parent / name, who="bo") as session:
            key = session.add_image(read_image(desk.folder.parent / "field.png"))
            session.save_cells(key, cells_of(KINDS, moved=moved))
            Desk(session.folder, key, session).say(f"bo of {name}", 1, KINDS[0], "monocyte")
            folders.append(session.folder)
    report = make_report(folders, desk.folder.parent / "report")
    assert report.pooled.differential.counted == len(KINDS)
    assert report.agreement is not None
    assert [pair.readers for pair in report.agreement.pairs] == [("ada", "bo of second")]
    assert sum("it is counted once" in note for note in report.notes) == 2
    assert [note for note in report.notes if "outlines of field.png are not those" in note]


def test_doubtful_cells_of_a_session_are_pictured_though_no_model_named_them(desk: Desk) -> None:
    drawn = replace(cells_of(KINDS), made_from={})
    table = drawn.table[["label"]]
    desk.session.save_cells(desk.key, replace(drawn, table=table))
    report = desk.report()
    assert numbers(report) == {"unidentified": 6}
    first = report.doubtful[0]
    assert first.pixels is not None
    assert first.guess == "no model has named it"
    assert report.runs[0].bundle["name"] == "no model"


def test_an_image_that_is_gone_is_said_and_the_count_stands(desk: Desk) -> None:
    (desk.folder.parent / "field.png").unlink()
    report = desk.report()
    assert report.doubtful[0].pixels is None
    assert report.pooled.differential.counted == len(KINDS)


def test_an_empty_session_gives_an_empty_report(tmp_path: Path) -> None:
    with Session(tmp_path / "session"):
        pass
    report = make_report([tmp_path / "session"], tmp_path / "report")
    assert report.pooled.differential.counted == 0
    assert (tmp_path / "report" / "report.pdf").stat().st_size > 0


def test_a_column_of_numbers_in_one_session_may_be_text_in_another(desk: Desk) -> None:
    folders = [desk.folder]
    for name, note in (("second", 1.5), ("third", "large")):
        with Session(desk.folder.parent / name, who="bo") as session:
            picture = desk.folder.parent / f"{name}.png"
            write_field(picture)
            key = session.add_image(read_image(picture))
            cells = cells_of(KINDS)
            session.save_cells(key, replace(cells, table=cells.table.assign(size=note)))
            folders.append(session.folder)
    report = make_report(folders, desk.folder.parent / "report")
    kept = pd.read_parquet(desk.folder.parent / "report" / "cells.parquet")
    assert set(kept["size"].dropna()) == {"1.5", "large"}
    assert len(kept) == len(report.table)


def write_field(path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(len(path.name))
    Image.fromarray(rng.integers(150, 250, (40, 120, 3), np.uint8)).save(path)
