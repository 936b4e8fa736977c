from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cost import (
    Cost,
    Work,
    convolutions,
    encoder_products,
    head_products,
    render_cost,
    renderer_products,
    step_cost,
)
from benchmarks.train_step import published_model
from gsn.geometry.rays import pixel_grid, pixel_rays
from gsn.model.sources import observe

STAGE_I = Work(512, 10, 378, 504)
STAGE_II = replace(STAGE_I, teacher=(64, 47, 63))
PIXELS = 378 * 504


@pytest.fixture(scope="module")
def published():
    return published_model(parity=True)


def test_the_published_encoder_takes_30_gflop_a_photograph(published):
    products = encoder_products(published, 378, 504)
    assert round(2 * products.forward / 1e9, 3) == 29.863
    assert round(2 * products.backward / 1e9, 3) == 58.831
    values = sum(layer.values for layer in convolutions(published, 378, 504))
    assert round(values / 1e6, 1) == 39.6


def test_the_published_renderer_and_head_by_hand(published):
    renderer = renderer_products(published, 10)
    assert renderer.forward == 949_185
    assert 2 * renderer.backward == 3_749_380 + 44_800
    assert round(head_products(published, 10, 64).forward) == 799_403


def test_a_published_step_takes_1447_and_1918_gflop_and_2_and_3_ms(published):
    first, second = step_cost(published, STAGE_I), step_cost(published, STAGE_II)
    assert round(first.flop / 1e9, 1) == 1446.5
    # A count of the loss of features alone is 1,913.1: it lacks the way back of the colour, through
    # the direction's layers (127 · 64 + 64² products a sample, twice) and the last one (1, twice).
    colour_alone = 2 * (127 * 64 + 64**2) + 2
    assert round((second.flop - 2 * 512 * 192 * colour_alone) / 1e9, 1) == 1913.1
    assert first.floor_s == pytest.approx(2.04e-3, rel=0.01)
    assert second.floor_s == pytest.approx(2.82e-3, rel=0.01)
    # 2.38 GB of convolutions, 0.27 of Adam, and less than 0.1 of all the rest.
    assert 2.65e9 < first.bytes < second.bytes < 2.78e9


def test_more_rays_cost_more_and_the_encoder_once(published):
    step = step_cost(published, replace(STAGE_I, rays=4096))
    assert round(step.flop / 1e9) == 5364


def test_a_published_view_takes_69_and_128_tflop(published):
    colour = render_cost(published, replace(STAGE_I, rays=PIXELS), with_encoder=False)
    both = render_cost(published, replace(STAGE_II, rays=PIXELS), with_encoder=False)
    assert round(colour.flop / 1e12, 2) == 69.44
    assert round((both.flop - colour.flop) / 1e12, 2) == 58.48
    encoded = render_cost(published, replace(STAGE_I, rays=PIXELS), with_encoder=True)
    assert round((encoded.flop - colour.flop) / 1e12, 2) == 0.30
    assert round(encoded.floor_s, 3) == 0.087
    assert colour.bytes < both.bytes < 0.1e9


def test_the_floor_is_the_slower_of_products_and_bytes():
    assert Cost(flop=800e12, bytes=3e12 / 4).floor_s == 1
    assert Cost(flop=800e12, bytes=6e12).floor_s == 2
    assert Cost(flop=800e12, bytes=0, again=400e12).floor_s == 1.5


def counted(model, scene, rays, depths):
    """Reference: FLOP of forward and of both passes as PyTorch counts them while it computes."""
    views = torch.arange(len(scene.view_names))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        sources = scene.encode(model, views)
        rendering = model(sources, rays, depths)
        forward = counter.get_total_flops()
        loss = rendering.rgb.sum()
        if rendering.feature is not None:
            loss = loss + rendering.feature.sum()
        loss.backward()
    with FlopCounterMode(display=False) as geometry:  # of matrices of cameras: not the network's
        observe(sources, rays, rays.points(depths), model.config.parity)
    rest = geometry.get_total_flops()
    return forward - rest, counter.get_total_flops() - rest


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("channels", [None, 8])
def test_formulas_agree_with_what_torch_counts(make_model, make_scene, parity, channels):
    sizes = {"encoder_blocks": (1, 2, 1), "depth": 3, "parity": parity}
    model = make_model(channels, **sizes).train()
    scene = make_scene(n_views=3, channels=channels, size=(24, 28))
    rays = pixel_rays(scene.cameras[:1], pixel_grid(24, 28, 5), model.pixel_centre)
    depths = model.depths(scene.near, scene.far).expand(len(rays), -1)
    work = Work(len(rays), 3, 24, 28, (channels, 6, 7) if channels else None)
    forward, both = counted(model, scene, rays, depths)
    assert render_cost(model.config, work, with_encoder=True).flop == forward
    assert step_cost(model.config, work).flop == both
