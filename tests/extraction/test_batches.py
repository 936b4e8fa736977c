import numpy as np
import torch

from gsn.extraction.batches import batch_size, batched

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def test_the_cpu_takes_one_photograph_at_a_time():
    assert batch_size(376, 504, CPU) == batch_size(1, 1, CPU) == 1


def test_cuda_takes_as_many_as_have_the_pixels_of_sixteen_small_captures():
    assert batch_size(376, 504, CUDA) == 16
    assert batch_size(756, 1008, CUDA) == 4
    assert batch_size(144, 192, CUDA) == 32
    assert batch_size(4000, 6000, CUDA) == 1


def images(*sizes):
    """Item k is a photograph of height `sizes[k]` full of k."""
    return [(k, np.full((size, 2, 3), k, dtype=np.uint8)) for k, size in enumerate(sizes)]


def batches_of(photographs, size=3):
    return list(batched(iter(photographs), lambda height, width: size, pin=False))
