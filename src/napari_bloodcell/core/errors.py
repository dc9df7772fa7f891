"""The named errors of the package. A message says what, the offending value, what is accepted, what to do.

None derives from RuntimeError: napari's worker threads swallow those.
"""


class BloodcellError(Exception):
    """Anything the user can mend. The CLI prints it in one line; the GUI shows it in the panel."""


class ImageError(BloodcellError):
    """An image that cannot be read, or cannot be used as it is."""


class ConfigError(BloodcellError):
    """A setting outside what is accepted."""


class DataError(BloodcellError):
    """A folder or a table of cells that is not what was announced."""


class TaxonomyError(BloodcellError):
    """An unknown class name."""


class ArtifactError(BloodcellError):
    """A model or result file that is broken, foreign, edited or too new."""


class WeightsError(BloodcellError):
    """Model weights that are missing, cannot be fetched, do not match their hash, or are of another model."""


class DeviceError(BloodcellError):
    """A device that was asked for and is not there."""


class SegmentError(BloodcellError):
    """Masks that cannot be made, or do not fit their image."""


class ClassifyError(BloodcellError):
    """Vectors or classes a classifier cannot use."""


class EngineError(BloodcellError):
    """Workers or a scheduler that cannot be reached, or went away."""


class TrainingError(BloodcellError):
    """A training that cannot start, cannot go on, or went wrong."""


class SessionError(BloodcellError):
    """A session that is open elsewhere, damaged, or whose images are gone or changed."""


class Cancelled(BloodcellError):  # noqa: N818 (a person did this; it is no error)
    """The person pressed Cancel. What was finished stays."""

    def __init__(self, message: str = "Cancelled. What was finished before is kept.") -> None:
        super().__init__(message)
