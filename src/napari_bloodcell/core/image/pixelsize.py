"""Micrometres a pixel, out of what files say."""

import math

# Files spell the unit of a length in many ways; keys are lower case, with µ written u.
_UM_PER_UNIT = {
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "angstrom": 1e-4,
    "å": 1e-4,
    "pm": 1e-6,
    "picometer": 1e-6,
    "picometre": 1e-6,
    "in": 25400.0,
    "inch": 25400.0,
}
# Printing resolutions (72 dpi is 353 µm) say nothing of a microscope; only this range is believed.
_PLAUSIBLE_DPI_UM = (0.02, 5.0)
_ACCEPTED_UM = (0.005, 20.0)  # the bounds of ReadConfig.um_per_px


def in_um(value: float, unit: str | None) -> float | None:
    """Length in µm; None for a unit that is no length (pixel, reference frame, none)."""
    spelled = (unit or "").strip().lower().replace("\\u00b5", "u").replace("µ", "u").replace("μ", "u")
    factor = _UM_PER_UNIT.get(spelled)
    return None if factor is None else value * factor


def from_metadata(
    x_um: float | None, y_um: float | None, said_by: str
) -> tuple[float | None, tuple[str, ...]]:
    """One pixel size out of width and height, for metadata made for microscopes."""
    x_um, y_um = x_um if x_um is not None else y_um, y_um if y_um is not None else x_um
    if x_um is None or y_um is None:
        return None, ()
    low, high = _ACCEPTED_UM
    if not (low <= x_um <= high and low <= y_um <= high):
        return None, (
            f"the pixel size in {said_by}, {x_um:g} x {y_um:g} µm, was left out: {low} to {high:g} is taken",
        )
    if math.isclose(x_um, y_um, rel_tol=0.01):
        return float(x_um), (f"pixel size {x_um:.6g} µm from {said_by}",)
    mean = math.sqrt(x_um * y_um)
    return mean, (
        f"pixels are not square ({x_um:.6g} x {y_um:.6g} µm in {said_by}); {mean:.6g} µm keeps areas right",
    )


def from_resolution(x_um: float, y_um: float, said_by: str) -> tuple[float | None, tuple[str, ...]]:
    """The same for tags that mostly hold a printing resolution: taken only when plausible."""
    low, high = _PLAUSIBLE_DPI_UM
    if low <= x_um <= high and low <= y_um <= high:
        return from_metadata(x_um, y_um, said_by)
    return None, ()
