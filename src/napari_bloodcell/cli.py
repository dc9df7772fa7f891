"""The command line: the same configs and the same calls as the panels and the API, and no logic of its own.

Heavy imports happen inside the commands, so that ``--help`` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_bloodcell.cli_bundle import bundle_app
from napari_bloodcell.cli_classify import classify_app
from napari_bloodcell.cli_defaults import plain, with_defaults
from napari_bloodcell.cli_embed import embed_app
from napari_bloodcell.cli_evaluate import evaluate
from napari_bloodcell.cli_models import models
from napari_bloodcell.cli_notes import EMPTY, as_flag, tell, told_in_words
from napari_bloodcell.cli_progress import INTERRUPTED, STOPPED, progress_bar
from napari_bloodcell.cli_report import report
from napari_bloodcell.cli_results import results_app
from napari_bloodcell.cli_segment import segment
from napari_bloodcell.cli_session import session_app
from napari_bloodcell.cli_stain import stain_app
from napari_bloodcell.cli_train import train_app
from napari_bloodcell.core.config import AnalyseConfig, EngineConfig, SmearConfig
from napari_bloodcell.core.errors import BloodcellError, Cancelled, ConfigError
from napari_bloodcell.core.words import how_many, one_line

if TYPE_CHECKING:
    Engine = EngineConfig
else:
    Engine = with_defaults(EngineConfig(workers=None))


def _version() -> str:
    from importlib.metadata import version

    return version("napari-bloodcell")


app = App(
    name="napari-bloodcell",
    help="White-cell differentials from stained blood smears. Research use only.",
    version=_version,
    error_formatter=told_in_words,
    help_format="plaintext",  # markdown would load a highlighter first
    suppress_keyboard_interrupt=False,  # main() says what was kept
)
datasets = App(name="datasets", help="Folders of labelled cells: what is in them.")
app.command(datasets)
app.command(bundle_app)
app.command(classify_app)
app.command(models)
app.command(stain_app)
app.command(segment)
app.command(evaluate)
app.command(embed_app)
app.command(train_app)
app.command(report)
app.command(session_app)
app.command(results_app)


@app.command
def analyse(
    paths: list[Path],
    /,
    *,
    out: Path,
    bundle: str = "nano",
    config: Annotated[AnalyseConfig, Parameter(name="*")] = AnalyseConfig(),
    engine: Annotated[Engine, Parameter(name="*")] = Engine(),
) -> int:
    """Find, outline, classify and count the white cells of images or folders of images.

    Writes one folder an image (labels, table, differential, pictures, run record) and the pooled count.
    Run it again to go on where it stopped: what is finished and unchanged is kept.

    Parameters
    ----------
    paths: list[Path]
        Images, folders, OME-Zarr plates, patterns, or lists (.csv, .tsv: the column image, and perhaps slide,
        patient and um_per_px).
    out: Path
        Folder for the results.
    bundle: str
        Name of a shipped model, or the folder of another.
    """
    from napari_bloodcell.core.batch import analyse_files
    from napari_bloodcell.core.report import to_text

    with progress_bar() as progress:
        result = analyse_files(paths, out, bundle, config, plain(engine), progress=progress)
    images = "1 image" if len(result.items) == 1 else f"{len(result.items)} images"
    kept = sum(item.state == "kept" for item in result.items)
    if len(result.failed) < len(result.items):
        print(to_text(result.differential))
    print(f"{images}, {kept} kept from before, {len(result.failed)} failed. Results in {out}")
    if result.patients:
        patients = how_many(len(result.patients), "patient")
        print(f"{patients}, counted in patients.csv; `results summary --by patient` prints them.")
    tell(result.told())
    for item in result.failed:
        print(f"failed: {one_line(item.reason)}", file=sys.stderr)
    return 1 if result.failed else 0


@app.command
def demo(*, out: Path = Path("demo-output"), seed: int = 3) -> int:
    """Make a synthetic smear, analyse it with the model that ships, and say how right the count is.

    Parameters
    ----------
    out: Path
        Folder for the smear and the results.
    seed: int
        Another seed makes another smear.
    """
    from napari_bloodcell.core.demo import run_demo

    with progress_bar() as progress:
        text = run_demo(out, seed, progress=progress)
    print(text)
    return 0


@app.command
def sample(path: Path, /, *, config: Annotated[SmearConfig, Parameter(name="*")] = SmearConfig()) -> int:
    """Draw a synthetic smear: a picture, its exact labels and its classes.

    Parameters
    ----------
    path: Path
        Picture to write (.png); labels and classes go beside it.
    """
    from napari_bloodcell.core.demo import write_sample

    with progress_bar() as progress:
        written = write_sample(path, config, progress=progress)
    print("\n".join(str(one) for one in written))
    return 0


@app.command
def doctor() -> int:
    """Look at this machine: what works, what is missing, and the command that mends it."""
    from napari_bloodcell.core.doctor import examine, is_healthy, to_text

    findings = examine()
    print(to_text(findings))
    return 0 if is_healthy(findings) else 1


@datasets.command
def check(paths: list[Path], /, *, deep: bool = False, dataset: str | None = None) -> int:
    """Count cells per lab and class, and say what was skipped and why.

    Parameters
    ----------
    paths: list[Path]
        Folders of data sets, or of several side by side.
    deep: bool
        Read every image too, as `analyse` does, to find those that cannot be used, and their sizes.
    dataset: str | None
        What the folders are, where the guess is wrong: "folders" are named by class, "labels" a table, and
        the public sets have their names (a name that is unknown lists them all).
    """
    from napari_bloodcell.core.datasets import check as check_datasets

    with progress_bar() as progress:
        reports = [check_datasets(path, name=dataset, deep=deep, progress=progress) for path in paths]
    print("\n".join(report.text() for report in reports))
    return 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Our own errors are one line and exit code 1; anything else is a bug with its trace."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if "" in given:
            raise ConfigError(EMPTY)
        code = app(arguments, result_action="return_value")
        sys.stdout.flush()
    except Cancelled as error:
        print(error, file=sys.stderr)
        code = INTERRUPTED
    except ConfigError as error:
        print(f"Error: {as_flag(str(error), given)}", file=sys.stderr)
        code = 1
    except BloodcellError as error:
        print(f"Error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, `| head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains on its way out
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
