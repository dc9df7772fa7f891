"""How the images of a folder of results were made: by which model and settings, whether they are still there,
and which failed. What is counted together although it differs must be told."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import read_json
from napari_bloodcell.core.config import CountConfig
from napari_bloodcell.core.edited import TABLE, is_edited
from napari_bloodcell.core.errors import ArtifactError, ConfigError
from napari_bloodcell.core.report.by_slide import slides_of
from napari_bloodcell.core.words import how_many

RUN, LEDGER, LISTING = "run.json", "ledger.jsonl", "images.json"
WAITING = "waiting"  # in the listing: the run has not come to it
MOST_NAMED = 5
# Settings that belong to one image, that leave the cells as they are, or that are chosen anew for each count.
OWN = ("read.um_per_px", "read.page", "read.max_megapixels", "segment.device", "segment.tile_px", "count.")


@dataclass(frozen=True, kw_only=True)
class Made:
    """How the results of one image came about."""

    folder: Path
    image: str
    source: str  # "" for an array
    model: str
    config: Mapping[str, Any]
    outputs: Mapping[str, str] = field(default_factory=dict)  # hashes of its files, by name


def made_in(out: Path, slides: str = "") -> Iterator[Made]:
    """Each image of an output folder that is counted; of slides whose name holds this text."""
    for name, slide in slides_of(out).items():
        made = read_made(out / name) if slides in slide else None
        if made is not None:
            yield made


def read_made(folder: Path) -> Made | None:
    """None where the folder holds no finished analysis."""
    try:
        header, body = read_json(folder / RUN, "run")
    except ArtifactError:
        return None
    return made_of(folder, body, header.config)


def made_of(folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> Made:
    image, bundle = record["image"], record["bundle"]
    return Made(
        folder=folder,
        image=str(image["name"]),
        source=str(image.get("source") or ""),
        model=f"{bundle['name']} {str(bundle['sha256'])[:12]}".strip(),
        config=config,
        outputs=record.get("outputs", {}),
    )


def differences(made: Sequence[Made]) -> list[str]:
    """What to tell where images that are counted together were not made alike."""
    told = []
    models = Counter(one.model for one in made)
    if len(models) > 1:
        shares = ", ".join(f"{model} ({how_many(n, 'image')})" for model, n in models.items())
        told.append(f"The images were analysed with different models: {shares}.")
    values: dict[str, Counter[str]] = {}
    for one in made:
        for name, value in _flat(one.config):
            values.setdefault(name, Counter())[json.dumps(value)] += 1
    differ = [
        f"--{name.replace('_', '-')} " + ", ".join(f"{v} ({how_many(n, 'image')})" for v, n in found.items())
        for name, found in values.items()
        if len(found) > 1
    ]
    if differ:
        told.append(f"The images were analysed with different settings: {named(differ, '; ')}.")
    return told


def gone(made: Iterable[Made]) -> list[Made]:
    """Those whose picture is not where it was analysed."""
    return [one for one in made if one.source and not Path(one.source).exists()]


def gone_text(made: Sequence[Made]) -> list[str]:
    left = gone(made)
    if not left:
        return []
    are = "is" if len(left) == 1 else "are"
    return [
        f"{len(left)} of {how_many(len(made), 'image')} {are} not there any more, but still counted: "
        f"{named([one.image for one in left])}. `napari-bloodcell results drop` takes results out."
    ]


def edited_text(made: Iterable[Made]) -> list[str]:
    """Tables that somebody corrected where they lie: that is not how corrections are taken."""
    made = list(made)
    edited = [str(one.folder / TABLE) for one in made if is_edited(one.folder, one.outputs)]
    outs = dict.fromkeys(one.folder.parent for one in made)
    edited += [str(out / TABLE) for out in outs if is_edited(out, pooled_in(out))]
    if not edited:
        return []
    was = "was" if len(edited) == 1 else "were"
    return [
        f"{named(edited)} {was} changed by hand after the analysis: that is not counted. Give the table "
        "to `napari-bloodcell report` with --readers."
    ]


def unfinished_text(out: Path) -> list[str]:
    """Images of the last run that have no results: not reached yet, or taken away since."""
    listed = _last_run(out)
    if not listed:
        return []
    there, last = slides_of(out), {line["image"]: line["state"] for line in read_ledger(out)}
    told = []
    left = [image for image, one in listed.items() if one["state"] == WAITING and one["folder"] not in there]
    left = [image for image in left if last.get(image) != "failed"]
    if left:
        told.append(
            f"{len(left)} of {how_many(len(listed), 'image')} of the last run {_are(left)} not analysed: "
            "it was stopped, or goes on still. The same `analyse` again does the rest."
        )
    lost = [
        image
        for image, one in listed.items()
        if one["state"] in ("done", "kept") and last.get(image) != "dropped" and not _has_results(out, one)
    ]
    if lost:
        told.append(
            f"The results of {how_many(len(lost), 'image')} are not in {out} any more: "
            f"{named([Path(image).name for image in lost])}. The same `analyse` makes them again."
        )
    return told


def _has_results(out: Path, listed: Mapping[str, str]) -> bool:
    return (out / listed["folder"] / RUN).is_file()


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"


@dataclass(frozen=True)
class Failure:
    image: str  # path
    folder: str
    reason: str


def failures_in(out: Path) -> list[Failure]:
    """Images whose last analysis failed. One of an earlier run is told as long as its file is there."""
    last = {line["image"]: line for line in read_ledger(out)}
    listed = _last_run(out)
    return [
        Failure(path, str(line.get("folder", "")), str(line.get("reason", "")))
        for path, line in last.items()
        if line["state"] == "failed" and (path in listed or Path(path).exists())
    ]


def read_ledger(out: Path) -> list[dict[str, str]]:
    """All lines of the diary; one that a killed run left half-written is passed over."""
    if not (out / LEDGER).is_file():
        return []
    lines = []
    for line in (out / LEDGER).read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def count_settings(made: Iterable[Made], given: Mapping[str, Any]) -> tuple[CountConfig, list[str]]:
    """How to count: as is ``given``, else as the runs agree; and what to tell where they do not."""
    usual, told = CountConfig(), []
    values: dict[str, dict[Any, None]] = {}
    for one in made:
        for name, value in dict(one.config.get("count") or {}).items():
            values.setdefault(name, {})[value] = None
    chosen = dict(given)
    for name in (one.name for one in fields(CountConfig)):
        found = list(values.get(name, ()))
        if name in chosen or not found:
            continue
        chosen[name] = found[0] if len(found) == 1 else getattr(usual, name)
        if len(found) > 1:
            told.append(
                f"The runs counted with different settings: {name.replace('_', ' ')} "
                f"{' and '.join(map(str, found))}. Counted here with {chosen[name]}; a flag chooses another."
            )
    try:
        return CountConfig(**chosen), told
    except ConfigError:
        if dict(given) == chosen:
            raise
        return CountConfig(**given), [*told, "The settings of the runs are those of another release."]


def named(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return between.join(names[:MOST_NAMED]) + more


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif not path.startswith(OWN):
            yield path, value


def _last_run(out: Path) -> dict[str, dict[str, str]]:
    """Each image with its folder and state."""
    return {str(one["image"]): one for one in _listing(out).get("images", ())}


def pooled_in(out: Path) -> dict[str, str]:
    """Hashes of the tables of all images, as the last run wrote them."""
    return dict(_listing(out).get("outputs", {}))


def _listing(out: Path) -> dict[str, Any]:
    try:
        return read_json(out / LISTING, "batch")[1]
    except ArtifactError:
        return {}
