"""What the stain panel has done in its task, and how it says what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.config import AnalyseConfig, ReadConfig, TransferConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, within
from napari_bloodcell.core.words import how_many
from napari_bloodcell.gui import layers
from napari_bloodcell.gui.loading import load_torch

if TYPE_CHECKING:
    from napari_bloodcell.core.robustness import Robustness
    from napari_bloodcell.core.stain.preview import Preview, StainLayer
    from napari_bloodcell.core.stain.profile import StainProfile

SPREAD = 1.0  # of random stains: as far as the known labs are from each other

Source = Callable[[Progress], "StainProfile"]  # where a stain comes from; slow, for the task


def prepare(progress: Progress) -> "list[StainProfile]":
    from napari_bloodcell.core.stain.preview import known_labs

    layers.warm_up()
    load_torch(progress)
    from napari_bloodcell.core.stain.transfer import transfer  # noqa: F401

    return known_labs()


def read(picture: layers.Picture, progress: Progress) -> Any:
    progress("Reading the image", 0, 0)
    return picture.read(ReadConfig()).pixels


def profile_of(picture: layers.Picture, progress: Progress) -> "StainProfile":
    from napari_bloodcell.core.stain.profile import profiles_of

    return profiles_of([read(picture, progress)], names=[picture.name], progress=progress)[0]


def preview_stain(
    picture: layers.Picture, to: Source, how: TransferConfig, progress: Progress
) -> "tuple[Preview, Any]":
    load_torch(progress)
    from napari_bloodcell.core.stain.preview import begin

    preview = begin(read(picture, progress), name=picture.name, progress=progress)
    goal = to(progress)
    progress("Restaining", 0, 0)
    return preview, preview.show(goal, how)


def separate_stains(picture: layers.Picture, progress: Progress) -> "tuple[StainLayer, ...]":
    load_torch(progress)
    from napari_bloodcell.core.stain.preview import stain_layers as taken_apart

    return taken_apart(read(picture, progress), progress=progress)


def measure_all(sources: list[Source], progress: Progress) -> "tuple[list[StainProfile], Any]":
    """Profiles and their places on the map."""
    import numpy as np

    load_torch(progress)
    from napari_bloodcell.core.stain.compare import flatten

    found = []
    for number, source in enumerate(sources):
        progress("Measuring stains", number, len(sources))
        found.append(source(within(progress, f"{number + 1} of {len(sources)}")))
    if len(found) < 2:
        raise DataError(
            "A map needs two stains at least; there is one. Open another image, or load a profile."
        )
    return found, flatten(np.stack([one.vector() for one in found]))


def try_stains(
    picture: layers.Picture, sources: list[Source], how: TransferConfig, progress: Progress
) -> "Robustness":
    load_torch(progress)
    from napari_bloodcell.core.robustness import robustness

    smear = picture.read(ReadConfig())
    goals = [source(progress) for source in sources]
    return robustness(smear, goals, "nano", AnalyseConfig(), how=how, progress=progress)


def verdict_of(result: "Robustness") -> str:
    """What a person wants to know: how many stay, and under which stain most is lost."""
    n, under = len(result.analysis.masks), len(result.profiles)
    if n == 0:
        return "No white cell was found in the field as it is, so there is nothing to try."
    steady = int(result.same_class.all(axis=1).sum())
    keep = "keeps" if steady == 1 else "keep"
    lines = [f"{steady} of {how_many(n, 'cell')} {keep} outline and class under all {under} stains."]
    for column, profile in enumerate(result.profiles):
        same, kept = int(result.same_class[:, column].sum()), int(result.kept_outline[:, column].sum())
        if same < n:
            lines.append(f"{profile.name}: outline lost by {n - kept}, class by {kept - same}.")
    return "\n".join(lines)


def given(profile: "StainProfile", progress: Progress) -> "StainProfile":  # noqa: ARG001 (a Source)
    return profile


def at_random(known: "list[StainProfile]", seed: int, progress: Progress) -> "StainProfile":  # noqa: ARG001
    from napari_bloodcell.core.stain.preview import random_stain

    return random_stain(known, SPREAD, seed)


def restain(preview: "Preview", to: Source, how: TransferConfig, progress: Progress) -> Any:
    return preview.show(to(progress), how)


def write_profile(picture: layers.Picture, target: Path, progress: Progress) -> Path:
    load_torch(progress)
    profile_of(picture, progress).save(target)
    return target


def read_profile(path: Path, progress: Progress) -> "StainProfile":
    load_torch(progress)
    from napari_bloodcell.core.stain.files import profile_from

    found = profile_from(path, progress=progress)
    return found if found.name else replace(found, name=path.stem)


def ground_colour(profile: "StainProfile") -> str:
    import numpy as np

    red, green, blue = (255 * np.exp(-profile.background)).clip(0, 255).astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"


def named(profile: "StainProfile", is_image: bool) -> str:
    flag = f" ({profile.flag})" if profile.flag else ""
    return f"{'Image' if is_image else 'Lab'}: {profile.name}{flag}"


def nearest_text(profiles: "Sequence[StainProfile]", images: int) -> str:
    from napari_bloodcell.core.stain.profile import distances

    gaps = distances(profiles)
    lines = []
    for row in range(images):
        others = [at for at in range(len(profiles)) if at != row]
        best = min(others, key=lambda at: gaps[row, at])
        lines.append(f"{profiles[row].name} is nearest to {profiles[best].name} ({gaps[row, best]:.1f}).")
    return "\n".join(lines)
