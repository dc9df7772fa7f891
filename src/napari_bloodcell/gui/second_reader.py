"""Another person's classes beside those of the reader at the screen: the same readers as in a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.errors import SessionError
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import autosave
from napari_bloodcell.gui.differential_calls import Slide

if TYPE_CHECKING:
    from napari_bloodcell.core.report.agreement import Agreements
    from napari_bloodcell.core.report.readers import Cell, Reader
    from napari_bloodcell.core.report.sessions import SessionWork


@dataclass(frozen=True, kw_only=True)
class Second:
    """Whom to compare with. ``is_here``: a person of the session that is open, perhaps who sits here."""

    reader: "Reader"
    is_here: bool = False
    others: "Sequence[Reader]" = ()  # who was found with this one, and is compared too
    drawn_anew: Sequence[str] = ()  # images with other outlines there, so that cell 1 is another cell

    def left_out_text(self) -> str:
        if not self.drawn_anew:
            return ""
        return f" Not compared, as the outlines there are others: {', '.join(self.drawn_anew)}."

    @property
    def name(self) -> str:
        return self.reader.name


def people_of(slides: Sequence[Slide]) -> "list[Reader]":
    """Who has named cells that are on the screen. In an open session what a person said counts also where
    another has said something else since."""
    from napari_bloodcell.core.report.readers import Reader
    from napari_bloodcell.core.report.sessions import readers_in

    said: dict[str, dict[Cell, str]] = {}
    for folder in dict.fromkeys(_link(slide).get("folder") for slide in slides):
        some = [slide for slide in slides if _link(slide).get("folder") == folder]
        events = next(
            (one.session.events for one in autosave.opened() if str(one.session.folder) == folder), ()
        )
        names = {str(_link(slide).get("image")): slide.name for slide in some}
        there = {
            (slide.name, int(cell)): (kind, source)
            for slide in some
            for cell, kind, source in zip(slide.table["index"], slide.kinds, slide.sources, strict=True)
        }
        for reader in readers_in(events, names, there):
            said.setdefault(reader.name, {}).update(reader.answers)
    return [Reader(name=name, answers=answers) for name, answers in said.items()]


def reader_of(slides: Sequence[Slide], name: str) -> "Reader":
    """What this reader, and nobody else, said of the cells on the screen: two people would agree with each
    other by what a model or one of them has said."""
    from napari_bloodcell.core.report.readers import Reader

    return next((one for one in people_of(slides) if one.name == name), Reader(name=name, answers={}))


def left_out_text(slides: Sequence[Slide], mine: "Reader") -> str:
    """What to tell of the cells on the screen that are not compared."""
    left = sum(len(slide.kinds) for slide in slides) - len(mine.answers)
    if left <= 0:
        return ""
    are, them = ("is", "it") if left == 1 else ("are", "them")
    return (
        f" {how_many(left, 'cell')} that {mine.name} has not named {are} not compared: if you have looked at "
        f"{them}, choose {them} in the Gallery and press the key of the class."
    )


def agreements_with(slides: Sequence[Slide], mine: "Reader", second: Second) -> "Agreements | None":
    """The two first, then everybody else who has named these cells: as a report compares them."""
    from napari_bloodcell.core.report.agreement import agreements, joined

    return agreements(joined([mine, second.reader], [*second.others, *people_of(slides)]))


def why_nothing(slides: Sequence[Slide], mine: "Reader", second: Second) -> str:
    """Why there is nothing to compare, and what to do; empty where there is."""
    if second.is_here and second.name == mine.name:
        return (
            f"{mine.name} would be compared with {mine.name}. Type the name of the other reader above, or "
            "choose another second reader."
        )
    if set(mine.answers) & set(second.reader.answers):
        return ""
    if not mine.answers:
        others = [one.name for one in people_of(slides)]
        hint = f"type the name above under which they were named ({', '.join(others)}), or " if others else ""
        return (
            f"{mine.name} has named none of these cells, so there is nothing to compare with {second.name}: "
            f"{hint}choose the cells you have looked at in the Gallery and press the key of their class."
        )
    return (
        f"{mine.name} and {second.name} have named no cell in common. Choose cells in the Gallery that "
        f"{second.name} has named, and press the key of their class."
    )


def second_readers(
    path: Path, slides: Sequence[Slide], known: Sequence[str], name: str, progress: Progress
) -> list[Second]:
    """Another person's table (CSV), or all who could be meant of a session's folder; ``name`` is not among
    them where it is the session on the screen. ``known``: the classes on the screen, some perhaps a lab's."""
    from napari_bloodcell.core.report.sessions import read_work
    from napari_bloodcell.core.session import is_session

    progress("Reading the second reader", 0, 0)
    if not path.is_dir():
        people = _of_table(path, [slide.name for slide in slides], known)
        return _all_of([_told_apart(one, name, path) for one in people])
    if not is_session(path):
        raise SessionError(f"{path} is no session. Choose a session's folder, or a table (CSV).")
    work = read_work(path)
    is_here = str(work.folder) in {_link(slide).get("folder") for slide in slides}
    names = _names_here(work, slides)
    anew = [] if is_here else _drawn_anew(work, slides, names)
    names = {there: here for there, here in names.items() if here not in anew}
    if anew and not names:
        raise SessionError(
            f"The outlines in {path} are not those on the screen, so its cells are others: nothing can be "
            "compared. Let both readers work on the same outlines, each in a copy of one session."
        )
    people = _others([_renamed(one, names) for one in work.readers], name, path, is_here=is_here)
    return _all_of(people, is_here=is_here, drawn_anew=anew)


def _all_of(
    people: "Sequence[Reader]", *, is_here: bool = False, drawn_anew: Sequence[str] = ()
) -> list[Second]:
    return [
        Second(
            reader=one,
            is_here=is_here,
            others=[other for other in people if other is not one],
            drawn_anew=drawn_anew,
        )
        for one in people
    ]


def _others(found: "Sequence[Reader]", name: str, path: Path, *, is_here: bool) -> "list[Reader]":
    found = [one for one in found if one.answers]
    if not found:
        raise SessionError(
            f"Nobody has named a cell of these images in {path}. Choose a session of the same images, in "
            "which the second reader has named cells."
        )
    if not is_here:  # two people, or one at two times, whom the system calls the same
        return [_told_apart(one, name, path) for one in found]
    others = [one for one in found if one.name != name]
    if not others:
        raise SessionError(
            f"Only {name} has named cells in {path}, and would agree with {name}. Let the second reader type "
            "another name into Reader and name the cells, or choose that person's table or session."
        )
    return others


def _told_apart(reader: "Reader", name: str, path: Path) -> "Reader":
    from dataclasses import replace

    return replace(reader, name=f"{reader.name} (of {path.name})") if reader.name == name else reader


def _of_table(path: Path, images: Sequence[str], known: Sequence[str]) -> "list[Reader]":
    from dataclasses import replace

    from napari_bloodcell.core.report.readers import read_table
    from napari_bloodcell.core.taxonomy import Taxonomy

    readers = read_table(path, Taxonomy.of_lab(known))
    only = {image for reader in readers for image, _ in reader.answers}
    if len(set(images)) != 1 or len(only) != 1:
        return readers
    (there,) = only  # the same smear, perhaps under another name
    return [
        replace(
            one,
            name=one.name if there == images[0] else f"{one.name} (of {there})",
            answers={(images[0], cell): said for (_, cell), said in one.answers.items()},
        )
        for one in readers
    ]


def _names_here(work: "SessionWork", slides: Sequence[Slide]) -> dict[str, str]:
    """What images of a session are called on the screen: the same pictures, else those of the same name."""
    by_name = {slide.name: slide.name for slide in slides}
    by_key = {_key(slide): slide.name for slide in slides if _key(slide)}
    found = {(name := str(run.image["name"])): by_key.get(run.key, by_name.get(name)) for run in work.runs}
    return {name: here for name, here in found.items() if here is not None}


def _drawn_anew(work: "SessionWork", slides: Sequence[Slide], names: Mapping[str, str]) -> list[str]:
    """As a report tells whether cells of two sessions are the same."""
    drawn = {slide.name: slide.drawn for slide in slides if slide.drawn}
    return [
        here for there, here in names.items() if drawn.get(here, work.outlines[there]) != work.outlines[there]
    ]


def _renamed(reader: "Reader", names: Mapping[str, str]) -> "Reader":
    from dataclasses import replace

    answers = reader.answers.items()
    return replace(
        reader, answers={(names[image], cell): a for (image, cell), a in answers if image in names}
    )


def _key(slide: Slide) -> str:
    from napari_bloodcell.core.session.folder import KEY_LENGTH

    return str(slide.made_from.get("image", {}).get("sha256") or "")[:KEY_LENGTH]


def _link(slide: Slide) -> Mapping[str, Any]:
    link: Mapping[str, Any] = slide.made_from.get(autosave.LINK) or {}
    return link
