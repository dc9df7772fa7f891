"""The only thread code: a core call in a thread; progress, Cancel and errors in the panel that started it."""

import atexit
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_bloodcell.core.errors import BloodcellError, Cancelled
from napari_bloodcell.core.progress import Progress
from napari_bloodcell.gui import garbage, preferences
from napari_bloodcell.gui.wrapped import Wrapped

# Mesa's drivers hold one LLVM and triton brings another: where the window is drawn by the first, loading the
# second (torchvision does, by way of torch) takes the process down. Nothing of ours is compiled by triton.
if sys.platform == "linux":
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

Call = Callable[[Progress], Any]
Then = Callable[[Any], Iterator[None] | None]

SHOWING = "Showing the result …"
BETWEEN_STEPS_MS = 4  # what waits in the event loop comes first
LOOK_UP_S = 0.05
REPORT_EVERY_S = 0.05  # more often than this nobody sees, and the main thread would only draw

# The mark at the side is seen in dark and light themes alike; the text keeps the theme's colour.
MARKED = "border-left: 3px solid #D55E00; padding-left: 6px;"

_under_way: "set[Run]" = set()


@dataclass(frozen=True)
class Partial:
    """What a call returns that was cancelled and keeps what it had finished: it is shown all the same."""

    result: Any


class Run(QObject):
    """One call under way. It knows no widget and outlives the one that started it.

    ``call`` must not hold the panel: a closed panel would live on as long as the call.
    """

    progressed = Signal(str, int, int)
    ended = Signal()

    def __init__(self, call: Call) -> None:
        from napari.qt.threading import create_worker

        super().__init__()
        self.result: Any = None
        self.error: Exception | None = None
        self._call = call
        self.took_s = math.inf  # of a processor, by its thread
        self._cancelled, self._done = threading.Event(), threading.Event()
        self._is_told = False
        self.has_counted = False  # something is finished, which a call may keep when it is cancelled
        self._reported = ("", 0.0)
        # A function worker: of a generator worker that raises, nothing would be heard.
        self._worker = create_worker(self._work, _start_thread=False, _ignore_errors=True)
        self._worker.finished.connect(self._end)

    def start(self) -> None:
        # Python takes Qt down at its exit; a thread still at work then would take the process with it.
        atexit.unregister(self._worker.await_workers)
        atexit.register(self._worker.await_workers)
        _under_way.add(self)
        self._worker.start()

    def cancel(self) -> None:
        """Ask it to stop; it does at its next report of progress."""
        self._cancelled.set()
        if self._done.is_set():  # the panel went while the result was shown
            garbage.let_go(id(self))

    def wait(self, seconds: float) -> None:
        """Stand still until it is done, so long at most; where it is, ``ended`` comes before this returns."""
        if self._done.wait(seconds):
            self._tell()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set() or self._worker.abort_requested

    def _work(self) -> None:
        begin = time.thread_time()
        try:
            self.result = self._call(self._report)
        except Exception as error:  # noqa: BLE001 (shown to the person by whoever started this)
            self.error = error
        self.took_s = time.thread_time() - begin
        self._done.set()

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.cancelled:
            raise Cancelled
        self.has_counted = self.has_counted or total > 0
        last_stage, last_time = self._reported
        now = time.monotonic()
        if stage != last_stage or now - last_time > REPORT_EVERY_S:
            self._reported = stage, now
            self.progressed.emit(stage, done, total)

    def _end(self) -> None:
        _under_way.discard(self)
        if self.cancelled:  # it may be that nobody is left to hear of it
            garbage.let_go(id(self))
        self._tell()

    def _tell(self) -> None:
        if self._is_told:
            return
        self._is_told = True
        if self.error is None and self.cancelled and not isinstance(self.result, Partial):
            self.error, self.result = Cancelled(), None
        self.ended.emit()


def under_way() -> int:
    """How many calls are running, those of closed panels included."""
    return len(_under_way)


class Latest(QObject):
    """Short calls of which only the newest counts: a slider asks more often than a thread can answer.

    While one runs the next waits, and a still newer one takes its place. Where the last took less than
    ``patience_s`` the window waits for the next: it is then drawn once, with the answer, and not twice.
    """

    failed = Signal(object)

    def __init__(self, parent: QObject | None = None, *, patience_s: float = 0.0) -> None:
        super().__init__(parent)
        self._patience_s, self._took_s = patience_s, math.inf
        self._run: Run | None = None
        self._then: Then | None = None
        self._waiting: tuple[Call, Then] | None = None

    @property
    def busy(self) -> bool:
        return self._run is not None

    def ask(self, call: Call, then: Then) -> None:
        """``then(result)`` on the main thread, unless something newer was asked for meanwhile."""
        if self._run is not None:
            self._waiting = call, then
            return
        run = Run(call)
        self._run, self._then = run, then
        run.ended.connect(self._finish)
        run.start()
        if self._took_s < self._patience_s:
            run.wait(self._patience_s)

    def stop(self) -> None:
        self._waiting = None
        self._then = None
        if self._run is not None:
            self._run.cancel()

    def _finish(self) -> None:
        run, then = self._run, self._then
        self._run = self._then = None
        waiting, self._waiting = self._waiting, None
        self._took_s = math.inf if run is None else run.took_s
        if waiting is not None:
            self.ask(*waiting)
        if run is None or then is None or isinstance(run.error, Cancelled):
            return
        if run.error is not None:
            self.failed.emit(run.error)
        else:
            then(run.result)


class Task(QWidget):
    """Run, Cancel, a bar and a line of text."""

    pressed = Signal()
    busy_changed = Signal(bool)

    def __init__(self, run_text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run_button = QPushButton(run_text)
        self.run_button.clicked.connect(self.pressed)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stops what is under way, after the part in hand.")
        self.cancel_button.setEnabled(False)
        self.cancel_button.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(6)
        keep = self.bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keep)
        self.bar.hide()
        self.message = Wrapped()
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        self._run: Run | None = None
        self._held = 0  # the run for whose sake garbage waits
        self._may_drop = False
        self._keeps: Callable[[], bool] = lambda: False
        self._dropped: list[Run] = []  # which end on their own
        self._then: Then | None = None
        self._steps: Iterator[None] | None = None
        self._next_step = QTimer(self)
        self._next_step.setSingleShot(True)
        self._next_step.setInterval(BETWEEN_STEPS_MS)
        self._next_step.timeout.connect(self._advance)
        self._ready = True

    @property
    def is_showing(self) -> bool:
        """What was computed is being shown: there is nothing to cancel any more."""
        return self._steps is not None

    @property
    def busy(self) -> bool:
        return self._run is not None or self._steps is not None

    def start(
        self,
        call: Call,
        then: Then,
        saying: str = "Starting …",
        *,
        may_drop: bool = False,
        keeps_parts: bool | Callable[[], bool] = False,
    ) -> None:
        """Run ``call(progress)`` in a thread, then ``then(result)`` on the main thread, if all went well.
        A ``then`` that yields goes on in the next turn of the event loop: napari needs a tenth of a second
        for each layer it adds, and the window should not stand still for all of them together.

        ``may_drop``: nobody needs what a cancelled call still does: who cancels need not wait.
        With ``keeps_parts`` only while it loads: once it counts, or this says so, something may be kept.
        """
        if self.busy:
            return
        preferences.apply()
        self._dropped = [one for one in self._dropped if not one.is_done]
        run = Run(partial(_after, self._dropped, call) if self._dropped else call)
        self._may_drop = may_drop
        self._keeps = keeps_parts if callable(keeps_parts) else lambda: keeps_parts and run.has_counted
        self._run, self._then, self._held = run, then, id(run)
        garbage.hold(self._held)
        run.progressed.connect(self._show_progress)
        run.ended.connect(self._finish)
        self.destroyed.connect(run.cancel)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.say(saying)
        self._show_state()
        run.start()

    def cancel(self) -> None:
        run = self._run
        if run is None:
            return
        run.cancel()
        if self._may_drop and not self._keeps():
            self._drop(run)
        else:
            self.cancel_button.setEnabled(False)
            self.say("Stopping …")

    def _drop(self, run: Run) -> None:
        """What loads a library or a model, or works on a large image, may not look up for many seconds: the
        panel is free at once, the thread ends on its own, and the next call waits for that."""
        run.progressed.disconnect(self._show_progress)
        run.ended.disconnect(self._finish)
        self._dropped.append(run)
        self._run = self._then = None
        self._held = 0  # garbage waits until the thread has ended
        self._close_with(Cancelled())

    def stop_showing(self) -> None:
        """Where the window goes meanwhile: nobody will see it."""
        self._next_step.stop()
        self._steps = None
        garbage.let_go(self._held)

    def set_ready(self, ready: bool) -> None:
        self._ready = ready
        self._show_state()

    def say(self, text: str, *, error: bool = False) -> None:
        self.message.setStyleSheet(MARKED if error else "")
        self.message.setText(text)

    def _show_progress(self, stage: str, done: int, total: int) -> None:
        if self._run is None or self._run.cancelled:
            return
        self.bar.setRange(0, max(total, 0))
        self.bar.setValue(done)
        said = stage if ": " in stage else f"{stage[:1].upper()}{stage[1:]}"  # of a name no letter changes
        self.say(said + (f": {done} of {total}" if total > 1 else " …"))

    def _finish(self) -> None:
        run, then = self._run, self._then
        if run is None or then is None:
            return
        self._run = self._then = None
        if run.error is not None:
            self._close_with(run.error)
            return
        self.cancel_button.setEnabled(False)  # what is computed is shown now
        self.say("")
        try:
            self._steps = then(run.result)
            if self._steps is not None:
                self.say(SHOWING)
        except BloodcellError as refused:
            self._close_with(refused)
            return
        except Exception:
            self._close_with(None)
            raise
        self._advance()

    def _advance(self) -> None:
        try:
            if self._steps is not None:
                next(self._steps)
                self._next_step.start()
                return
        except StopIteration:
            pass
        except BloodcellError as refused:
            self._close_with(refused)
            return
        except Exception:
            self._close_with(None)
            raise
        self._close_with(None)

    def _close_with(self, error: Exception | None) -> None:
        self._steps = None
        if self.message.text() == SHOWING:
            self.say("")
        garbage.let_go(self._held)
        self.bar.hide()
        self._show_state()
        if isinstance(error, Cancelled):
            self.say("Cancelled.")  # what a panel keeps of it comes as a result, with words of its own
        elif isinstance(error, BloodcellError):
            self.say(str(error), error=True)
        elif error is not None:
            self._notify(error)

    def _notify(self, error: Exception) -> None:
        """A fault of ours: the panel says so, napari's notification holds the trace to send us."""
        from napari.utils.notifications import notification_manager

        self.say(
            f"This should not happen: {type(error).__name__}. Nothing was changed. "
            "The notification holds the details for a bug report.",
            error=True,
        )
        notification_manager.receive_error(type(error), error, error.__traceback__)

    def _show_state(self) -> None:
        self.run_button.setEnabled(self._ready and not self.busy)
        self.cancel_button.setEnabled(self._run is not None and not self._run.cancelled)
        self.busy_changed.emit(self.busy)


def _after(earlier: list[Run], call: Call, progress: Progress) -> Any:
    """The call, once those that were cancelled are over: two at a time would load the same things twice."""
    while not all(one.is_done for one in earlier):
        progress("Ending what was cancelled", 0, 0)
        time.sleep(LOOK_UP_S)
    return call(progress)


def is_taken_out(widget: QWidget, event: QEvent) -> bool:
    """Whether this event tells that the widget's dock was closed: napari orphans what was in it."""
    return event.type() == QEvent.Type.ParentChange and widget.parentWidget() is None
