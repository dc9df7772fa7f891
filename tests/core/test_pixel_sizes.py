"""Pixel sizes of the images of one count, told where they differ."""

from pathlib import Path

from napari_bloodcell.core.batch import analyse_files
from napari_bloodcell.core.config import EngineConfig
from napari_bloodcell.core.report.pixel_sizes import SizeOf, sizes_of


def field(um: float | None, source: str, shape: tuple[int, int] = (30, 40)) -> SizeOf:
    return SizeOf(shape_px=shape, um_per_px=um, source=source)


def test_the_size_that_a_file_says_is_that_of_the_others_too() -> None:
    said, guess = field(0.1, "given"), field(0.11, "red cells")
    sizes = sizes_of([said, guess])
    assert sizes
    assert sizes.for_all == 0.1
    assert "of 1 image it was guessed from red cells (0.11 µm)." in sizes.text
    sizes = sizes_of([said, guess, field(0.2, "given")])
    assert sizes
    assert sizes.for_all is None
    assert sizes_of([said, said]) is None
    assert sizes_of([said, field(0.11, "red cells", (40, 40))]) is None
    unknown = field(None, "unknown")
    sizes = sizes_of([unknown, guess])
    assert sizes
    assert sizes.for_all == 0.11
    assert "(0.11 µm), of 1 image it is not known." in sizes.text
    sizes = sizes_of([unknown, said])
    assert sizes
    assert sizes.for_all == 0.1
    assert sizes_of([unknown, unknown]) is None


def test_a_run_tells_of_guesses_that_differ_and_how_to_count_with_one_size(
    fields: Path, tmp_path: Path
) -> None:
    listed = fields / "list.csv"
    listed.write_text("image,um_per_px\nf1.png,0.08\nf2.png,\n")
    engine = EngineConfig(pictures=False)
    for _ in range(2):  # what is kept from before is told again
        (told,) = analyse_files([listed], tmp_path / "out", engine=engine).told()
        assert told.startswith("The pixel size: of 1 image it is not known.")
        assert told.endswith("Count again with --read.um-per-px 0.08.")
    listed.write_text("image,um_per_px\nf1.png,0.08\nf2.png,0.08\n")
    assert analyse_files([listed], tmp_path / "out", engine=engine).told() == []
