"""What a training was asked to do, kept beside it: to go on later, and to take away only what it made."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_bloodcell.core.artifact import LOCK, read_json, write_json

PLAN = "training.json"
KIND = "training-plan"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``configs``: the settings by name, as JSON. ``found``: files that were in the folder before."""

    method: str
    data: tuple[str, ...]
    sam: str = ""
    adapter: str = ""
    leave_out: str = ""
    configs: Mapping[str, Any] = field(default_factory=dict)
    found: tuple[str, ...] = ()


def write_plan(folder: Path, plan: Plan) -> None:
    write_json(folder / PLAN, KIND, asdict(plan))


def read_plan(folder: Path) -> Plan | None:
    """None where the folder holds no training, or one that was begun without a plan."""
    if not (folder / PLAN).is_file():
        return None
    body: dict[str, Any] = read_json(folder / PLAN, KIND)[1]
    return Plan(**body | {name: tuple(body[name]) for name in ("data", "found")})


def discard(folder: Path, made: Iterable[str]) -> list[str]:
    """Remove what a training made: of the names ``made``, those that were not there before it began. Folders
    that are empty then go too. Returns what was removed."""
    plan = read_plan(folder)
    found = set(plan.found) if plan is not None else set()
    names, removed = list(dict.fromkeys((*made, PLAN))), []
    for name in names:
        path = folder / name
        if name not in found and path.is_file() and not path.is_symlink():
            path.unlink()
            removed.append(name)
    inner = {parent for name in names for parent in (folder / name).parents if parent != folder}
    within = [one for one in inner if one.is_relative_to(folder)]
    for place in [*sorted(within, key=lambda one: -len(one.parts)), folder]:
        if (lock := str((place / LOCK).relative_to(folder))) not in found:
            (folder / lock).unlink(missing_ok=True)  # its run has ended
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    return removed
