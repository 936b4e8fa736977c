import threading
import time

import numpy as np
import pytest
import torch

from gsn.features.stream import Behind, HostMaps, ahead, batched, side_stream


def images(*sizes):
    """Item k is a photograph of height `sizes[k]` full of k."""
    return [(k, np.full((size, 2, 3), k, dtype=np.uint8)) for k, size in enumerate(sizes)]


def batches_of(photographs, size=3):
    return list(batched(iter(photographs), lambda height, width: size, pin=False))


def n_threads():
    return threading.active_count()


def test_batches_hold_consecutive_photographs_of_one_size_and_are_filled_with_the_last():
    got = batches_of(images(4, 4, 4, 4, 5, 4))
    assert [batch.items for batch in got] == [[0, 1, 2], [3], [4], [5]]
    assert [batch.images.shape for batch in got] == [(3, size, 2, 3) for size in (4, 4, 5, 4)]
    assert [batch.images[:, 0, 0, 0].tolist() for batch in got] == [
        [0, 1, 2],
        [3, 3, 3],
        [4, 4, 4],
        [5, 5, 5],
    ]
    assert all((batch.images == batch.images[:, :1, :1, :1]).all() for batch in got)


def test_the_batch_size_is_asked_for_height_and_width():
    asked = []
    list(batched(images(4, 5), lambda *size: asked.append(size) or 1, pin=False))
    assert asked == [(4, 2), (5, 2)]
    assert batches_of([]) == []


def test_all_items_come_in_order_from_another_thread():
    drawn_in = []

    def items():
        for k in range(20):
            drawn_in.append(threading.current_thread())
            yield k

    before = n_threads()
    with ahead(items()) as drawn:
        assert list(drawn) == list(range(20))
    assert threading.main_thread() not in drawn_in
    assert n_threads() == before


def test_no_more_is_drawn_ahead_than_allowed():
    drawn = []

    def items():
        for k in range(50):
            drawn.append(k)
            yield k

    with ahead(items(), depth=3) as found:
        for k in found:
            time.sleep(0.002)
            assert len(drawn) <= k + 1 + 3 + 1  # one more is drawn, and waits for room


def test_an_error_of_the_reader_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("torn pack")

    got = []
    with pytest.raises(OSError, match="torn pack"), ahead(items()) as drawn:
        for item in drawn:
            got.append(item)
    assert got == [1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_the_loop_ends_the_reader_which_closes_its_files(error):
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread())

    before = n_threads()
    with pytest.raises(error), ahead(items()) as drawn:
        next(drawn)
        raise error
    assert n_threads() == before
    assert len(closed) == 1 and closed[0] is not threading.main_thread()


def test_all_tasks_are_done_at_the_end_and_few_wait():
    done, waiting, most = [], [], []

    def work(k):
        time.sleep(0.002)
        waiting.pop()
        done.append(k)

    before = n_threads()
    with Behind(2, depth=3) as behind:
        for k in range(40):
            waiting.append(k)
            behind.submit(work, k)
            most.append(len(waiting))
    assert sorted(done) == list(range(40))
    assert max(most) <= 2 + 3 + 1
    assert n_threads() == before


def test_an_error_of_a_task_surfaces_and_stops_the_loop():
    def work(k):
        if k == 3:
            raise OSError("disk full")

    submitted = []
    with pytest.raises(OSError, match="disk full"), Behind(1, depth=0) as behind:
        for k in range(1000):
            behind.submit(work, k)
            submitted.append(k)
    assert len(submitted) < 10


def test_an_error_of_the_very_last_task_surfaces_too():
    def work():
        time.sleep(0.05)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Behind(1) as behind:
        behind.submit(work)


def test_an_error_of_the_loop_drops_the_tasks_that_wait():
    done = []

    def work(k):
        time.sleep(0.05)
        done.append(k)

    with pytest.raises(KeyboardInterrupt), Behind(1, depth=20) as behind:
        for k in range(20):
            behind.submit(work, k)
        raise KeyboardInterrupt
    assert len(done) < 5


def check_maps_arrive(device):
    values = torch.arange(24.0).reshape(3, 2, 2, 2)
    values[1, 0, 0, 0] = torch.nan
    values[2, 1, 1, 1] = 1e6  # beyond float16
    maps, finite = HostMaps(values.to(device).half(), side_stream(device)).arrived()
    np.testing.assert_array_equal(maps, values.half().numpy())
    assert maps.dtype == np.float16
    assert finite == [True, False, False]


def test_maps_arrive_with_whether_they_are_finite():
    check_maps_arrive(torch.device("cpu"))


@pytest.mark.gpu
def test_maps_arrive_from_a_gpu():
    check_maps_arrive(torch.device("cuda"))


@pytest.mark.gpu
def test_many_batches_through_a_gpu_come_back_unmixed():
    device, stream, got = torch.device("cuda"), side_stream(torch.device("cuda")), {}
    photographs = ((k, np.full((64, 64, 3), k % 256, dtype=np.uint8)) for k in range(500))

    def take(items, maps):
        values, _ = maps.arrived()
        for item, value in zip(items, values, strict=True):
            got[item] = (value.min(), value.max())

    with ahead(batched(photographs, lambda *_: 16, pin=True)) as batches, Behind(4) as behind:
        for batch in batches:
            maps = batch.images.to(device, non_blocking=True)[: len(batch.items)].half()
            behind.submit(take, batch.items, HostMaps(maps, stream))
    assert got == {k: (k % 256, k % 256) for k in range(500)}
