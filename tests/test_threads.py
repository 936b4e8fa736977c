import threading
import time

import pytest

from gsn.threads import draw_in_thread, map_in_threads


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("map_in_threads")]


def test_results_come_in_the_order_of_the_items():
    def read(k):
        time.sleep(0.02 if k % 3 == 0 else 0)  # later ones are finished first
        return k * k

    assert list(map_in_threads(range(20), read, 4)) == [k * k for k in range(20)]
    assert list(map_in_threads([], read, 4)) == []


def test_reading_goes_on_while_the_caller_is_busy():
    read_by = []

    def read(k):
        read_by.append(threading.current_thread().name)

    results = map_in_threads(range(10), read, 2)
    assert read_by == []  # nothing before the first result is asked for
    next(results)
    for _ in range(100):
        if len(read_by) == 5:
            break
        time.sleep(0.01)
    assert len(read_by) == 5  # the one yielded, and 2 * 2 ahead of it
    assert all(name.startswith("map_in_threads") for name in read_by)
    results.close()


@pytest.mark.parametrize(("n_threads", "n_ahead", "bound"), [(2, 0, 4), (3, 3, 3), (4, 1, 1)])
def test_no_more_than_the_bound_is_begun_and_not_yielded(n_threads, n_ahead, bound):
    begun = []
    results = map_in_threads(range(30), begun.append, n_threads, n_ahead)
    for n_yielded, _ in enumerate(results, start=1):
        time.sleep(0.002)
        assert len(begun) <= n_yielded + bound
    assert sorted(begun) == list(range(30))


def test_an_error_surfaces_at_its_place():
    def read(k):
        if k in (3, 4):
            raise ValueError(f"item {k}")
        time.sleep(0.02)
        return k

    got = []
    with pytest.raises(ValueError, match="item 3"):
        for result in map_in_threads(range(10), read, 4):
            got.append(result)
    assert got == [0, 1, 2]
    assert own_threads() == []


def test_an_error_of_the_items_surfaces_and_ends_the_threads():
    def items():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(map_in_threads(items(), str, 2))
    assert own_threads() == []


def test_closing_early_drops_what_has_not_begun_and_ends_the_threads():
    begun = []

    def read(k):
        begun.append(k)
        time.sleep(0.05)

    results = map_in_threads(range(1000), read, 2, n_ahead=100)
    next(results)
    results.close()
    assert len(begun) < 10
    assert own_threads() == []


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="n_threads 0"):
        map_in_threads([], str, 0)
    with pytest.raises(ValueError, match="n_ahead -1"):
        map_in_threads([], str, 1, -1)


def test_an_error_of_the_very_last_item_surfaces_too():
    def write(k):
        time.sleep(0.02 * k)
        if k == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(map_in_threads(range(4), write, 4))


def test_a_generator_is_drawn_from_in_order_in_another_thread():
    drawn_in = []

    def items():
        for k in range(20):
            drawn_in.append(threading.current_thread())
            yield k

    assert list(draw_in_thread(items(), 2)) == list(range(20))
    assert len(set(drawn_in)) == 1 and threading.main_thread() not in drawn_in
    assert own_threads() == []


def test_no_more_is_drawn_ahead_than_allowed():
    drawn = []

    def items():
        for k in range(50):
            drawn.append(k)
            yield k

    for k in draw_in_thread(items(), 3):
        time.sleep(0.002)
        assert len(drawn) <= k + 1 + 3


def test_an_error_of_the_generator_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("torn pack")

    got = []
    with pytest.raises(OSError, match="torn pack"):
        for item in draw_in_thread(items(), 2):
            got.append(item)
    assert got == [1]
    assert own_threads() == []


def test_a_loop_left_early_ends_the_thread_and_closes_the_generator():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    drawn = draw_in_thread(items(), 2)
    assert next(drawn) == 0
    drawn.close()
    assert closed == [True]
    assert own_threads() == []
