"""What makes a picture, or what was said of it, hard to believe: told beside its cells, never acted on."""

import numpy as np

from napari_bloodcell.core.image.reduce import reduce
from napari_bloodcell.core.records import ByteArray, FloatArray
from napari_bloodcell.core.segment.survey import RED_CELL_UM, Pixels, Survey, windows_of
from napari_bloodcell.core.stain import mixed_density

FAR_OFF = 1.5  # times: on 292 fields of one camera the red cells differ by 1.35 at most
FEW, FAR_OFF_OF_FEW = 5, 2.3  # fewer red cells than this may be something else: more is needed
SMALLEST_PX = 100  # shorter side
LOOK_PX = 256
WHITE, LEAST_WHITE = 254, 0.1  # grey level, and share of the picture
DARK = 80  # grey level of the ground: at 0.6 of the usual light nothing is lost yet
STAINED = 0.25  # density in all colours together


def doubts_of(pixels: Pixels, evened: Pixels, seen: Survey) -> tuple[str, ...]:
    """Each as a sentence for the notes of its cells. ``evened``: without what lies round the picture."""
    told = doubt_of_size(seen)
    if min(pixels.shape[:2]) < SMALLEST_PX:
        return told
    told += _overexposed(evened) + _dark(seen)
    small = _colours(pixels)
    if _inverted(small):
        return (
            "the picture looks inverted, dark where it should be bright: if so, its cells and classes mean "
            "nothing. Save it as the camera showed it",
        )
    if _exchanged(small, seen.light):
        return (
            *told,
            "red and blue look exchanged, as in arrays that OpenCV reads: if so, give them in the order red, "
            "green, blue (pixels[..., ::-1])",
        )
    return told


def doubt_of_size(seen: Survey) -> tuple[str, ...]:
    """Red cells are a ruler in every field."""
    if seen.scale_source != "given" or seen.um_per_px is None or not seen.red_cells:
        return ()
    by_it = seen.um_per_px * seen.red_cell_px
    most = FAR_OFF if seen.red_cells >= FEW else FAR_OFF_OF_FEW
    if RED_CELL_UM / most < by_it < RED_CELL_UM * most:
        return ()
    told, wide = f"{seen.um_per_px:.3g}", f"{by_it:.0f}" if by_it >= 1 else f"{by_it:.1g}"
    fits = f"{RED_CELL_UM / seen.red_cell_px:.2g}"
    return (
        f"pixels of {told} µm, as given or as the file says, would make the red cells {wide} µm wide; they "
        f"are about {RED_CELL_UM:.0f}: if that is wrong, so are cells and classes. {fits} µm would fit "
        "(Pixel size under Advanced; --read.um-per-px)",
    )


def _colours(pixels: Pixels) -> ByteArray:
    small = [
        reduce(window, max(1, -(-max(window.shape[:2]) // LOOK_PX))).reshape(-1, 3)
        for window in windows_of(pixels)
    ]
    return np.concatenate(small)


def _overexposed(pixels: Pixels) -> tuple[str, ...]:
    """The one fault of a picture that nothing mends: what is pale is gone. Ground that was made white on
    purpose cannot be told from it (probably so in 78 of 240 pictures of one laboratory)."""
    share = float((_colours(pixels) >= WHITE).all(1).mean())
    if share < LEAST_WHITE:
        return ()
    return (
        f"{share:.0%} of the picture is pure white: if the camera overexposed it, pale plasm and granules "
        "are gone and classes go wrong. Take it darker, with the ground below 255 in every colour",
    )


def _dark(seen: Survey) -> tuple[str, ...]:
    ground = float(seen.light.max())
    if ground >= DARK:
        return ()
    return (
        f"the picture is dark, its empty ground has {ground:.0f} of 255: what is stained can hardly be told "
        "apart. Take it with more light",
    )


def _inverted(colours: ByteArray) -> bool:
    """Stains are purple and red on bright ground. Inverted, the ground is what is dark, and the brightest is
    green. (None of 895 pictures of three laboratories; 853 of the same, inverted.)"""
    bright = colours.mean(1)
    low, high = np.percentile(bright, [1, 99])
    quarter = (high - low) / 4
    dark_share, bright_share = (bright < low + quarter).mean(), (bright > high - quarter).mean()
    brightest = colours[bright >= np.percentile(bright, 98)].mean(0)
    green = brightest[1] > 1.06 * max(brightest[0], brightest[2])
    return bool(green and dark_share > 0.6 * bright_share)


def _exchanged(colours: ByteArray, light: FloatArray) -> bool:
    """Nuclei take more red than blue out of the light, red cells more blue than red. (None of 895
    pictures of three laboratories; 329 of the same, exchanged.)"""
    density = mixed_density(colours[None], light, (1, 1, 1))[0]
    stained = density > STAINED
    if stained.mean() < 0.01:
        return False
    red_over_blue = mixed_density(colours[None], light, (1, 0, -1))[0]
    nuclei = density >= np.percentile(density, 98)
    others = stained & (density < np.percentile(density[stained], 70))
    if not others.any():
        return False
    return bool(np.median(red_over_blue[nuclei]) < -0.05 and np.median(red_over_blue[others]) > 0.02)
