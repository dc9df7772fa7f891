"""A second reading without the answers of others: the table it is kept in."""

import pytest

from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.report.blind import begin_blind, blind_table, compared, write_blind
from napari_bloodcell.core.report.readers import Reader, read_table

ANSWERS = {("a.png", 2): "monocyte", ("a.png", 1): "unidentified", ("b, c.png", 7): "basophil"}


def test_answers_come_back_and_are_read_as_a_second_readers_table(tmp_path):
    path = blind_table(tmp_path, "bo")
    assert begin_blind(path, "bo") == {}
    write_blind(path, "bo", ANSWERS)
    assert begin_blind(path, "bo") == ANSWERS
    assert read_table(path) == [Reader(name="bo blind", answers=ANSWERS, is_named=True)]


def test_a_table_without_an_answer_is_gone_on_with(tmp_path):
    path = blind_table(tmp_path, "bo")
    write_blind(path, "bo", {})
    assert begin_blind(path, "bo") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,cell_id,cell_type,person\na,1,monocyte,ada\n", "answers of ada, not of bo blind alone"),
        ("image,cell_id,cell_type,person\na,1,monocyte,\n", "answers of nobody"),
        ("image,cell_id,cell_type\na,1,monocyte\n", "needs the columns image, cell_id, cell_type, person"),
        (
            "image,cell_id,cell_type,person\na,one,monocyte,bo blind\n",
            "line 2: cell_id 'one' is no whole number",
        ),
    ],
)
def test_a_table_that_is_not_this_readers_own_is_refused_and_left_alone(tmp_path, text, told):
    path = blind_table(tmp_path, "bo")
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        begin_blind(path, "bo")
    assert path.read_text() == text


def test_a_name_makes_a_file_name_wherever_it_is_written(tmp_path):
    assert blind_table(tmp_path, "Dr. Bo/2").name == "Dr. Bo_2 blind.csv"
    assert blind_table(tmp_path, "..").parent == tmp_path


def test_each_other_reader_is_compared_and_who_shares_no_cell_is_not(tmp_path):
    ada = Reader(name="ada", answers={("a.png", 1): "monocyte", ("a.png", 2): "monocyte"})
    cy = Reader(name="cy", answers={("z.png", 1): "monocyte"})
    (told,) = compared(Reader(name="bo blind", answers=ANSWERS), [ada, cy])
    assert told.startswith("ada and bo blind agree on 1 of 2 cells")
