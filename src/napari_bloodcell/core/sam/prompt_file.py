"""Prompts from a file: JSON, or a table that any program can write.

JSON: a list with one object a cell, ``{"points": [[x, y], ...], "inside": [true, false], "box": [x0, y0, x1,
y1], "scribble": [[x, y], ...]}``, each optional. CSV: one row a point (columns cell, x, y and, if wanted,
inside as 1 or 0) or a box (cell, x0, y0, x1, y1); rows of one cell belong together.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.rows import read_rows
from napari_bloodcell.core.sam.prompt import Prompt, scribble

KEYS = ("points", "inside", "box", "scribble")
YES = ("1", "true", "yes")
POINT, BOX = ("x", "y"), ("x0", "y0", "x1", "y1")


def read_prompts(path: Path) -> list[Prompt]:
    """One prompt a cell, in the order of the file. Places are checked when they are asked."""
    path = Path(path)
    told = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    if not told:
        raise SegmentError(f"{path} holds no prompts. Write at least one point or box into it.")
    return [_prompt(one, f"{path}, cell {number}") for number, one in enumerate(told, 1)]


def _from_json(path: Path) -> list[dict[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SegmentError(f"The prompts {path} cannot be read: {error}. Give a JSON or CSV file.") from error
    except json.JSONDecodeError as error:
        raise SegmentError(f"{path} is no JSON ({error}). It takes a list of objects, one a cell.") from error
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise SegmentError(f"{path} holds a {type(told).__name__}; it takes a list of objects, one a cell.")
    return told


def _from_csv(path: Path) -> list[dict[str, Any]]:
    table = read_rows(path)
    columns = set(table.columns)
    if table.rows and not (columns >= set(POINT) or columns >= set(BOX)):
        raise SegmentError(
            f"{path} has the columns {table.has}; it takes x and y, or x0, y0, x1 "
            "and y1, and cell where several rows belong to one."
        )
    cells: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        one = cells.setdefault(row.get("cell") or f"line {row.line}", {})
        if all(row.get(name) for name in BOX):
            one["box"] = [row.get(name) for name in BOX]
        if all(row.get(name) for name in POINT):
            one.setdefault("points", []).append([row.get(name) for name in POINT])
            one.setdefault("inside", []).append((row.get("inside") or "1").lower() in YES)
    return list(cells.values())


def _prompt(told: dict[str, Any], where: str) -> Prompt:
    odd = sorted(set(told) - set(KEYS))
    if odd:
        raise SegmentError(f"{where}: {odd[0]!r} is not known; a prompt has {', '.join(KEYS)}.")
    points = [_numbers(told["points"], where, 2)] if told.get("points") else []
    inside = [np.asarray(told.get("inside") or np.ones(len(points[0])), np.bool_)] if points else []
    if told.get("scribble"):
        line = scribble(_numbers(told["scribble"], where, 2))
        points, inside = [*points, line], [*inside, np.ones(len(line), np.bool_)]
    return Prompt(
        points_xy=np.concatenate(points) if points else None,
        inside=np.concatenate(inside) if points else None,
        box_xyxy=_numbers(told["box"], where, 4)[0] if told.get("box") else None,
    )


def _numbers(values: Any, where: str, width: int) -> Any:
    try:
        array = np.asarray(values, float).reshape(-1, width)
    except (TypeError, ValueError) as error:
        raise SegmentError(
            f"{where}: {values!r} are no places; each takes {width} numbers, in pixels of the image."
        ) from error
    if not np.isfinite(array).all():
        raise SegmentError(f"{where}: {values!r} holds values that are no numbers.")
    return array
