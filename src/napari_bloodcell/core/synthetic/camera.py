"""From dyes on glass to the bytes of a file: light, lens, sensor, JPEG."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_bloodcell.core.synthetic.fields import RNG, Field, gaussian, noise
from napari_bloodcell.core.synthetic.looks import LAYERS, Look

MARGIN = 8  # pixels drawn around the picture, so that lens and Fourier transform have no visible edge

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)
_FROM_YCC = np.linalg.inv(_TO_YCC).astype(np.float32)


def photograph(rng: RNG, layers: Field, look: Look, um_per_px: float) -> NDArray[np.uint8]:
    """Layers (LAYERS x H x W, with MARGIN on each side) to H x W x 3 uint8."""
    density = np.tensordot(look.absorbance, layers[: LAYERS - 1], axes=(0, 0))  # 3 x H x W
    density += np.float32(look.refraction) * _bending(rng, layers[LAYERS - 1], look, um_per_px)
    light = np.exp(-density)
    light *= _lamp(rng, light.shape[1:], look)
    light = _lens(rng, light, look, um_per_px)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    _dust(rng, light, look)
    light = _sensor(rng, np.maximum(light, 0), look)
    picture = np.moveaxis(light, 0, -1) * np.float32(255)
    if look.jpeg > 0.05:
        picture = _jpeg(picture, look.jpeg)
    whole: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return whole


def _frequencies(shape: tuple[int, ...]) -> tuple[Field, Field]:
    return fft.fftfreq(shape[0]).astype(np.float32)[:, None], fft.rfftfreq(shape[1]).astype(np.float32)[
        None, :
    ]


def _bending(rng: RNG, relief: Field, look: Look, um_per_px: float) -> Field:
    """Light leaves steep edges: minus the Laplacian of thickness, as the difference of two blurs.

    Oblique light adds a slope in one direction.
    """
    fy, fx = _frequencies(relief.shape)
    fine = max(0.16 / um_per_px, 0.6)
    wide = max(0.42 / um_per_px, 1.3 * fine)
    band = gaussian(fy, fine) * gaussian(fx, fine) - gaussian(fy, wide) * gaussian(fx, wide)
    angle = rng.normal(0.8, 0.5)
    slope = fy * np.float32(np.sin(angle)) + fx * np.float32(np.cos(angle))
    slope = slope * gaussian(fy, fine) * gaussian(fx, fine)
    band = band + np.complex64(2j * np.pi * look.oblique * 0.3 / um_per_px) * slope
    bent: Field = fft.irfft2(fft.rfft2(relief) * band, s=relief.shape)
    return bent * np.float32(4)


def _lamp(rng: RNG, shape: tuple[int, ...], look: Look) -> Field:
    """Light that falls off towards the corners and is not quite centred. 3 x H x W."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None] - np.float32(rng.normal(0, 0.2))
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :] - np.float32(rng.normal(0, 0.2))
    fall = 1 - np.float32(look.vignette * 0.5) * (x**2 + y**2)
    fall += np.float32(look.vignette * 0.5) * (
        x * np.float32(rng.normal(0, 0.5)) + y * np.float32(rng.normal(0, 0.5))
    )
    return np.array(look.light, np.float32)[:, None, None] * fall


def _lens(rng: RNG, light: Field, look: Look, um_per_px: float) -> Field:
    """Blur, colour fringes and the camera's own sharpening, one transform for each channel."""
    fy, fx = _frequencies(light.shape[1:])
    sigma = np.hypot(look.blur_px, look.blur_um / um_per_px * rng.uniform(0.8, 1.25))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.complex64(-2j * np.pi * look.fringe_px)
    wider = float(np.sqrt(2.2 * sigma**2 + 0.5))  # the blur that sharpening takes away
    soft = gaussian(fy, wider) * gaussian(fx, wider)
    sharpen = (1 + np.float32(look.sharpen)) - np.float32(look.sharpen) * soft
    out = np.empty_like(light)
    for channel, (step, width) in enumerate(((-0.5, 1.05), (0.0, 1.0), (0.5, 1.12))):
        down = gaussian(fy, sigma * width) * np.exp(turn * np.float32(step * np.sin(angle)) * fy)
        across = gaussian(fx, sigma * width) * np.exp(turn * np.float32(step * np.cos(angle)) * fx)
        spectrum = fft.rfft2(light[channel]) * (down * across)
        out[channel] = fft.irfft2(spectrum * sharpen, s=light.shape[1:])
    return out


def _dust(rng: RNG, light: Field, look: Look) -> None:
    """Dust on the sensor's window: small faint rings, of one size, at the same sharpness everywhere."""
    height, width = light.shape[1:]
    radius = rng.uniform(1.8, 4.0)
    for _ in range(int(rng.poisson(look.dust * height * width / 1e4))):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        rows, columns = slice(max(y - 9, 0), y + 10), slice(max(x - 9, 0), x + 10)
        away = np.hypot(
            np.arange(rows.start, min(rows.stop, height))[:, None] - y,
            np.arange(columns.start, min(columns.stop, width)) - x,
        ).astype(np.float32)
        ring = np.exp(-((away - np.float32(radius)) ** 2) / 1.4) - 0.5 * np.exp(-(away**2) / 3)
        light[:, rows, columns] *= 1 - np.float32(rng.uniform(0.01, 0.09)) * ring


def _sensor(rng: RNG, light: Field, look: Look) -> Field:
    """Noise (shot and read), then the tone curve and colour of the camera."""
    grain = [noise(rng, light.shape[1:], look.noise_px) for _ in range(3)]
    for channel in range(3):
        own = np.float32(0.8) * grain[channel] + np.float32(0.6) * grain[channel - 1]
        light[channel] += np.float32(look.noise) * np.sqrt(light[channel] + np.float32(0.05)) * own
    grey = np.tensordot(_LUMA, light, axes=(0, 0))
    light = grey + np.float32(look.saturation) * (light - grey)
    if look.contrast != 1:
        light = np.maximum(light, 0) ** np.float32(look.contrast)
    return light


def _quantisers(strength: float) -> tuple[Field, Field]:
    """Step sizes of the 8 x 8 cosine coefficients, rising with frequency like the tables of the standard."""
    i = np.arange(8, dtype=np.float32)
    order = i[:, None] + i[None, :]
    luma = (4 + 1.1 * order**1.35) * strength
    chroma = (5 + 3.0 * np.minimum(order, 7) ** 1.3) * strength
    return luma.astype(np.float32), chroma.astype(np.float32)


def _jpeg(picture: Field, strength: float) -> Field:
    """What JPEG loses: half the colour resolution, and fine cosines of each 8 x 8 block."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    planes = np.moveaxis(np.clip(padded, 0, 255) @ _TO_YCC.T, -1, 0)
    luma, chroma = _quantisers(strength)
    kept = [_blocks(planes[0], luma)]
    for plane in planes[1:]:
        half = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3))
        kept.append(_double(_blocks(half, chroma)))
    result: Field = (np.stack(kept, axis=-1) @ _FROM_YCC.T)[:height, :width]
    return result


def _cosines() -> Field:
    """The orthonormal 8-point cosine transform as a matrix."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    rows = 0.5 * np.cos(np.pi * (2 * n + 1) * k / 16)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


_DCT = _cosines()


def _blocks(plane: Field, steps: Field) -> Field:
    """Round the cosines of each 8 x 8 block to multiples of ``steps``."""
    height, width = plane.shape
    down = (_DCT @ plane.reshape(height // 8, 8, width)).reshape(height, width // 8, 8) @ _DCT.T
    cosines = down.reshape(height // 8, 8, width // 8, 8)
    step = steps[None, :, None, :]
    kept = (np.rint(cosines / step) * step).reshape(height, width // 8, 8) @ _DCT
    back: Field = (_DCT.T @ kept.reshape(height // 8, 8, width)).reshape(height, width)
    return back


def _double(plane: Field) -> Field:
    """Twice the size, with the triangle filter decoders use."""
    height, width = plane.shape
    framed = np.pad(plane, 1, mode="edge")
    tall = np.empty((height, 2, width + 2), np.float32)
    tall[:, 0] = 0.75 * framed[1:-1] + 0.25 * framed[:-2]
    tall[:, 1] = 0.75 * framed[1:-1] + 0.25 * framed[2:]
    framed = tall.reshape(2 * height, width + 2)
    wide = np.empty((2 * height, width, 2), np.float32)
    wide[..., 0] = 0.75 * framed[:, 1:-1] + 0.25 * framed[:, :-2]
    wide[..., 1] = 0.75 * framed[:, 1:-1] + 0.25 * framed[:, 2:]
    return wide.reshape(2 * height, 2 * width)
