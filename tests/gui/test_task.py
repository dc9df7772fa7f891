"""One call in a thread: its progress, its end, its errors, and panels that go away under it."""

import gc
import subprocess
import sys
import threading
import time

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_bloodcell.core.errors import ImageError
from napari_bloodcell.gui.task import Latest, Partial, Run, Task, under_way

pytestmark = pytest.mark.gui


@pytest.fixture
def task(qtbot):
    made = Task("Go")
    qtbot.addWidget(made)
    made.show()
    yield made
    qtbot.waitUntil(lambda: under_way() == 0, timeout=20_000)


def work_until(stop):
    """A call that reports progress till the event is set."""

    def call(progress):
        done = 0
        while not stop.is_set():
            progress("working", done, 1000)
            done += 1
            time.sleep(0.005)
        return done

    return call


def test_the_call_runs_in_a_thread_and_its_result_comes_to_the_main_one(task, qtbot):
    main, seen = QThread.currentThread(), {}

    def call(progress):
        seen["call"] = QThread.currentThread()
        return 42

    task.start(call, lambda result: seen.update(then=QThread.currentThread(), result=result))
    qtbot.waitUntil(lambda: not task.busy)
    assert seen["call"] is not main
    assert seen["then"] is main
    assert seen["result"] == 42


def test_progress_shows_as_a_bar_and_in_words(task, qtbot):
    stop = threading.Event()
    task.start(work_until(stop), lambda _: None)
    qtbot.waitUntil(lambda: task.bar.maximum() == 1000)
    assert task.message.text().startswith("Working: ")
    assert task.bar.isVisible()
    assert not task.run_button.isEnabled()
    stop.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert not task.bar.isVisible()
    assert task.run_button.isEnabled()
    assert not task.cancel_button.isEnabled()


def test_a_step_of_unknown_length_shows_a_busy_bar(task, qtbot):
    gate = threading.Event()

    def call(progress):
        progress("loading", 0, 0)
        gate.wait(5)

    task.start(call, lambda _: None)
    qtbot.waitUntil(lambda: task.message.text() == "Loading …")
    assert task.bar.maximum() == 0
    gate.set()
    qtbot.waitUntil(lambda: not task.busy)


def test_cancel_stops_the_call_at_its_next_report(task, qtbot, click):
    results = []
    task.start(work_until(threading.Event()), results.append)
    qtbot.waitUntil(lambda: task.bar.maximum() == 1000)
    click(task.cancel_button)
    qtbot.waitUntil(lambda: not task.busy)
    assert results == []
    assert task.message.text() == "Cancelled."
    assert task.run_button.isEnabled()


def test_a_call_that_never_looks_up_is_cancelled_when_it_ends(task, qtbot, click):
    gate, results = threading.Event(), []
    task.start(lambda progress: gate.wait(5), results.append)
    click(task.cancel_button)
    gate.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert results == []
    assert "Cancelled" in task.message.text()


def test_what_loads_is_let_go_at_once_and_the_next_call_waits_for_its_end(task, qtbot, click):
    gate, results, at_work = threading.Event(), [], []

    def load(progress):
        progress("Loading", 0, 0)
        gate.wait(20)
        return "dropped"

    def work(progress):
        at_work.append(gate.is_set())
        return "kept"

    usual = gc.get_threshold()
    task.start(load, results.append, may_drop=True)
    qtbot.waitUntil(lambda: task.message.text() == "Loading …")
    click(task.cancel_button)
    assert task.message.text() == "Cancelled."
    assert not task.busy
    assert gc.get_threshold() != usual  # its thread is still at work
    task.start(work, results.append, may_drop=True)
    qtbot.waitUntil(lambda: task.message.text() == "Ending what was cancelled …")
    click(task.cancel_button)  # this too, and the third still waits for the first
    task.start(work, results.append, may_drop=True)
    qtbot.wait(200)
    assert at_work == []
    gate.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert results == ["kept"]
    assert at_work == [True]
    assert gc.get_threshold() == usual


def test_what_keeps_no_parts_is_let_go_after_it_has_counted_too(task, qtbot, click):
    gate, results = threading.Event(), []

    def call(progress):
        progress("laying out", 1, 2)
        gate.wait(20)
        return "dropped"

    task.start(call, results.append, may_drop=True)
    qtbot.waitUntil(lambda: task.message.text() == "Laying out: 1 of 2")
    click(task.cancel_button)
    assert not task.busy
    assert task.message.text() == "Cancelled."
    gate.set()
    qtbot.waitUntil(lambda: under_way() == 0)
    qtbot.wait(50)
    assert results == []


def test_what_has_counted_something_is_waited_for(task, qtbot, click):
    gate = threading.Event()

    def call(progress):
        progress("outlining", 0, 1)
        gate.wait(20)
        return Partial("what was finished")

    results = []
    task.start(call, results.append, may_drop=True, keeps_parts=True)
    qtbot.waitUntil(lambda: task.message.text() == "Outlining …")
    click(task.cancel_button)
    assert task.busy
    assert task.message.text() == "Stopping …"
    gate.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert [one.result for one in results] == ["what was finished"]


def test_an_error_of_ours_shows_as_its_text(task, qtbot):
    def call(progress):
        raise ImageError("This image is no image. Open another.")

    task.start(call, lambda _: None)
    qtbot.waitUntil(lambda: not task.busy)
    assert task.message.text() == "This image is no image. Open another."
    assert task.run_button.isEnabled()


@pytest.mark.parametrize("fault", [ValueError, RuntimeError])
def test_an_unexpected_error_goes_to_napari_with_its_trace(task, qtbot, fault):
    def call(progress):
        raise fault("a fault of ours")

    notification_manager.records.clear()
    with notification_manager:
        task.start(call, lambda _: None)
        qtbot.waitUntil(lambda: not task.busy)
    (note,) = notification_manager.records
    notification_manager.records.clear()
    assert note.exception.args == ("a fault of ours",)
    assert note.exception.__traceback__.tb_next is not None
    assert fault.__name__ in task.message.text()
    assert task.run_button.isEnabled()


def test_an_error_while_showing_the_result_shows_too(task, qtbot):
    def then(result):
        raise ImageError("The layer is gone.")

    task.start(lambda progress: 1, then)
    qtbot.waitUntil(lambda: not task.busy)
    assert task.message.text() == "The layer is gone."


def test_a_result_in_steps_lets_the_window_live_between_them(task, qtbot):
    turns = []

    def then(result):
        turns.append(1)
        yield
        turns.append(2)
        yield
        turns.append(3)
        task.say("done")

    task.start(lambda progress: 1, then)
    qtbot.waitUntil(lambda: not task.busy)
    assert turns == [1, 2, 3]
    assert task.message.text() == "done"


def test_cancel_is_offered_only_while_there_is_something_to_cancel(task, qtbot):
    seen = []

    def then(result):
        yield
        task.set_ready(True)  # a layer has come: the panel looks whether it can run
        seen.append((task.busy, task.cancel_button.isEnabled(), task.message.text()))
        yield

    stop = threading.Event()
    task.start(work_until(stop), then)
    assert task.cancel_button.isEnabled()
    stop.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert seen == [(True, False, "Showing the result …")]
    assert task.message.text() == ""


def test_a_second_start_while_running_is_ignored(task, qtbot):
    stop, results = threading.Event(), []
    task.start(work_until(stop), lambda _: results.append("first"))
    task.start(lambda progress: 1, lambda _: results.append("second"))
    stop.set()
    qtbot.waitUntil(lambda: not task.busy)
    assert results == ["first"]


def test_a_task_deleted_while_running_cancels_the_call_and_hears_no_more(qtbot):
    panel = QWidget()
    QVBoxLayout(panel)
    task = Task("Go")
    panel.layout().addWidget(task)
    results = []
    task.start(work_until(threading.Event()), results.append)
    run = task._run
    qtbot.wait(50)
    panel.deleteLater()
    qtbot.waitUntil(lambda: under_way() == 0, timeout=5000)
    qtbot.wait(50)
    assert run.cancelled
    assert results == []


def test_thousands_of_reports_do_not_flood_the_window(qtbot):
    reports = []

    def call(progress):
        for done in range(20_000):
            progress("counting", done, 20_000)

    run = Run(call)
    run.progressed.connect(lambda *report: reports.append(report))
    with qtbot.waitSignal(run.ended, timeout=20_000):
        run.start()
    assert 1 <= len(reports) < 200


@pytest.fixture
def latest(qtbot):
    made = Latest(patience_s=5)  # the machine may be busy
    yield made
    made.stop()
    qtbot.waitUntil(lambda: under_way() == 0 and not made.busy, timeout=20_000)


def test_a_short_answer_is_waited_for_once_it_is_known_to_be_short(latest, qtbot):
    answers = []
    latest.ask(lambda _: "first", answers.append)
    assert answers == []  # how long it takes nobody knows yet
    qtbot.waitUntil(lambda: answers == ["first"], timeout=20_000)
    latest.ask(lambda _: "second", answers.append)
    assert answers == ["first", "second"]
    qtbot.waitUntil(lambda: under_way() == 0, timeout=20_000)
    assert answers == ["first", "second"]  # and it is told once


def test_a_long_answer_is_not_waited_for_and_the_newest_question_counts(latest, qtbot):
    def long(_):
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    latest._patience_s = 0.1
    answers, stop = [], threading.Event()
    latest.ask(long, lambda _: answers.append("long"))
    qtbot.waitUntil(lambda: answers == ["long"], timeout=20_000)
    latest.ask(lambda _: stop.wait(20), lambda _: answers.append("old"))
    latest.ask(lambda _: None, lambda _: answers.append("passed over"))
    latest.ask(lambda _: None, lambda _: answers.append("newest"))
    assert answers == ["long"]
    stop.set()
    qtbot.waitUntil(lambda: not latest.busy, timeout=20_000)
    assert answers[-1] == "newest"
    assert "passed over" not in answers


def test_what_goes_wrong_in_a_short_answer_is_told_at_once(latest, qtbot):
    def refuse(_):
        raise ImageError("Too dark.")

    told = []
    latest.failed.connect(lambda error: told.append(str(error)))
    latest.ask(lambda _: None, lambda _: told.append("done"))
    qtbot.waitUntil(lambda: told == ["done"], timeout=20_000)
    latest.ask(refuse, lambda _: told.append("never"))
    assert told == ["done", "Too dark."]


def test_a_process_that_ends_while_a_call_runs_ends_quietly():
    script = """
import time
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari_bloodcell.gui.task import Run, under_way
def call(progress):
    while True:
        progress("working", 0, 0)
        time.sleep(0.01)
Run(call).start()
time.sleep(0.3)
assert under_way() == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deleted" not in done.stderr


def test_torch_and_torchvision_load_in_a_task_while_the_window_is_drawn(viewer, qtbot):
    """Mesa's LLVM and that of triton in one process: a segmentation fault."""
    import numpy as np

    viewer.add_image(np.zeros((50, 50)))
    qtbot.wait(100)

    def call(_progress):
        import torchvision.ops

        return torchvision.ops.__name__

    run = Run(call)
    with qtbot.waitSignal(run.ended, timeout=120_000):
        run.start()
    assert run.error is None
    assert run.result == "torchvision.ops"


def full_collections(work):
    """How often Python looked through all objects meanwhile."""
    seen = []

    def note(phase, info):
        if phase == "start" and info["generation"] == 2:
            seen.append(info)

    gc.callbacks.append(note)
    try:
        work()
    finally:
        gc.callbacks.remove(note)
    return len(seen)


def make_many():
    return [[] for _ in range(len(gc.get_objects()) + gc.get_freeze_count())]


def test_the_window_is_not_stopped_by_a_full_collection_while_a_task_works(task, qtbot):
    usual, seen = gc.get_threshold(), []

    def show(_result):
        yield
        seen.append(full_collections(make_many))

    def run():
        task.start(lambda progress: make_many(), show)
        qtbot.waitUntil(lambda: not task.busy, timeout=20_000)

    assert full_collections(make_many) > 0
    gc.collect()
    assert full_collections(run) == 0
    assert seen == [0]
    assert gc.get_threshold() == usual


def test_collections_are_as_before_once_the_last_of_several_tasks_ends(task, qtbot):
    usual, stop = gc.get_threshold(), threading.Event()
    other = Task("Other")
    task.start(work_until(stop), lambda _: None)
    other.start(work_until(stop), lambda _: None)
    task.cancel()
    qtbot.waitUntil(lambda: not task.busy)
    assert gc.get_threshold() != usual
    other.deleteLater()  # a panel that is closed while it works
    qtbot.waitUntil(lambda: gc.get_threshold() == usual)
    stop.set()


def test_a_fault_while_the_result_is_taken_leaves_the_panel_ready_and_collections_as_before(task, qtbot):
    usual = gc.get_threshold()

    def fault(_result):
        raise ZeroDivisionError

    with qtbot.captureExceptions() as faults:
        task.start(lambda progress: 1, fault)
        qtbot.waitUntil(lambda: not task.busy and len(faults) == 1)
    assert faults[0][0] is ZeroDivisionError
    assert gc.get_threshold() == usual
    assert task.run_button.isEnabled()
    assert not task.bar.isVisible()


def test_what_is_handed_in_when_python_is_ending_is_written(qtbot):
    from napari_bloodcell.gui.in_order import InOrder

    order, done, failed = InOrder(), [], []
    order.failed.connect(failed.append)
    order.submit(lambda: done.append("before"))
    order.close()
    order.submit(lambda: done.append("after"))
    order.submit(lambda: 1 / 0)
    assert done == ["before", "after"]
    assert failed == ["division by zero"]
