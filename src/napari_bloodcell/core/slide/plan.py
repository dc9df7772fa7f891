"""Where on a slide there is something to see, found on a coarse level: not on glass, not out of focus, and
near the stain of a nucleus.

The slide is divided into units of about 32 µm, whatever blocks it is worked in: a unit is looked at in full
resolution or not, so the cells do not depend on the blocks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_bloodcell.core.config import AnalyseConfig
from napari_bloodcell.core.errors import SegmentError
from napari_bloodcell.core.image.lazy import LazyImage
from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import BoolArray, ByteArray, FloatArray
from napari_bloodcell.core.segment.survey import (
    WINDOW_PX,
    Survey,
    nuclear_weights,
    survey_windows,
    thickness,
)
from napari_bloodcell.core.stain import DIMMEST_LIGHT, ground_light, mixed_density
from napari_bloodcell.core.stain.surround import WHITEST, surround_of

UNIT_UM = 32.0
FOCUS_UNITS = 4  # focus is judged in squares of so many units a side
COARSE_UM = 1.1  # the coarsest pixel at which a nucleus is still seen
PIECE_PX = 2048  # of the coarse level, read at a time
SAMPLES, SAMPLE_PX = 10, 256  # windows a side in which a film is looked for, and their side
BLANK = 0.8  # white share of a window, from which it tells little of the light
SURVEYED = 9
LEAST_STAINED = 0.005  # of a square; less is glass
STAINED = 0.06  # density in green and blue of anything
FAINTER = 0.75  # of the level of nuclei: means over a coarse pixel are paler
NEAR_UM = 9.0  # pieces of one nucleus lie in a window of this side
LEAST_SHARE = 0.5  # of the area of the smallest nucleus that must be seen in it
MAPS = ("stained", "sharp", "wanted")
SURVEY = (
    "heme", "um_per_px", "scale_source", "assumed_um_per_px", "nuclear_level", "red_cells", "red_cell_px",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """``wanted``, ``stained`` and ``sharp`` are maps of the units."""

    shape: tuple[int, int]
    unit_px: int
    seen: Survey | None  # None: nothing to see
    stained: BoolArray
    sharp: BoolArray
    wanted: BoolArray


@dataclass(frozen=True)
class Coarse:
    """A level of the slide, thinned once more where it is too fine."""

    level: LazyImage
    thin: int
    step: float  # pixels of the slide that one pixel of it spans

    @property
    def shape(self) -> tuple[int, int]:
        return self.level.shape[0] // self.thin, self.level.shape[1] // self.thin

    def read(self, rows: slice, columns: slice) -> ByteArray:
        wide = (slice(s.start * self.thin, s.stop * self.thin) for s in (rows, columns))
        return reduce(self.level[tuple(wide)], self.thin)  # type: ignore[index]


def coarse_of(image: LazyImage, um_per_px: float) -> Coarse:
    steps = [1.0, *(image.step(array) for array in image.coarser)]
    fitting = [i for i, step in enumerate(steps) if step * um_per_px <= COARSE_UM]
    number = max(fitting, default=0)
    thin = max(1, int(COARSE_UM / (steps[number] * um_per_px)))
    return Coarse(image.levels[number], thin, steps[number] * thin)


def make_plan(image: LazyImage, config: AnalyseConfig, *, progress: Progress = silent) -> Plan:
    seen = look_at(image, progress=progress)
    um = seen.assumed_um_per_px if seen else UNIT_UM / 128
    stride = seen.stride if seen else 1
    unit_px = stride * max(1, round(UNIT_UM / um / stride))
    shape = image.shape[:2]
    nothing = np.zeros([-(-n // unit_px) for n in shape], np.bool_)
    plan = Plan(shape=shape, unit_px=unit_px, seen=seen, stained=nothing, sharp=nothing, wanted=nothing)
    return plan if seen is None else _searched(image, plan, seen, config, progress)


def look_at(image: LazyImage, *, progress: Progress = silent) -> Survey | None:
    """Light, colours and scale of the whole slide, from windows that lie on the film and in focus."""
    progress("looking for the film", 0, 1)
    coarse = coarse_of(image, image.um_per_px or 0.25)
    corners = _grid(coarse.shape, SAMPLE_PX)
    samples = [coarse.read(*(slice(c, c + SAMPLE_PX) for c in corner)) for corner in corners]
    samples = [one for one in samples if min(one.shape[:2]) >= 8]
    if not samples:
        return None
    told = [s for s in samples if (s.min(axis=2) >= WHITEST).mean() < BLANK] or samples
    light = ground_light(np.concatenate([_scanned(s) for s in told])[None])
    if light.max() < DIMMEST_LIGHT:
        return None
    stained = np.array([(thickness(s, light) > STAINED).mean() for s in samples])
    sharpness = np.array([_sharpness(thickness(s, light)) for s in samples])
    on_film = np.flatnonzero(stained >= 0.02)
    if len(on_film):
        on_film = on_film[sharpness[on_film] >= 0.5 * np.quantile(sharpness[on_film], 0.9)]
    chosen = _spread(on_film, image)
    middles = [[(c + SAMPLE_PX / 2) * coarse.step for c in corners[i]] for i in chosen]
    windows = [_window(image, middle) for middle in middles]
    if not windows:
        return None
    if all(np.ptp(w.astype(np.int16), axis=2).max() == 0 for w in windows):
        raise SegmentError(
            f"{image.name} is colourless: red, green and blue are equal in every pixel. White cells are "
            "located by the colour of their stain. Open the colour original."
        )
    seen = survey_windows(windows, image.um_per_px)
    progress("looking for the film", 1, 1)
    return None if seen is None else replace(seen, light=light)


def _scanned(sample: ByteArray) -> ByteArray:
    """Its pixels, less what no scanner saw: white or black beyond a straight edge is no ground."""
    outside = surround_of(sample)
    return sample.reshape(-1, 3) if outside is None else sample[~outside]


def _spread(on_film: NDArray[np.intp], image: LazyImage) -> NDArray[np.intp]:
    """Some of them, far apart; fewer where windows would lie on each other."""
    room = max(1, int(np.prod(image.shape[:2])) // WINDOW_PX**2)
    if room == 1 or not len(on_film):
        return on_film[len(on_film) // 2 :][:1]
    places = np.unique(np.linspace(0, len(on_film) - 1, min(SURVEYED, room)).astype(int))
    return np.asarray(on_film[places], np.intp)


def _window(image: LazyImage, middle: list[float]) -> ByteArray:
    corner = [
        int(min(max(at - WINDOW_PX / 2, 0), max(n - WINDOW_PX, 0)))
        for at, n in zip(middle, image.shape, strict=False)
    ]
    return image[slice(corner[0], corner[0] + WINDOW_PX), slice(corner[1], corner[1] + WINDOW_PX)]


def _grid(shape: tuple[int, int], side: int) -> list[tuple[int, int]]:
    spans = [
        np.unique(np.linspace(0, max(n - side, 0), min(SAMPLES, -(-n // side))).astype(int)) for n in shape
    ]
    return [(int(y), int(x)) for y in spans[0] for x in spans[1]]


def _searched(image: LazyImage, plan: Plan, seen: Survey, config: AnalyseConfig, progress: Progress) -> Plan:
    """One pass over the coarse level: where is stain, where is it sharp, where may a nucleus be."""
    coarse = coarse_of(image, seen.assumed_um_per_px)
    units = plan.wanted.shape
    squares = tuple(-(-n // FOCUS_UNITS) for n in units)
    stained, sharpness = np.zeros(squares, np.float32), np.zeros(squares, np.float32)
    near = np.zeros(units, np.bool_)
    pieces = list(_pieces(plan, coarse, squares))
    reach = config.segment.max_cell_um / 2 / seen.assumed_um_per_px
    for number, (inner, outer) in enumerate(pieces):
        progress("searching the slide", number, len(pieces))
        pixels = coarse.read(*outer)
        thick = thickness(pixels, seen.light)
        _judge(plan, coarse, thick, (inner, outer), (stained, sharpness))
        hits = _nuclei(pixels, seen, coarse.step, config)
        _mark(
            near, plan, [(at + s.start + 0.5) * coarse.step for at, s in zip(hits, outer, strict=True)], reach
        )
    progress("searching the slide", len(pieces), len(pieces))
    on_film = stained >= LEAST_STAINED
    best = float(np.quantile(sharpness[on_film], 0.9)) if on_film.any() else 0.0
    sharp = sharpness >= config.slide.least_focus * best
    film, clear = (
        np.kron(m, np.ones((FOCUS_UNITS,) * 2, np.bool_))[: units[0], : units[1]] for m in (on_film, sharp)
    )
    wanted = film & clear & (near if config.slide.search == "coarse" else True)
    return replace(plan, stained=film, sharp=film & clear, wanted=np.asarray(wanted, np.bool_))


def _pieces(
    plan: Plan, coarse: Coarse, squares: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Whole squares of the focus map, as slices of it, and the coarse pixels that show them."""
    square = FOCUS_UNITS * plan.unit_px / coarse.step
    at_once = max(1, int(PIECE_PX / square))
    halo = int(NEAR_UM / COARSE_UM) * 2 + 2
    for top in range(0, squares[0], at_once):
        for left in range(0, squares[1], at_once):
            inner = tuple(slice(at, min(at + at_once, n)) for at, n in zip((top, left), squares, strict=True))
            outer = tuple(
                slice(max(0, int(s.start * square) - halo), min(n, int(s.stop * square) + halo))
                for s, n in zip(inner, coarse.shape, strict=True)
            )
            if all(s.stop - s.start >= 8 for s in outer):
                yield inner, outer  # type: ignore[misc]


def _judge(
    plan: Plan,
    coarse: Coarse,
    thick: FloatArray,
    where: tuple[tuple[slice, slice], tuple[slice, slice]],
    maps: tuple[FloatArray, FloatArray],
) -> None:
    """Fill in the maps of stain and sharpness for some squares."""
    inner, outer = where
    square = FOCUS_UNITS * plan.unit_px / coarse.step
    for row in range(inner[0].start, inner[0].stop):
        for column in range(inner[1].start, inner[1].stop):
            own = tuple(
                slice(int(at * square) - s.start, int((at + 1) * square) - s.start)
                for at, s in zip((row, column), outer, strict=True)
            )
            part = thick[own]
            if part.size:
                maps[0][row, column] = (part > STAINED).mean()
                maps[1][row, column] = _sharpness(part)


def _sharpness(thick: FloatArray) -> float:
    """Share of the contrast that lies in the finest details: falls when edges are soft, and hardly changes
    with how much is there."""
    spread = float(thick.var())
    if spread < 1e-8 or min(thick.shape) < 4:
        return 0.0
    fine = thick - ndi.uniform_filter(thick, 3)
    return float((fine * fine).mean()) / spread


def _nuclei(pixels: ByteArray, seen: Survey, step: float, config: AnalyseConfig) -> tuple[FloatArray, ...]:
    """Coarse pixels around which there is nearly enough stain for the smallest nucleus."""
    um = seen.assumed_um_per_px * step
    dark = mixed_density(pixels, seen.light, nuclear_weights(seen.heme)) > FAINTER * seen.nuclear_level
    side = max(1, round(NEAR_UM / um))
    area = ndi.uniform_filter(dark.astype(np.float32), side) * side**2 * um**2
    enough = LEAST_SHARE * np.pi / 4 * config.segment.min_nucleus_um**2
    return np.nonzero(dark & (area >= enough))  # type: ignore[return-value]


def _mark(near: BoolArray, plan: Plan, at: list[FloatArray], reach: float) -> None:
    """Every unit within reach of these points."""
    count = int(np.ceil(2 * reach / plan.unit_px)) + 1
    offsets = np.linspace(-reach, reach, count)
    for dy in offsets:
        for dx in offsets:
            rows, columns = (
                np.clip((points + d) // plan.unit_px, 0, n - 1).astype(int)
                for points, d, n in zip(at, (dy, dx), near.shape, strict=True)
            )
            near[rows, columns] = True


def plan_arrays(plan: Plan) -> dict[str, NDArray[Any]]:
    """The maps, for a file."""
    return {name: getattr(plan, name).astype(np.uint8) for name in MAPS}


def seen_of(plan: Plan) -> dict[str, object]:
    """The numbers, for the header of that file."""
    if plan.seen is None:
        return {"unit_px": plan.unit_px}
    told = {name: getattr(plan.seen, name) for name in SURVEY}
    return {"unit_px": plan.unit_px, "light": [float(v) for v in plan.seen.light], **told}


def plan_of(shape: tuple[int, int], told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Plan:
    """Back from the file."""
    seen = None
    if "light" in told:
        light = np.asarray(told["light"], np.float32)
        seen = Survey(light=light, **{name: told[name] for name in SURVEY if name in told})
    maps = {name: arrays[name].astype(np.bool_) for name in MAPS}
    return Plan(shape=shape, unit_px=int(told["unit_px"]), seen=seen, **maps)
