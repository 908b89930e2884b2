"""Objects on threads of their own."""

import gc
import threading
import weakref

import pytest

from rtvc.engine.thread_bound import ThreadBound, run_in_thread


def threads():
    gc.collect()
    return [thread.name for thread in threading.enumerate()]


def test_an_object_is_made_and_used_on_one_other_thread():
    bound = ThreadBound(lambda: [threading.get_ident()], "own")
    assert "own" in threads()
    bound.call(lambda held: held.append(threading.get_ident()))
    first, second = bound.call(list)
    assert first == second != threading.get_ident()
    bound.close()
    bound.close()
    assert "own" not in threads()
    with pytest.raises(RuntimeError, match="ended"):
        bound.call(list)


def test_errors_come_to_the_caller_and_the_object_stays():
    bound: ThreadBound[list[int]] = ThreadBound(list, "own")
    with pytest.raises(ZeroDivisionError):
        bound.call(lambda held: 1 // len(held))
    assert bound.call(len) == 0
    bound.close()


def test_an_object_that_cannot_be_made_leaves_no_thread():
    with pytest.raises(ZeroDivisionError):
        ThreadBound(lambda: 1 // 0, "own")
    assert "own" not in threads()


def test_the_object_goes_with_its_owner():
    class Held:
        pass

    gone = threading.Event()
    bound = ThreadBound(Held, "own")
    bound.call(lambda held: setattr(held, "last", Last(gone)))
    del bound
    assert "own" not in threads()
    assert gone.is_set()


def test_a_call_while_another_thread_closes_does_not_wait_for_ever():
    bound: ThreadBound[list[int]] = ThreadBound(list, "own")
    queue, errors = bound._calls, []

    class ClosedJustBefore:
        def put(self, call):
            bound.close()
            queue.put(call)

    bound._calls = ClosedJustBefore()  # type: ignore[assignment]

    def call():
        try:
            bound.call(len)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    assert errors == ["the thread has ended"]


@pytest.mark.parametrize("where", ["make", "call"])
def test_an_error_keeps_nothing_without_the_garbage_collector(where: str) -> None:
    """It is off while a live session runs in the same program."""

    class Held:
        def fail(self) -> None:
            raise ZeroDivisionError

    held: list[weakref.ref[Held]] = []

    def make() -> Held:
        made = Held()
        held.append(weakref.ref(made))
        if where == "make":
            made.fail()
        return made

    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            ThreadBound(make, "own").call(Held.fail)
        assert held[0]() is None
    finally:
        gc.enable()


class Last:
    def __init__(self, gone):
        self.gone = gone

    def __del__(self):
        self.gone.set()


def test_a_thread_for_one_piece_of_work():
    assert run_in_thread(threading.get_ident, "own") != threading.get_ident()
    assert "own" not in threads()
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 // 0, "own")
    assert "own" not in threads()
