"""``napari-bloodcell stain``: the commands about stains. Like ``cli.py``, no logic of its own."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config import (
    AnalyseConfig,
    ClusterConfig,
    StainAugmentConfig,
    StainConfig,
    TransferConfig,
)

stain_app = App(name="stain", help="Stains: measure, compare, transfer, augment, and what survives them.")


@stain_app.command
def profile(
    paths: list[Path],
    /,
    *,
    out: Path | None = None,
    name: str = "",
    config: Annotated[StainConfig, Parameter(name="*")] = StainConfig(),
) -> int:
    """Measure the stain of images, a slide or a lab, and save it as a small file that holds no image.

    Parameters
    ----------
    paths: list[Path]
        Images, or folders of images; all together make one profile.
    out: Path
        File to write (.json). Without it the profile is only shown.
    name: str
        Name of the slide or lab, kept in the file.
    """
    from napari_bloodcell.core.stain.files import describe, measure_files
    from napari_bloodcell.core.stain.profile import average

    with progress_bar() as progress:
        each = measure_files(paths, config, progress=progress)
    mean = average(each, name=name or paths[0].stem)
    print(describe(mean, each))
    if out is not None:
        mean.save(out)
        print(out)
    return 0


@stain_app.command
def transfer(
    paths: list[Path],
    /,
    *,
    to: Path,
    out: Path,
    source: Path | None = None,
    config: Annotated[TransferConfig, Parameter(name="*")] = TransferConfig(),
) -> int:
    """Give images the stain of another image, slide or lab. Copies are written, as PNG.

    Parameters
    ----------
    paths: list[Path]
        Images, or folders of images.
    to: Path
        A saved profile (.json), an image, or a folder of images.
    out: Path
        Folder for the copies.
    source: Path
        Profile of the slide or lab the images are from. Without it each is measured alone; give it for
        tight crops, which show no empty ground.
    """
    from napari_bloodcell.core.stain.files import profile_from, transfer_files

    with progress_bar() as progress:
        goal = profile_from(to, progress=progress)
        start = None if source is None else profile_from(source, progress=progress)
        written = transfer_files(paths, goal, out, config, source=start, progress=progress)
    print("\n".join(str(path) for path in written))
    return 0


@stain_app.command
def augment(
    paths: list[Path],
    /,
    *,
    out: Path,
    seed: int = 0,
    profiles: list[Path] | None = None,
    config: Annotated[StainAugmentConfig, Parameter(name="*")] = StainAugmentConfig(),
) -> int:
    """Write restained views of images, as a training run sees them.

    Parameters
    ----------
    paths: list[Path]
        Images, or folders of images. Images of one size make one batch.
    out: Path
        Folder for the views.
    seed: int
        The same seed gives the same views.
    profiles: list[Path]
        Profiles to draw from, for --kind random. Without them, the images' own.
    """
    from napari_bloodcell.core.stain.files import augment_files, profile_from

    with progress_bar() as progress:
        known = [profile_from(path, progress=progress) for path in profiles or ()]
        written = augment_files(paths, out, config, seed=seed, profiles=known, progress=progress)
    print(f"{len(written)} views in {out}")
    return 0


@stain_app.command
def compare(
    labs: list[Path],
    /,
    *,
    out: Path | None = None,
    config: Annotated[StainConfig, Parameter(name="*")] = StainConfig(),
    groups: Annotated[ClusterConfig, Parameter(name="*")] = ClusterConfig(),
) -> int:
    """Compare labs: their images as points, the distances between them, and each in the other's stain.

    Parameters
    ----------
    labs: list[Path]
        Two or more: folders of images, images, or saved profiles (.json).
    out: Path
        Picture to write (.png). Empty: stains.png in this folder, unless there is one.
    """
    from napari_bloodcell.core.artifact import not_taken
    from napari_bloodcell.core.stain.compare import compare as compare_labs
    from napari_bloodcell.core.stain.compare import draw_comparison

    picture = out or not_taken(Path("stains.png"))
    with progress_bar() as progress:
        comparison = compare_labs(labs, config, groups, progress=progress)
        draw_comparison(picture, comparison)
    print(comparison.text())
    print(picture.absolute())
    return 0


@stain_app.command
def robustness(
    image: Path,
    /,
    *,
    profiles: list[Path],
    out: Path | None = None,
    bundle: str = "nano",
    config: Annotated[TransferConfig, Parameter(name="*")] = TransferConfig(),
) -> int:
    """Analyse a field under other labs' stains: which cells keep their outline and their class?

    Parameters
    ----------
    image: Path
        The field.
    profiles: list[Path]
        Stains to try: saved profiles (.json), images, or folders of images.
    out: Path
        Table to write (.csv), one row a cell with its stability, 0 to 1.
    bundle: str
        Name of a shipped model, or the folder of another.
    """
    from napari_bloodcell.core.robustness import robustness as try_stains
    from napari_bloodcell.core.stain.files import profile_from

    with progress_bar() as progress:
        goals = [profile_from(path, progress=progress) for path in profiles]
        result = try_stains(image, goals, bundle, AnalyseConfig(), how=config, progress=progress)
    print(result.text())
    if out is not None:
        result.save(out)
        print(out)
    return 0
