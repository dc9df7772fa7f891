"""What commands tell beside their results, on the error stream."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.words import one_line

if TYPE_CHECKING:
    from cyclopts import CycloptsError

    from napari_bloodcell.core.datasets import Dataset


EMPTY = (
    'An argument is empty (""): a variable of the shell that is not set, perhaps. Name what is meant '
    '("." is the folder you are in), or leave the flag out.'
)


def as_flag(text: str, given: Sequence[str]) -> str:
    """What is wrong with a setting, by the flag it was given with."""
    setting = re.match(r"\w+\.(\w+) = ", text)
    if setting is None:
        return text
    name = setting[1].replace("_", "-")
    flags = [one.partition("=")[0] for one in given if one.startswith("--")]
    flag = next((one for one in flags if one.removeprefix("--").rpartition(".")[2] == name), None)
    return text if flag is None else f"{flag} = {text[setting.end() :]}"


def told_in_words(error: "CycloptsError") -> Any:
    """What the parser has to say, in its frame; words that belong to nothing with what to do about them."""
    from cyclopts import CycloptsPanel, UnusedCliTokensError

    if not isinstance(error, UnusedCliTokensError):
        return CycloptsPanel(error)
    words = ", ".join(map(repr, error.unused_tokens or ()))
    command = " ".join(["napari-bloodcell", *(error.command_chain or ())])
    return CycloptsPanel(
        f"Nothing here takes {words}. Files and folders belong before the first --option; most options take "
        "one value, and are written again for each further one; a name with a space in it needs quotes. "
        f"What there is: {command} --help"
    )


def tell(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"note: {one_line(line)}", file=sys.stderr)


def tell_of_sets(sets: "Sequence[Dataset | Path]") -> None:
    """Before any work: what sets of cells, or the folders that hold them, leave out, and what contradicts
    itself in them. An image is passed over."""
    from napari_bloodcell.core.datasets import Dataset, contradictions, left_out, load_dataset

    read = [one if isinstance(one, Dataset) else load_dataset(one) for one in sets if not _is_file(one)]
    tell([*left_out(read), *contradictions(cell for one in read for cell in one.cells)])


def _is_file(one: "Dataset | Path") -> bool:
    return isinstance(one, Path) and one.is_file()
