"""Named classes without limit, in colours that can be told apart."""

import numpy as np
import pytest

from napari_bloodcell.core.class_list import _SEEN, ClassList, _lab, _rgb
from napari_bloodcell.core.errors import TaxonomyError


def test_the_usual_classes_have_digits_and_unidentified_has_zero():
    classes = ClassList.of()
    assert [classes.digit(name) for name in classes.names] == ["1", "2", "3", "4", "5", "0"]
    assert classes.of_digit("2") == "lymphocyte"
    assert classes.of_digit("0") == "unidentified"
    assert classes.of_digit("8") is None


def test_fine_classes_take_the_place_of_their_coarse_one():
    classes = ClassList.of(["lymphocyte_typical", "neutrophil_banded", "unidentified"])
    assert classes.names == (
        "monocyte",
        "eosinophil",
        "basophil",
        "neutrophil_banded",
        "lymphocyte_typical",
        "unidentified",
    )


def test_thirty_classes_get_thirty_colours_and_nine_digits():
    classes = ClassList.of(f"kind {n}" for n in range(25))
    assert len(set(classes.colours.values())) == 31
    assert [classes.digit(name) for name in classes.names].count("") == 31 - 10
    assert classes.names[-1] == "unidentified"


def test_new_colours_differ_to_colour_blind_eyes_too():
    classes = ClassList.of(f"kind {n}" for n in range(6))
    colours = np.array([_rgb(colour) for colour in classes.colours.values()])
    for matrix in _SEEN.values():
        seen = _lab(colours, matrix)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        assert (apart + np.eye(len(seen))).min() > 0.05


def test_renaming_keeps_place_and_colour():
    before = ClassList.of(["hairy cell"])
    after = before.renamed("hairy_cell", "Plasma cell")
    assert after.names.index("plasma_cell") == before.names.index("hairy_cell")
    assert after.colours["plasma_cell"] == before.colours["hairy_cell"]


def test_names_that_cannot_be_are_refused_with_the_reason():
    classes = ClassList.of()
    with pytest.raises(TaxonomyError, match="no name for a class"):
        classes.with_class(" -- ")
    with pytest.raises(TaxonomyError, match="a class 'monocyte' already"):
        classes.renamed("basophil", "monocyte")
    with pytest.raises(TaxonomyError, match="cannot be renamed or removed"):
        classes.renamed("unidentified", "mystery")
    with pytest.raises(TaxonomyError, match="no class 'blast'"):
        classes.recoloured("blast", "#FFFFFF")


def test_a_list_survives_json():
    classes = ClassList.of(["blast"]).recoloured("blast", "#123456")
    assert ClassList.from_json(classes.to_json()) == classes
