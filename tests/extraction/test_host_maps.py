import numpy as np
import pytest
import torch

from gsn.extraction.batches import batched
from gsn.extraction.host_maps import HostMaps, side_stream
from gsn.threads import draw_in_thread, map_in_threads


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

    def take(arriving):
        items, maps = arriving
        for item, value in zip(items, maps.arrived()[0], strict=True):
            got[item] = (value.min(), value.max())

    batches = draw_in_thread(batched(photographs, lambda *_: 16, pin=True), 3)
    on_the_gpu = (
        (batch.items, batch.images.to(device, non_blocking=True)[: len(batch.items)].half())
        for batch in batches
    )
    arriving = ((items, HostMaps(maps, stream)) for items, maps in on_the_gpu)
    assert len(list(map_in_threads(arriving, take, 4))) == 32
    assert got == {k: (k % 256, k % 256) for k in range(500)}
