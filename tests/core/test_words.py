from napari_bloodcell.core.words import once_each, one_line


def test_a_name_cannot_break_a_line_or_colour_a_terminal() -> None:
    assert one_line("a\nb\x1b[31m.png é 淋") == "a\\nb\\x1b[31m.png é 淋"


def test_notes_that_differ_by_their_figures_stand_once_with_all_they_are_of() -> None:
    told = [
        ("a.png", "the light was 15% less"),
        ("b.png", "no white cell was found"),
        ("c.png", "the light was 9.5% less"),
        ("d.png", "no white cell was found"),
    ]
    assert once_each(told) == [
        (["a.png", "c.png"], " (the first; the others with other figures): the light was 15% less"),
        (["b.png", "d.png"], ": no white cell was found"),
    ]
    assert once_each([]) == []
