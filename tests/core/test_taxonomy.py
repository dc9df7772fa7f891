"""Which classes there are, what they are called elsewhere, and what a lab may add."""

import pytest

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import TaxonomyError
from napari_bloodcell.core.taxonomy import (
    COARSE,
    DATASET_CODES,
    DEFAULT,
    FINE,
    NOT_IN_DENOMINATOR,
    Taxonomy,
    code_of,
    normalise,
)


def test_there_are_thirteen_fine_and_five_coarse_classes() -> None:
    assert len(FINE) == 13
    assert len(COARSE) == 5
    assert set(DEFAULT.names) == {*FINE, *COARSE}


@pytest.mark.parametrize("name", DEFAULT.names)
def test_every_class_resolves_to_itself(name: str) -> None:
    assert DEFAULT.resolve(name) == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" Segmented Neutrophil ", "neutrophil_segmented"),
        ("NEUTROPHIL", "neutrophil"),
        ("Neutrophils", "neutrophil"),
        ("eos", "eosinophil"),
        ("bands", "neutrophil_banded"),
        ("Smudge-Cells", "smudge_cell"),
        ("reactive lymphocyte", "lymphocyte_atypical"),
        ("Platelets", "platelet"),
        ("Lymphozyten", "lymphocyte"),
        ("Monozyt", "monocyte"),
        ("Neutrophile", "neutrophil"),
        ("PMN", "neutrophil"),
        ("Segmentkernige", "neutrophil_segmented"),
        ("stabkernige Granulozyten", "neutrophil_banded"),
        ("éosinophiles", "eosinophil"),
        ("polynucléaire basophile", "basophil"),
    ],
)
def test_what_people_write_is_understood(written: str, meant: str) -> None:
    assert DEFAULT.resolve(written) == meant


@pytest.mark.parametrize("fine", ["neutrophil_banded", "neutrophil_segmented"])
def test_bands_and_segmented_ones_are_both_neutrophils(fine: str) -> None:
    assert DEFAULT.coarse(fine) == "neutrophil"


def test_blasts_are_never_merged_into_another_class() -> None:
    assert DEFAULT.coarse("myeloblast") == "myeloblast"


def test_an_unknown_class_names_what_is_near_and_what_is_known() -> None:
    with pytest.raises(
        TaxonomyError, match=r"Unknown class 'neutrofil'\. Did you mean 'neutrophil'\? Known: "
    ):
        DEFAULT.resolve("neutrofil")


def test_a_name_like_nothing_known_gets_no_guess() -> None:
    assert DEFAULT.nearest("qqq") is None
    with pytest.raises(TaxonomyError, match=r"Unknown class 'qqq'\. Known: basophil"):
        DEFAULT.resolve("qqq")


def test_the_nearest_name_of_a_short_form_is_the_class_it_means() -> None:
    assert DEFAULT.nearest("normoblasts") == "erythroblast"


def test_a_lab_adds_a_class_with_its_parent() -> None:
    lab = Taxonomy.of_lab({"Hairy cell": "lymphocyte"})
    assert lab.resolve("hairy-cell") == "hairy_cell"
    assert lab.coarse("hairy_cell") == "lymphocyte"
    assert lab.resolve("neutrophil") == "neutrophil"


def test_a_lab_class_without_a_parent_stands_alone() -> None:
    assert Taxonomy.of_lab(["plasma cell"]).coarse("plasma_cell") == "plasma_cell"


def test_an_empty_class_list_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="at least one class; this one is empty"):
        Taxonomy.of_lab([])


@pytest.mark.parametrize("dataset", DATASET_CODES)
def test_every_code_of_every_set_means_a_class_or_is_dropped(dataset: str) -> None:
    for meant in DATASET_CODES[dataset].values():
        assert meant is None or meant in DEFAULT.names or meant in NOT_IN_DENOMINATOR


@pytest.mark.parametrize(
    ("dataset", "code", "meant"),
    [
        ("acevedo", "SNE", "neutrophil_segmented"),
        ("acevedo", "IG", None),
        ("matek", "mmz", "metamyelocyte"),
        ("matek", "PMB", None),
        ("mll23", "normoblast", "erythroblast"),
        ("mll23", "hairy_cell", None),
        ("zheng", "5", "basophil"),
        ("lisc", "Baso", "basophil"),
    ],
)
def test_the_codes_of_the_public_sets(dataset: str, code: str, meant: str | None) -> None:
    assert code_of(dataset, code) == meant


def test_a_code_of_another_set_is_refused_with_the_right_ones() -> None:
    with pytest.raises(TaxonomyError, match=r"'SNE' is not a class of matek. Its codes: BAS, EOS"):
        code_of("matek", "SNE")


def test_normalising_a_name_twice_changes_nothing() -> None:
    assert normalise(normalise("  Band / Neutrophil ")) == "band_neutrophil"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Promyélocyte", "promyélocyte"),
        ("Große Zelle", "große_zelle"),
        ("Лимфоцит", "лимфоцит"),
        ("淋巴细胞", "淋巴细胞"),
        ("e\N{COMBINING ACUTE ACCENT}o", "éo"),
        ("a_-_b", "a_b"),
    ],
)
def test_letters_of_all_languages_stay(written: str, kept: str) -> None:
    assert normalise(written) == kept
    assert kept in ClassList.of([written]).names
