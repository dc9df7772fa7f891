"""Short calls, one after another, in a thread of their own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from qtpy.QtCore import QObject, Signal


class InOrder(QObject):
    """Short calls that must not hold up the window and must not overtake each other: writing to disk."""

    failed = Signal(str)
    done = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bloodcell-writer")

    def submit(self, call: Callable[[], None]) -> None:
        try:
            self._thread.submit(self._guarded, call)
        except RuntimeError:  # Python is ending and its threads take nothing more: written here, then
            self._guarded(call)

    def close(self) -> None:
        """Until all that was handed in is done."""
        self._thread.shutdown(wait=True)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 (shown to the person by whoever owns this)
            self.failed.emit(str(error) or type(error).__name__)
        else:
            self.done.emit()
