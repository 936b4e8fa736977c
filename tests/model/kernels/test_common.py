from types import SimpleNamespace

import pytest
import torch

from gsn.model.kernels.choice import kernels_take
from gsn.model.kernels.common import Seeds, ahead, padded, threshold, zeros_like
from gsn.model.kernels.linear import linear

pytestmark = pytest.mark.usefixtures("on_the_gpu_if_any")
N_ROWS, WIDTH = 96, 64


def drop_ones(seed, dropout):
    """Return what dropout makes of ones, (96, 64): three tiles of rows."""
    ones = torch.ones(N_ROWS, 16)
    return linear(ones, torch.full((WIDTH, 16), 1 / 16), dropout=dropout, seed=seed)


def draws(dropped, dropout):
    """Return what was kept as numbers of mean 0 and variance 1."""
    return ((dropped > 0).double() - 1 + dropout) / (dropout * (1 - dropout)) ** 0.5


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(dropout):
    seeds = Seeds(torch.zeros(0).device, dropout, 64)
    dropped = torch.stack([drop_ones(seeds.next(), dropout) for _ in range(3)])
    assert abs(draws(dropped, dropout).mean()) < 4 * dropped.numel() ** -0.5
    kept = dropped[dropped > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - dropout)))


def test_what_is_dropped_of_rows_columns_tiles_and_under_other_seeds_is_unrelated():
    seeds = torch.tensor([[7, 0, 0, 0], [8, 0, 0, 0]], dtype=torch.int32)
    one, other = (draws(drop_ones(seed, 0.2), 0.2) for seed in seeds)
    pairs = {
        "rows": (one[1:], one[:-1]),
        "columns": (one[:, 1:], one[:, :-1]),
        "diagonal": (one[1:, 1:], one[:-1, :-1]),
        "tiles of rows": (one[32:], one[:-32]),
        "seeds": (one, other),
    }
    for name, (first, second) in pairs.items():
        assert abs((first * second).mean()) < 4 * first.numel() ** -0.5, name


def test_the_same_seed_drops_the_same_again():
    seed = torch.tensor([7, 0, 0, 0], dtype=torch.int32)
    assert torch.equal(drop_ones(seed, 0.2), drop_ones(seed, 0.2))


def test_every_dropout_of_a_pass_has_a_seed_of_its_own():
    torch.manual_seed(0)
    device = torch.zeros(0).device
    passes = [Seeds(device, 0.1, 64) for _ in range(2)]
    first = [int(seeds.next()[0]) for seeds in passes for _ in range(40)]
    assert len(set(first)) == 80


def test_kernels_are_not_compiled_anew_for_a_seed_less_aligned():
    seeds = Seeds(torch.zeros(0).device, 0.1, 64)
    assert {seeds.next().data_ptr() % 16 for _ in range(5)} == {0}


def test_without_dropout_nothing_is_drawn_and_nothing_dropped():
    before = torch.get_rng_state()
    seeds = Seeds(torch.zeros(0).device, 0.0, 64)
    assert seeds.next() is None
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(drop_ones(None, 0.0), torch.ones(N_ROWS, WIDTH))


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, 0), (0.5, 2**31), (0.25, 2**30)])
def test_the_threshold_is_the_probability_in_units_of_32_bits(dropout, expected):
    assert threshold(dropout) == expected


@pytest.mark.parametrize(("size", "expected"), [(0, 16), (3, 16), (16, 16), (17, 32), (70, 128)])
def test_tiles_are_powers_of_two_that_matrix_units_take(size, expected):
    assert padded(size) == expected


def test_sums_begin_at_zero_in_float32_each_where_vectors_can_be_written():
    weights = [torch.ones(3, 5).bfloat16(), None, torch.ones(7), torch.ones(2, 2)]
    zeros = zeros_like(*weights)
    assert zeros[1] is None
    for zero, weight in zip(zeros, weights, strict=True):
        if weight is not None:
            assert zero.dtype == torch.float32
            assert torch.equal(zero, torch.zeros(weight.shape))
            assert zero.data_ptr() % 16 == 0
    zeros[0].fill_(1.0)
    assert not zeros[2].any()


@pytest.fixture
def shared_memory(monkeypatch):
    """Return what makes the GPU one of so many KiB."""

    def have(kib):
        found = SimpleNamespace(shared_memory_per_block_optin=kib * 1024)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)

    return have


@pytest.mark.parametrize(("kib", "expected"), [(99, 1), (163, 1), (227, 3)])
def test_loads_are_started_ahead_where_shared_memory_has_room(shared_memory, kib, expected):
    shared_memory(kib)
    assert ahead(3) == expected


@pytest.mark.parametrize(
    ("kib", "width", "taken"), [(99, 64, True), (99, 96, False), (163, 96, True)]
)
def test_wide_observations_are_taken_where_shared_memory_has_room(shared_memory, kib, width, taken):
    shared_memory(kib)
    assert kernels_take(torch.device("cuda"), 35, width, 128) == taken
