"""Whose name is under the count on the screen, and whether it still is the count that was signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import classes, layers
from napari_bloodcell.gui.differential_calls import Shown, Slide, counted, slide_of

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_bloodcell.core.report.signed import Looked

NOT_SIGNED = "Not signed yet."


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """``signed``: the signature under exactly what is shown; empty where there is none, or it is void."""

    text: str
    signed: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Signature:
    """One signature and the layers it is under. ``missing``: images of it that are not open."""

    signed: Mapping[str, Any]
    under: "Sequence[Labels]"
    missing: Sequence[str]
    is_valid: bool

    def who_and_when(self) -> str:
        return f"{self.signed['who']}, {_time(self.signed['when'])}"


def cells_of(slides: Sequence[Slide]) -> str | None:
    """What a signature is under beside the figures; None until all outlines are hashed."""
    from napari_bloodcell.core.report.signed import cells_digest

    drawn = [(slide.name, slide.drawn) for slide in slides if slide.drawn is not None]
    if len(drawn) < len(slides):
        return None
    cells = (
        (slide.name, cell, kind)
        for slide in slides
        for cell, kind in zip(slide.table["index"], slide.kinds, strict=True)
    )
    return cells_digest(cells, drawn)


def looked(slides: Sequence[Slide], config: CountConfig) -> "Looked":
    from napari_bloodcell.core.report.signed import looked_at

    return looked_at(
        [kind for slide in slides for kind in slide.kinds],
        [seen for slide in slides for seen in slide.seen],
        [cut for slide in slides for cut in slide.at_border],
        [doubt for slide in slides for doubt in slide.doubts],
        config,
    )


def judge(there: "Sequence[Labels]", others: "Sequence[Labels]", shown: Shown) -> Judged:
    """Of the layers that are shown, by all that their signatures are under: ``others`` are the open ones."""
    ours = [(layer, layer.metadata.get(layers.KEY, {}).get("signed")) for layer in there]
    each: list[Any] = []
    for _, signed in ours:
        if signed and signed not in each:
            each.append(signed)
    if not each:
        return Judged(text=NOT_SIGNED, signed={})
    found = [_signature(signed, there, others, shown) for signed in each]
    new = [classes.image_name(layer) for layer, signed in ours if not signed]
    if len(found) > 1:
        parts = (f"{_fields(len(_among(one, there)))} by {one.who_and_when()}{_state(one)}" for one in found)
        return Judged(text=f"Signed apart: {'; '.join(parts)}. {_is_new(new)}".strip(), signed={})
    (one,) = found
    if new:
        n = len(there)
        text = f"{n - len(new)} of {n} fields are signed by {one.who_and_when()}{_state(one)}. {_is_new(new)}"
        return Judged(text=f"{text} Sign again.", signed={})
    return _of_all(one, there, shown)


def _of_all(one: _Signature, there: "Sequence[Labels]", shown: Shown) -> Judged:
    from napari_bloodcell.core.report.signed import Looked

    n = len(one.under) + len(one.missing) - len(there)
    together = f" together with {how_many(n, 'other field')}" if n else ""
    if one.missing:
        text = f"Signed by {one.who_and_when()}{together}, of which {', '.join(one.missing)} "
        text += (
            f"{'is' if len(one.missing) == 1 else 'are'} not open: open all to see whether it still holds."
        )
        return Judged(text=text, signed={})
    if not one.is_valid:
        text = (
            f"Changed since {one.signed['who']} signed it{together}, {_time(one.signed['when'])}. Sign again."
        )
        return Judged(text=text, signed={})
    is_shown = not n and str(one.signed["digest"]) == shown.digest
    otherwise = "" if is_shown or n else ", counted with other settings"
    unseen = Looked.read(one.signed).text()
    text = f"Signed by {one.who_and_when()}{together}{otherwise}{'; ' if unseen else ''}{unseen}."
    return Judged(text=text, signed=one.signed if is_shown else {})


def _signature(
    signed: Mapping[str, Any], there: "Sequence[Labels]", others: "Sequence[Labels]", shown: Shown
) -> _Signature:
    from napari_bloodcell.core.report.signed import is_unchanged

    names = signed.get("images")  # older ones do not say
    under = [layer for layer in there if _has(layer, signed, names)]
    here = {classes.image_name(layer) for layer in under}
    under += [
        layer for layer in others if _has(layer, signed, names) and classes.image_name(layer) not in here
    ]
    open_now = {classes.image_name(layer) for layer in under}
    slides = [slide_of(layer) for layer in _in_order(under, names)]
    config = CountConfig.from_json(dict(signed["count"])) if "count" in signed else shown.config
    merge = bool(signed.get("merge_bands", shown.merge_bands))
    digest = counted(slides, config, merge_bands=merge).digest
    return _Signature(
        signed=signed,
        under=under,
        missing=[name for name in names or () if name not in open_now],
        is_valid=is_unchanged(signed, digest, cells_of(slides) if "cells" in signed else None),
    )


def _has(layer: "Labels", signed: Mapping[str, Any], names: Sequence[str] | None) -> bool:
    if names is not None:
        return classes.image_name(layer) in names
    return bool(layer.metadata.get(layers.KEY, {}).get("signed") == signed)


def _in_order(under: "Sequence[Labels]", names: Sequence[str] | None) -> "list[Labels]":
    """As they were signed: the figures of the slides are in this order."""
    if names is None:
        return list(under)
    return sorted(under, key=lambda layer: names.index(classes.image_name(layer)))


def _among(one: _Signature, there: "Sequence[Labels]") -> "list[Labels]":
    return [layer for layer in there if _has(layer, one.signed, None)]


def _state(one: _Signature) -> str:
    return "" if one.is_valid else ", and changed since"


def _fields(n: int) -> str:
    return how_many(n, "field")


def _is_new(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} new."


def _time(when: str) -> str:
    return when.replace("T", " ").replace("+00:00", " UTC")
