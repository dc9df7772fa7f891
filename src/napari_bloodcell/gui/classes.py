"""The classes of cells on a layer, and every change of them: by click, by key, in the gallery, by a model.

All panels change classes through ``give`` and ``undo``, and hear of it by the layer's own ``features`` event.
So the rims, the tables, the session and the way back are always right, whichever panel is open.
"""

import itertools
import math
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_bloodcell.core.class_list import ClassList
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.session import Change
from napari_bloodcell.core.taxonomy import normalise
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import autosave, layers, rims
from napari_bloodcell.gui.class_history import PERSON, Given, History
from napari_bloodcell.gui.corrected_rows import rows_there
from napari_bloodcell.gui.rims import repaint
from napari_bloodcell.gui.steps import Steps

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer

ids, classes_layer = rims.ids, rims.classes_layer
_step = itertools.count(1)  # what was changed at once, on several layers maybe, is undone at once
_renames: dict[int, tuple[str, str]] = {}  # of the steps that renamed a class: from what, to what
# Of those that merged one with another: the list before, which.
_merges: dict[int, tuple[ClassList, str]] = {}
_histories: "weakref.WeakKeyDictionary[Labels, History]" = weakref.WeakKeyDictionary()


def class_list(cells: "Labels") -> ClassList:
    """The classes a layer's cells are sorted into: as the person made them, and whatever else is found."""
    stored = cells.metadata.get(layers.KEY, {}).get("classes")
    found = kinds(cells)
    if not stored:
        return ClassList.of(found)
    classes = ClassList.from_json(stored)
    for name in dict.fromkeys(found):
        classes = classes.with_class(name)
    return classes


def kinds(cells: "Labels") -> list[str]:
    """The class of each row; "unidentified" where there is none yet."""
    features = cells.features
    if "cell_type" not in features:
        return [UNIDENTIFIED] * len(features)
    return [str(kind) if kind == kind and kind else UNIDENTIFIED for kind in features["cell_type"]]  # noqa: PLR0124 (NaN)


def is_by_person(cells: "Labels") -> Any:
    """True where a person has confirmed or corrected the class."""
    if "cell_type_source" not in cells.features:
        return np.zeros(len(cells.features), bool)
    return cells.features["cell_type_source"].astype(str).str.startswith(PERSON).to_numpy(bool)


def give(viewer: "Viewer", chosen: "Mapping[Labels, Iterable[int]]", name: str, who: str) -> int:
    """A person says what these cells are; saying what the model said confirms it. Gives how many changed."""
    source, step = f"{PERSON}{who}", next(_step)
    n = 0
    for cells, cell_ids in chosen.items():
        rows = _rows(cells, set(map(int, cell_ids)))
        changes = tuple(Given(*row, name, source) for row in rows if row[1:] != (name, source))
        n += _do(viewer, cells, changes, "classify", step)
    return n


def give_each(viewer: "Viewer", cells: "Labels", named: Mapping[int, tuple[str, str]]) -> int:
    """Classes from elsewhere, a class a cell, and who or what gave it."""
    there = [row for row in rows(cells) if row[0] in named]
    changes = [Given(*row, normalise(named[row[0]][0]), named[row[0]][1]) for row in there]
    changes = [one for one in changes if one.old != one.new or _confirms(one)]
    return _do(viewer, cells, tuple(changes), "classify", next(_step))


def _confirms(one: Given) -> bool:
    """A person says what was said before. A table that repeats a model's guess changes nothing."""
    return one.new_source.startswith(PERSON) and one.new_source != one.old_source


def rename(viewer: "Viewer", cells: "Labels", old: str, new: str) -> None:
    """A class gets another name, on every cell of the layer that has it. Who decided stays."""
    before = class_list(cells)
    after = before.renamed(old, new)
    if after == before:
        return
    (name,) = set(after.names) - set(before.names)
    set_classes(viewer, cells, after)
    step = next(_step)
    _renames[step] = (old, name)
    _name_anew(viewer, cells, old, name, step)


def merge(viewer: "Viewer", cells: "Labels", old: str, into: str) -> int:
    """Every cell of one class gets another that is there already; who decided stays, and the first class goes
    from the list. Gives how many cells changed."""
    before = class_list(cells)
    after = before.without(old)
    step = next(_step)
    _merges[step] = (before, old)
    n = _name_anew(viewer, cells, old, into, step)
    set_classes(viewer, cells, after)
    return n


def rename_or_merge(viewer: "Viewer", cells: "Labels", old: str, new: str) -> str:
    """What a person who types a name over another means; gives what to tell."""
    into = normalise(new)
    if into in (old, UNIDENTIFIED) or into not in class_list(cells).names:
        rename(viewer, cells, old, new)
        return ""
    n = how_many(merge(viewer, cells, old, into), "cell")
    names = (name.replace("_", " ") for name in (old, into))
    return "{} of {} joined {}. Undo parts them again.".format(n, *names)


def _name_anew(viewer: "Viewer", cells: "Labels", old: str, new: str, step: int) -> int:
    """A step also where no cell has the class: the list has changed, and Undo must not reach further back."""
    changes = tuple(Given(*row, new, row[2]) for row in rows(cells) if row[1] == old)
    return _do(viewer, cells, changes, "rename", step, also_empty=True)


def undo(viewer: "Viewer", of: "Sequence[Labels]") -> int | None:
    """Take back the last change on these layers; gives how many cells have their old class again."""
    return _go(viewer, of, "undo")


def redo(viewer: "Viewer", of: "Sequence[Labels]") -> int | None:
    return _go(viewer, of, "redo")


def can_undo(of: "Sequence[Labels]") -> tuple[bool, bool]:
    """Whether there is something to undo, and something to redo."""
    known = [_histories[cells] for cells in of if cells in _histories]
    return any(one.done for one in known), any(one.undone for one in known)


def _go(viewer: "Viewer", of: "Sequence[Labels]", action: str) -> int | None:
    """How many cells changed. None, and nothing done, where those of the step have no outlines now."""
    back = action == "undo"
    stacks = {
        cells: (_histories[cells].done, _histories[cells].undone)[:: 1 if back else -1]
        for cells in of
        if cells in _histories
    }
    ends = [taken[-1][0] for taken, _ in stacks.values() if taken]
    if not ends:
        return 0
    step, n = (max if back else min)(ends), 0
    if _are_gone(
        [(cells, taken[-1][1]) for cells, (taken, _) in stacks.items() if taken and taken[-1][0] == step]
    ):
        return None
    for cells, (taken, put) in stacks.items():
        if taken and taken[-1][0] == step:
            entry = taken.pop()
            put.append(entry)
            changes = tuple(one.back() for one in entry[1]) if back else entry[1]
            if step in _renames:
                _rename_in_list(viewer, cells, *_renames[step][:: -1 if back else 1])
            if step in _merges and back:
                _unmerge_list(viewer, cells, *_merges[step])
            n += _apply(viewer, cells, changes, action)
            if step in _merges and not back:
                set_classes(viewer, cells, class_list(cells).without(_merges[step][1]))
    return n


def _are_gone(parts: "Sequence[tuple[Labels, tuple[Given, ...]]]") -> bool:
    """All cells of a step that changed some."""
    wanted = [(cells, {one.cell_id for one in changes}) for cells, changes in parts if changes]
    return bool(wanted) and not any(set(ids(cells).tolist()) & there for cells, there in wanted)


def _rename_in_list(viewer: "Viewer", cells: "Labels", old: str, new: str) -> None:
    """Its place, key and colour stay, unless the list has been changed since."""
    known = class_list(cells)
    if old in known.names and new not in known.names:
        set_classes(viewer, cells, known.renamed(old, new))


def _unmerge_list(viewer: "Viewer", cells: "Labels", before: ClassList, old: str) -> None:
    """The class that went is back: in its place, unless the list has been changed since."""
    known = class_list(cells)
    same = known.to_json() == before.without(old).to_json()
    colour = before.colours[old] if before.colours[old] not in known.colours.values() else None
    set_classes(viewer, cells, before if same else known.with_class(old, colour))


def set_classes(viewer: "Viewer", cells: "Labels", classes: ClassList) -> None:
    """Other names, colours or order."""
    ours = cells.metadata.get(layers.KEY, {})
    stored = classes.to_json()
    if ours.get("classes") == stored:
        return
    cells.metadata = cells.metadata | {layers.KEY: ours | {"classes": stored}}
    session, key = autosave.session_of(cells)
    if session is not None:
        session.record([Change(action="classes", image=key, old=ours.get("classes"), new=stored)])
    rims = classes_layer(viewer, cells)
    if rims is not None and list(rims.features.get("cell_type", ())) == list(classes.names):
        rims.colormap = layers.class_colormap(classes)  # other colours only
    else:
        repaint(viewer, cells, classes)
    cells.events.features()


def make_rows(cells: "Labels", cell_ids: Sequence[int]) -> None:
    """A row for each cell of a drawing that has no table yet."""
    import pandas as pd

    cells.features = pd.DataFrame({"index": list(cell_ids), "label": list(cell_ids)})


def set_predictions(
    cells: "Labels", table: "pd.DataFrame", by: Mapping[str, Any], names: Sequence[str] = ()
) -> int:
    """What a model that knows the classes ``names`` says of each cell. Those that a person decided keep their
    class; gives how many."""
    features = rows_there(layers.features_of(table), cells.features, np.asarray(cells.data))
    kept = dict(zip(ids(cells)[is_by_person(cells)].tolist(), _rows_by_person(cells), strict=True))
    for name in ("cell_type", "cell_type_source"):
        features[name] = features[name].astype("object")
    mine = features["index"].isin(list(kept))
    anew = features.loc[mine, ["index", "cell_type", "cell_type_source"]].itertuples(index=False)
    said_anew = {int(cell): (str(kind), str(source)) for cell, kind, source in anew}
    for name, place in (("cell_type", 0), ("cell_type_source", 1)):
        features.loc[mine, name] = [kept[cell][place] for cell in features.loc[mine, "index"]]
        features[name] = features[name].astype("category")
    ours = cells.metadata.get(layers.KEY, {})
    found = [str(name) for name in features["cell_type"].cat.categories]
    classes = class_list(cells) if "classes" in ours else ClassList.of([*names, *found])
    for name in (*names, *found):
        classes = classes.with_class(name)
    said = {"schema": layers.SCHEMA, "role": layers.CELLS, "classes": classes.to_json()}
    said["made"] = ours.get("made") or uuid.uuid4().hex
    cells.metadata = cells.metadata | {layers.KEY: ours | dict(by) | said}
    cells.features = features
    if cells in _histories:
        _histories[cells].after_model(said_anew)
    session, key = autosave.session_of(cells)
    if session is not None:
        session.save_now(key)
    return int(mine.sum())


def check_plane(cells: "Labels | None") -> None:
    """Rims, tables and sessions hold one picture."""
    if cells is not None and (cells.multiscale or math.prod(cells.data.shape[:-2]) != 1):
        size = " x ".join(map(str, cells.data.shape))
        raise SegmentError(
            f"{cells.name} is a stack or a pyramid ({size}); classes are given to one plane. "
            "Choose the layer that Count cells or Segment cells made, or split the stack."
        )


def show_rims(viewer: "Viewer", cells: "Labels", picture: layers.Picture, rims: Any) -> "Steps[None]":
    """The classes layer of these cells, made or made anew: the outlines may have changed."""
    labels = np.asarray(cells.data).reshape(cells.data.shape[-2:])
    if rims.shape != labels.shape:
        return
    classes = class_list(cells)
    data = layers.painted(labels, rims, cells.features, classes)
    there = classes_layer(viewer, cells)
    if there is not None:
        there.data = data.reshape(there.data.shape)
        there.features = layers.class_rows(classes)
        there.colormap = layers.class_colormap(classes)
        return
    ours = dict(cells.metadata[layers.KEY])
    active = viewer.layers.selection.active
    layer = yield from layers.add_classes(viewer, picture, data, classes, ours)
    if viewer.layers.selection.active == layer:  # not "is": plugins are handed layers in a wrapping
        kept = [one for one in (active, cells) if one in viewer.layers]
        viewer.layers.selection.active = kept[0] if kept else None


def _do(
    viewer: "Viewer",
    cells: "Labels",
    changes: tuple[Given, ...],
    action: str,
    step: int,
    *,
    also_empty: bool = False,
) -> int:
    if not changes and not also_empty:
        return 0
    history = _histories.setdefault(cells, History())
    history.done.append((step, changes))
    history.undone.clear()
    return _apply(viewer, cells, changes, action)


def _apply(viewer: "Viewer", cells: "Labels", changes: tuple[Given, ...], action: str) -> int:
    if not changes:
        return 0
    features = cells.features.copy()
    place_of = {cell: row for row, cell in enumerate(ids(cells).tolist())}
    there = [one for one in changes if one.cell_id in place_of]
    places = [place_of[one.cell_id] for one in there]
    for name, values in (
        ("cell_type", [one.new for one in there]),
        ("cell_type_source", [one.new_source for one in there]),
    ):
        column = _texts(features, name)
        column[places] = values
        features[name] = column
        features[name] = features[name].astype("category")
    session, key = autosave.session_of(cells)
    if session is not None:
        session.record([_line(one, key, action) for one in there])
    cells.features = features  # tells the panels
    repaint(viewer, cells, class_list(cells), [one.cell_id for one in there])
    return len(there)


def _line(one: Given, key: str, action: str) -> Change:
    return Change(
        action=action, image=key, cell_id=one.cell_id, old=one.old, new=one.new, note=one.new_source
    )


def _rows(cells: "Labels", wanted: set[int]) -> list[tuple[int, str, str]]:
    return [row for row in rows(cells) if row[0] in wanted]


def rows(cells: "Labels") -> list[tuple[int, str, str]]:
    """Cell, class and who said so."""
    features = cells.features
    n = len(features)
    sources = features["cell_type_source"].astype(str) if "cell_type_source" in features else [""] * n
    return list(zip(ids(cells).tolist(), kinds(cells), sources, strict=True))


def image_name(cells: "Labels") -> str:
    """Of the image the cells lie on, as tables call it."""
    made_from = cells.metadata.get(layers.KEY, {}).get("image", {})
    return str(made_from.get("layer") or cells.name)


def image_source(cells: "Labels") -> str:
    """The path of that image; empty where it has none."""
    return str(cells.metadata.get(layers.KEY, {}).get("image", {}).get("source") or "")


def row_of(cells: "Labels", cell_id: int) -> dict[str, Any] | None:
    """Everything the table says of one cell."""
    found = np.flatnonzero(ids(cells) == cell_id)
    return None if not len(found) else dict(cells.features.iloc[int(found[0])])


def _rows_by_person(cells: "Labels") -> list[tuple[str, str]]:
    if not len(cells.features):
        return []
    mine = is_by_person(cells)
    sources = cells.features["cell_type_source"].astype(str) if mine.any() else [""] * len(mine)
    return [(kind, source) for kind, source, by in zip(kinds(cells), sources, mine, strict=True) if by]


def _texts(features: "pd.DataFrame", name: str) -> Any:
    if name in features:
        return features[name].astype("object").to_numpy(copy=True)
    column = np.empty(len(features), object)
    column[:] = ""
    return column
