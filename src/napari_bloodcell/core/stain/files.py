"""Profiles, restained images and comparisons of files and folders: what the command line calls."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.config import ReadConfig, StainAugmentConfig, StainConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.image import find_images, read_image
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import ByteArray
from napari_bloodcell.core.stain.augment import augment
from napari_bloodcell.core.stain.profile import StainProfile, average, load_profile, profiles_of
from napari_bloodcell.core.stain.transfer import transfer
from napari_bloodcell.core.words import how_many

PROFILE_SUFFIX = ".json"


def measure_files(
    paths: Sequence[Path],
    config: StainConfig = StainConfig(),
    read: ReadConfig = ReadConfig(),
    *,
    progress: Progress = silent,
) -> list[StainProfile]:
    """One profile for each image, named like its file."""
    files, found = find_images(paths), []
    for number, path in enumerate(files):
        progress("Measuring stains", number, len(files))
        found += profiles_of(read_image(path, read).pixels, config, names=[path.name])
    if not found:
        raise DataError(
            f"No image was found in {', '.join(str(p) for p in paths)}. Name image files or folders."
        )
    return found


def profile_from(
    path: Path, config: StainConfig = StainConfig(), *, progress: Progress = silent
) -> StainProfile:
    """The profile in a file, or the mean of an image or a folder of images."""
    if path.suffix.lower() == PROFILE_SUFFIX and path.is_file():
        return load_profile(path)
    return average(measure_files([path], config, progress=progress), name=path.stem)


def describe(profile: StainProfile, each: Sequence[StainProfile] = ()) -> str:
    ground = ", ".join(f"{round(255 * float(np.exp(-d)))}" for d in profile.background)
    lines = [f"{profile.name or 'profile'}: {how_many(profile.images, 'image')}, {profile.pixels:,} pixels"]
    lines.append(f"  ground: RGB {ground}")
    from napari_bloodcell.core.stain.separate import NAMES

    for k in range(profile.stains):
        colour = 255 * np.exp(-profile.background - profile.dictionary[:, k] * profile.scale[k])
        shown = ", ".join(str(round(float(c))) for c in colour)
        lines.append(f"  {NAMES[k]}: strength {profile.scale[k]:.2f}, RGB {shown} where it is dense")
    flagged = [p for p in each if p.flag]
    if flagged:
        names = ", ".join(f"{p.name} ({p.flag})" for p in flagged[:5])
        more = f" and {len(flagged) - 5} more" if len(flagged) > 5 else ""
        lines.append(f"  without stain of their own: {names}{more}")
    return "\n".join(lines)


def transfer_files(
    paths: Sequence[Path],
    to: StainProfile,
    out: Path,
    config: TransferConfig = TransferConfig(),
    *,
    source: StainProfile | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Restained copies as PNG, named like their originals."""
    files, written = find_images(paths), []
    names = _distinct(files, out)
    for number, path in enumerate(files):
        progress("Restaining", number, len(files))
        restained = transfer(read_image(path).pixels, to, config, source=source)
        _write(names[number], restained)
        written.append(names[number])
    return written


def augment_files(
    paths: Sequence[Path],
    out: Path,
    config: StainAugmentConfig = StainAugmentConfig(),
    *,
    seed: int = 0,
    profiles: Sequence[StainProfile] = (),
    progress: Progress = silent,
) -> list[Path]:
    """Views of each image as PNG: the stains of other groups of these images, or random ones. Images of one
    size make one batch."""
    files = find_images(paths)
    names = _distinct(files, out)
    batches: dict[tuple[int, ...], list[tuple[Path, ByteArray]]] = {}
    for number, path in enumerate(files):
        progress("Reading", number, len(files))
        pixels = read_image(path).pixels
        batches.setdefault(pixels.shape, []).append((names[number], pixels))
    if config.kind == "sada":
        _check_groups([[name for name, _ in batch] for batch in batches.values()], config.clusters)
    written: list[Path] = []
    for done, batch in enumerate(batches.values()):
        progress("Restaining", done, len(batches))
        views = augment(np.stack([p for _, p in batch]), config, generator=seed, profiles=profiles)
        for v, view in enumerate(views):
            for (name, _), pixels in zip(batch, view, strict=True):
                target = name.with_name(f"{name.stem}-view{v + 1}.png")
                _write(target, pixels)
                written.append(target)
    return written


def _check_groups(batches: Sequence[Sequence[Path]], groups: int) -> None:
    """Before the first view is written."""
    small = [batch for batch in batches if len(batch) < groups]
    if small:
        images = how_many(len(small[0]), "image")
        raise DataError(
            f"{images} of the size of {small[0][0].stem} cannot make {groups} groups of stains: images of "
            f"one size make one batch, and each batch takes {groups} images at least. Give more of it, "
            "ask for fewer groups (--clusters), or take --kind random with --profiles."
        )


def _distinct(files: Sequence[Path], out: Path) -> list[Path]:
    """Targets in one folder: files of the same name in two folders get a number."""
    taken: dict[str, int] = {}
    targets = []
    for path in files:
        seen = taken.get(path.stem, 0)
        taken[path.stem] = seen + 1
        targets.append(out / (f"{path.stem}.png" if not seen else f"{path.stem}-{seen + 1}.png"))
    clash = [t for t, f in zip(targets, files, strict=True) if t.resolve() == f.resolve()]
    if clash:
        raise DataError(f"{clash[0]} would be overwritten by its own copy. Choose another folder (--out).")
    return targets


def _write(path: Path, pixels: ByteArray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
