"""Stains and cameras. A look is what one laboratory's pictures have in common, whatever cell they show.

Colour is made in optical density (Beer-Lambert): each dye has an absorbance vector, densities add up,
and the lamp's light is dimmed by exp(-density).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.errors import ConfigError

# Layers of a slide, in this order. RELIEF is no dye: it is thickness, which bends light at edges.
HAEMOGLOBIN, CHROMATIN, BLUE, PINK, ORANGE, PURPLE, RELIEF = range(7)
LAYERS = 7

Rgb = tuple[float, float, float]
DYES = ("haemoglobin", "chromatin", "blue", "pink", "orange", "purple")


@dataclass(frozen=True, kw_only=True)
class Look:
    """One stain under one microscope. Absorbances are natural-log densities for red, green and blue."""

    name: str
    light: Rgb  # colour of empty ground, 0 to 1
    haemoglobin: Rgb
    chromatin: Rgb
    blue: Rgb  # basophilic cytoplasm
    pink: Rgb  # neutrophil cytoplasm and its fine granules
    orange: Rgb  # eosinophil granules
    purple: Rgb  # basophil granules, platelets
    clumping: float = 1.0  # contrast of chromatin
    pallor: float = 0.55  # depth of the pale centre of red cells
    refraction: float = 0.05  # dark or (negative) bright lines at edges
    oblique: float = 0.0  # how one-sided those lines are: the lamp is not quite centred
    haze: float = 0.02  # dried plasma
    dirt: float = 0.3  # specks a field, in tens
    dust: float = 0.0  # rings of dust on the sensor, for each 100 x 100 px
    blur_um: float = 0.12
    blur_px: float = 0.5
    sharpen: float = 0.2
    fringe_px: float = 0.3  # lateral colour error
    vignette: float = 0.05
    noise: float = 0.01
    noise_px: float = 0.5  # grain of the noise
    jpeg: float = 1.0  # 0: none; 1: quality about 75
    contrast: float = 1.0
    saturation: float = 1.0

    @property
    def absorbance(self) -> NDArray[np.float32]:
        """LAYERS - 1 rows, RGB."""
        return np.array([getattr(self, dye) for dye in DYES], np.float32)


LOOKS: dict[str, Look] = {
    look.name: look
    for look in (
        Look(
            name="giemsa_blue",
            light=(0.815, 0.83, 0.81),
            haemoglobin=(0.115, 0.275, 0.315),
            chromatin=(0.60, 1.25, 0.00),
            blue=(0.32, 0.27, 0.06),
            pink=(0.14, 0.38, 0.06),
            orange=(0.16, 0.62, 0.40),
            purple=(0.50, 0.85, 0.05),
            clumping=1.1,
            pallor=0.85,
            dust=0.5,
            refraction=0.075,
            oblique=0.3,
            blur_um=0.20,
            blur_px=0.8,
            sharpen=0.25,
            fringe_px=0.8,
            noise=0.006,
            noise_px=0.8,
            jpeg=1.0,
        ),
        Look(
            name="rapid_yellow",
            light=(1.05, 1.0, 0.63),
            haemoglobin=(0.01, 0.027, 0.04),
            chromatin=(0.85, 2.05, 0.60),
            blue=(0.50, 0.50, 0.22),
            pink=(0.23, 0.55, 0.40),
            orange=(0.36, 0.85, 0.62),
            purple=(0.75, 1.3, 0.5),
            clumping=0.7,
            pallor=0.8,
            refraction=0.19,
            oblique=0.9,
            haze=0.035,
            blur_um=0.24,
            blur_px=0.8,
            sharpen=0.6,
            fringe_px=0.5,
            noise=0.008,
            noise_px=0.7,
            jpeg=0.6,
            vignette=0.03,
        ),
        Look(
            name="wright_cream",
            light=(0.985, 0.885, 0.79),
            haemoglobin=(0.27, 0.52, 0.30),
            chromatin=(0.90, 1.52, 0.38),
            blue=(0.42, 0.40, 0.11),
            pink=(0.20, 0.36, 0.13),
            orange=(0.22, 0.68, 0.32),
            purple=(1.20, 1.85, 0.62),
            clumping=1.3,
            pallor=0.45,
            refraction=0.05,
            dirt=0.6,
            blur_um=0.075,
            blur_px=0.5,
            sharpen=0.8,
            fringe_px=0.25,
            noise=0.008,
            noise_px=0.4,
            jpeg=0.8,
        ),
        Look(
            name="may_gruenwald_white",
            light=(0.96, 0.955, 0.945),
            haemoglobin=(0.10, 0.36, 0.26),
            chromatin=(1.15, 1.60, 0.42),
            blue=(0.55, 0.42, 0.14),
            pink=(0.16, 0.34, 0.14),
            orange=(0.20, 0.72, 0.58),
            purple=(1.1, 1.5, 0.45),
            refraction=0.06,
            blur_um=0.13,
            blur_px=0.6,
            noise=0.01,
        ),
        Look(
            name="leishman_pink",
            light=(0.90, 0.83, 0.84),
            haemoglobin=(0.12, 0.50, 0.38),
            chromatin=(0.95, 1.25, 0.32),
            blue=(0.40, 0.30, 0.10),
            pink=(0.15, 0.44, 0.24),
            orange=(0.14, 0.75, 0.55),
            purple=(0.9, 1.25, 0.35),
            haze=0.05,
            refraction=-0.06,
            blur_um=0.16,
            blur_px=0.8,
            noise=0.014,
            noise_px=0.6,
        ),
    )
}


def look_of(name: str, rng: np.random.Generator, without: Sequence[str] = ()) -> Look:
    """A look by name, as it came out that day; ``random`` draws one."""
    if name == "random":
        return random_look(rng, without=without)
    if name not in LOOKS:
        raise ConfigError(f"There is no look {name!r}. There are: {', '.join(LOOKS)}, random.")
    return _on_another_day(LOOKS[name], rng)


def _on_another_day(look: Look, rng: np.random.Generator) -> Look:
    """No laboratory stains or focuses twice alike."""
    strength = np.exp(rng.normal(0, 0.12))
    dyes: dict[str, Any] = {
        dye: _scaled(getattr(look, dye), strength * np.exp(rng.normal(0, 0.09, 3))) for dye in DYES
    }
    light = _scaled(look.light, np.exp(rng.normal(0, 0.02)) * np.exp(rng.normal(0, 0.012, 3)))
    defocus = rng.uniform(0.8, 1.3) if rng.random() < 0.85 else rng.uniform(1.3, 2.4)
    return replace(
        look,
        light=light,
        **dyes,
        refraction=look.refraction * rng.uniform(0.4, 1.7),
        pallor=look.pallor * rng.uniform(0.75, 1.15),
        blur_um=look.blur_um * defocus,
        clumping=look.clumping * rng.uniform(0.8, 1.2),
        vignette=look.vignette * rng.uniform(0.3, 1.6),
        noise=look.noise * rng.uniform(0.7, 1.4),
    )


def _scaled(colour: Rgb, factor: NDArray[np.float64] | float) -> Rgb:
    red, green, blue = (float(v) for v in np.array(colour) * factor)
    return red, green, blue


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _stain(rng: np.random.Generator, spread: float, names: list[str]) -> dict[str, Rgb]:
    """Absorbances of a laboratory between the known ones, and then beyond them."""
    share = rng.dirichlet(np.full(len(names), 0.45))
    strength = float(np.exp(rng.normal(0, 0.16)))
    tint = np.exp(rng.normal(0, 0.16 * spread, 3))  # of the camera: the same for every dye
    dyes: dict[str, Rgb] = {}
    for dye in DYES:
        mean = sum(w * np.array(getattr(LOOKS[n], dye)) for w, n in zip(share, names, strict=True))
        vector = mean * tint * np.exp(rng.normal(0, 0.20 * spread, 3)) * np.exp(rng.normal(0, 0.12 * spread))
        dyes[dye] = _scaled((1, 1, 1), vector * strength)
    faint = float(np.exp(-abs(rng.normal(0, 0.35 * spread))))
    dyes["haemoglobin"] = _scaled(dyes["haemoglobin"], faint)
    return dyes


def _light(rng: np.random.Generator, names: list[str]) -> Rgb:
    """Ground from cream and yellow over white to bluish grey."""
    if rng.random() < 0.35:
        near = LOOKS[names[int(rng.integers(len(names)))]].light
        colour = np.array(near) * np.exp(rng.normal(0, 0.03, 3))
    else:
        warmth = rng.normal(0.03, 0.07) + (rng.random() < 0.12) * rng.uniform(0, 0.25)
        brightness = rng.uniform(0.72, 1.1)
        colour = brightness * np.exp([warmth * 0.4, rng.normal(0, 0.035), -warmth])
    red, green, blue = (float(v) for v in np.clip(colour, 0.45, 1.12))
    return red, green, blue


def random_look(rng: np.random.Generator, *, spread: float = 1.0, without: Sequence[str] = ()) -> Look:
    """A laboratory nobody has seen. ``spread`` 0 stays between the named looks, 1 goes well beyond; the looks
    named in ``without`` are as if unknown."""
    names = [name for name in LOOKS if name not in without]
    if not names:
        raise ConfigError(f"Leaving out all looks ({', '.join(LOOKS)}) leaves none to draw. Keep one.")
    start = LOOKS[names[int(rng.integers(len(names)))]]
    return replace(
        start,
        name="random",
        light=_light(rng, names),
        **_stain(rng, spread, names),
        clumping=_between(rng, 0.5, 1.9),
        pallor=_between(rng, 0.2, 0.85),
        refraction=float(rng.normal(0.05, 0.08)),
        oblique=float(abs(rng.normal(0, 0.5))),
        haze=_between(rng, 0.0, 0.06),
        dirt=_between(rng, 0.0, 1.0),
        dust=max(_between(rng, -1.0, 0.7), 0.0),
        blur_um=_between(rng, 0.08, 0.26),
        blur_px=float(rng.uniform(0.35, 1.0) + (rng.random() < 0.25) * rng.uniform(0, 1.4)),
        sharpen=_between(rng, 0.0, 1.2),
        fringe_px=float(1.4 * rng.random() ** 1.7),
        vignette=_between(rng, 0.0, 0.14),
        noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.03)))),
        noise_px=_between(rng, 0.3, 1.1),
        jpeg=_between(rng, 0.0, 1.8),
        contrast=float(np.exp(rng.normal(0, 0.10))),
        saturation=float(np.exp(rng.normal(0, 0.14))),
    )


LOOK_NAMES = (*LOOKS, "random")
