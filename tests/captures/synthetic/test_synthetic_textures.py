import numpy as np
import pytest
import torch

from gsn.captures.synthetic.noise import PERIOD, Noise
from gsn.captures.synthetic.scene import Texture
from gsn.captures.synthetic.textures import TEXTURES, albedo

NOISE = Noise(3, torch.device("cpu"))


def points(n=4000, half=2.0, seed=0):
    return (torch.rand(3, n, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * half


def test_noise_takes_its_lattice_values_at_whole_points_and_repeats():
    whole = torch.tensor([[0, 0, 0], [3, 1, 2], [31, 5, 31], [-1, -2, 4]])
    expected = torch.stack([NOISE.values[tuple((p % PERIOD).tolist())] for p in whole])
    p = whole.T.float()
    torch.testing.assert_close(NOISE(p), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(NOISE(p + PERIOD), expected, atol=1e-5, rtol=0)


def test_noise_is_half_way_in_the_middle_between_lattice_points():
    got = NOISE(torch.tensor([[4.0], [7.5], [9.0]]))[0]
    assert got.item() == pytest.approx(NOISE.values[4, 7:9, 9].mean().item(), abs=1e-5)


def test_noise_has_no_jumps():
    p = points(half=40.0)
    change = (NOISE.layered(p, 3) - NOISE.layered(p + 1e-3, 3)).abs()
    assert change.max() < 0.02


def test_layered_noise_stays_within_bounds_and_has_no_bias():
    values = NOISE.layered(points(half=100.0), 4)
    assert values.abs().max() < 1
    assert values.mean().abs() < 0.03
    assert values.std() > 0.1


def test_cells_left_of_the_origin_have_values_too():
    i, j = torch.meshgrid(torch.arange(-40, 40), torch.arange(-3, 3), indexing="ij")
    values = NOISE.of_cell(i.flatten().float(), j.flatten().float())
    assert values.unique().numel() > 0.9 * values.numel()


@pytest.mark.parametrize("kind", TEXTURES)
def test_every_texture_gives_valid_colours_that_vary(kind):
    texture = Texture(kind, (0.6, 0.2, 0.1), (0.1, 0.3, 0.7), 1.4, (0.6, 0.8, 0.0))
    colour = albedo(texture, points(), NOISE)
    assert colour.shape == (3, 4000)
    assert colour.min() >= 0
    assert colour.max() <= 0.95
    assert colour.std(dim=1).max() > 0.015
    reds = (colour[0] > colour[2]).float().mean()
    assert reds > 0.28, "the main colour, which the caption names"


def test_stripes_alternate_along_the_axis_once_a_repeat():
    texture = Texture("striped", (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 2.0, (0.0, 0.0, 1.0))
    z = torch.tensor([0.125, 0.375, 0.625, 0.875])  # middles of half repeats of length 0.25
    colour = albedo(texture, torch.stack([z * 0 + 0.3, z * 0 - 0.2, z]), NOISE)
    assert (colour[2] > colour[0]).tolist() == [True, False, True, False]


def test_every_plane_cuts_some_dots():
    texture = Texture("dotted", (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 1.0, (0.0, 0.0, 1.0))
    for z in np.linspace(0, 1, 9):
        p = points()
        p[2] = z
        colour = albedo(texture, p, NOISE)
        assert 0.08 < (colour[2] > colour[0]).float().mean() < 0.6
