"""Where the images of a batch are worked on."""

from dataclasses import dataclass
from typing import Annotated

from napari_bloodcell.core.config.base import Config, Knob


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Config):
    """One process, several, or a cluster. The results are the same."""

    workers: Annotated[int | None, Knob("Workers", low=1, high=4096)] = 1
    """Processes on this machine; each loads the model once. 1 works in this process. Empty: one a core, where
    there are images enough to make up for the start."""
    scheduler: Annotated[str | None, Knob("Scheduler")] = None
    """Address of a running Dask scheduler (tcp://host:8786), however it was started. Its workers need this
    package and the same paths."""
    attempts: Annotated[int, Knob("Attempts", low=1, high=20)] = 3
    """How often an image is tried whose worker died; then it is reported and left out."""
    resource: Annotated[str, Knob("Resource")] = ""
    """Take only workers that announce this Dask resource, one unit an image: GPU, say."""
    in_flight: Annotated[int, Knob("Images in flight", low=1, high=1000)] = 2
    """Images handed to each worker at a time: more hides slow disks, fewer keeps memory low."""
    pictures: Annotated[bool, Knob("Pictures")] = True
    """Draw overlay.png and differential.png of each image. For many small fields they are much of the time
    and of the disk."""
    wait_s: Annotated[float, Knob("Wait for workers", low=0, high=604800, unit="s")] = 60.0
    """How long to wait while a cluster has no worker for this run; then it stops, and what is done is kept.
    Give more where a queue starts the workers."""
