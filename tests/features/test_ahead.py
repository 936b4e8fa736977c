import threading
import time

import pytest

from gsn.features.ahead import read_ahead


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


def test_results_come_in_the_order_of_the_items():
    def read(k):
        time.sleep(0.02 if k % 3 == 0 else 0)  # later ones are finished first
        return k * k

    assert list(read_ahead(range(20), read, 4)) == [k * k for k in range(20)]
    assert list(read_ahead([], read, 4)) == []


def test_reading_goes_on_while_the_caller_is_busy():
    read_by = []
    results = read_ahead(range(10), lambda k: read_by.append(threading.current_thread().name), 2)
    assert read_by == []  # nothing before the first result is asked for
    next(results)
    for _ in range(100):
        if len(read_by) == 5:
            break
        time.sleep(0.01)
    assert len(read_by) == 5  # the one yielded, and 2 * 2 ahead of it
    assert all(name.startswith("read_ahead") for name in read_by)
    results.close()


@pytest.mark.parametrize(("n_threads", "n_ahead", "bound"), [(2, 0, 4), (3, 3, 3), (4, 1, 1)])
def test_no_more_than_the_bound_is_begun_and_not_yielded(n_threads, n_ahead, bound):
    begun = []
    for n_yielded, _ in enumerate(read_ahead(range(30), begun.append, n_threads, n_ahead), start=1):
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
        for result in read_ahead(range(10), read, 4):
            got.append(result)
    assert got == [0, 1, 2]
    assert own_threads() == []


def test_an_error_of_the_items_surfaces_and_ends_the_threads():
    def items():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(read_ahead(items(), str, 2))
    assert own_threads() == []


def test_closing_early_drops_what_has_not_begun_and_ends_the_threads():
    begun = []

    def read(k):
        begun.append(k)
        time.sleep(0.05)

    results = read_ahead(range(1000), read, 2, n_ahead=100)
    next(results)
    results.close()
    assert len(begun) < 10
    assert own_threads() == []


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="n_threads 0"):
        read_ahead([], str, 0)
    with pytest.raises(ValueError, match="n_ahead -1"):
        read_ahead([], str, 1, -1)
