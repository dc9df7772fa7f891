"""``napari-bloodcell models``: the checkpoints on this machine."""

from pathlib import Path

from cyclopts import App

from napari_bloodcell.cli_progress import progress_bar

models = App(
    name="models", help="Weights of Segment Anything: which are here, fetch, import, verify, remove."
)


@models.command(name="list")
def list_models() -> int:
    """Name, size, licence, whether it is here, and where it lies or comes from."""
    from napari_bloodcell.core.sam.weights import list_weights

    for status in list_weights():
        weights = status.weights
        print(
            f"{weights.name:<8} {status.state:<8} {weights.size_bytes / 1e6:>7,.0f} MB  {weights.licence}  "
            f"{weights.url if status.state == 'absent' else status.path}"
        )
    return 0


@models.command
def fetch(name: str, /) -> int:
    """Download weights and check their hash. Run it again to go on where it broke off.

    Parameters
    ----------
    name: str
        As `models list` has it.
    """
    from napari_bloodcell.core.sam.registry import known
    from napari_bloodcell.core.sam.weights import fetch as fetch_weights

    with progress_bar() as progress:
        path = fetch_weights(name, progress=progress)
    print(f"{path}\nLicence {known(name).licence}. Please cite: {known(name).citation}")
    return 0


@models.command(name="import")
def import_models(path: Path, /) -> int:
    """Bring weights in from a file or folder, for machines without internet; they are told by their hash.

    Parameters
    ----------
    path: Path
        A checkpoint, or a folder with some.
    """
    from napari_bloodcell.core.sam.weights import import_files

    with progress_bar() as progress:
        taken = import_files(path, progress=progress)
    print("\n".join(str(one) for one in taken))
    return 0


@models.command
def verify(*names: str) -> int:
    """Read the weights that are here and compare their hashes.

    Parameters
    ----------
    names: str
        Which; all that are here when none is named.
    """
    from napari_bloodcell.core.sam.weights import verify as verify_weights

    with progress_bar() as progress:
        found = verify_weights(names, progress=progress)
    for status in found:
        told = (
            "matches its hash"
            if status.verified
            else f"{status.state}: fetch it with napari-bloodcell models fetch {status.weights.name}"
        )
        print(f"{status.weights.name:<8} {told}  {status.path}")
    if not found:
        print("No weights are here.")
    return 0 if all(status.verified for status in found) else 1


@models.command
def remove(name: str, /) -> int:
    """Delete weights from this machine.

    Parameters
    ----------
    name: str
        As `models list` has it.
    """
    from napari_bloodcell.core.sam.weights import remove as remove_weights

    freed = remove_weights(name)
    print(f"{freed / 1e6:,.0f} MB are free again." if freed else f"{name} was not there: nothing to remove.")
    return 0
