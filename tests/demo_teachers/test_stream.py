import gc
import multiprocessing

import numpy as np
import pytest
import torch

from demo_teachers import stream
from demo_teachers.stream import (
    ATTRIBUTES,
    HEIGHT,
    OUTSIDE,
    SAME_SURFACE,
    WIDTH,
    Bank,
    Scenes,
    Stream,
)
from demo_teachers.world import draw_world
from gsn.captures.synthetic.picture import take_picture
from gsn.captures.synthetic.shading import Shader

CPU = torch.device("cpu")
SEED = 3


@pytest.fixture
def noise_seeds_for_pictures(monkeypatch):
    """Let processes give a number of each scene instead of its pictures."""
    monkeypatch.setattr(stream, "render_pairs", lambda scene: scene.noise_seed)


def noise_seed(process, number):
    rng = np.random.default_rng([SEED, process, number])
    return draw_world(rng, 4, named_colours=True).noise_seed


def test_every_process_draws_scenes_of_its_own(noise_seeds_for_pictures):
    flow = Stream(SEED, 2, named_colours=True)
    got = list(flow.wait(8))
    flow.close()
    assert got == [noise_seed(process, number) for number in range(4) for process in (0, 1)]
    assert len(set(got)) == 8


def test_what_is_ready_comes_without_waiting(noise_seeds_for_pictures, monkeypatch):
    flow = Stream(SEED, 1, named_colours=True)
    first = next(flow.wait(1))
    while flow._finished.qsize() < 3:
        pass
    later = list(flow.ready())
    flow.close()
    scenes = [first, *later]
    assert len(later) >= 3
    assert scenes == [noise_seed(0, number) for number in range(len(scenes))]


def test_closing_ends_thread_and_processes(noise_seeds_for_pictures):
    before = set(multiprocessing.active_children())
    flow = Stream(SEED, 2, named_colours=True)
    next(flow.wait(1))
    assert len(set(multiprocessing.active_children()) - before) == 2
    flow.close()
    assert not flow._thread.is_alive()
    assert set(multiprocessing.active_children()) <= before


def test_an_error_in_a_process_surfaces(monkeypatch):
    def fail(*_, **__):
        raise ArithmeticError("no such scene")

    monkeypatch.setattr(stream, "draw_world", fail)
    # A process that has failed is not waited for as long as torch would.
    monkeypatch.setattr("torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    flow = Stream(SEED, 1, named_colours=True)
    with pytest.raises(RuntimeError, match="processes that render have failed") as found:
        list(flow.wait(1))
    assert "no such scene" in str(found.value.__cause__)
    flow.close()
    del found, flow
    gc.collect()


def test_scenes_without_processes_are_those_of_the_first():
    scenes = iter(Scenes(SEED, named_colours=True, pairs_per_scene=1))
    one = next(scenes)
    other = stream.render_pairs(
        draw_world(np.random.default_rng([SEED, 0, 0]), 2, named_colours=True)
    )
    for name, tensor in vars(one).items():
        assert torch.equal(tensor, getattr(other, name)), name


def to_pixels(places):  # (..., 2) from -1 to 1 → pixel-index columns and rows
    return (places[..., 0] + 1) / 2 * WIDTH - 0.5, (places[..., 1] + 1) / 2 * HEIGHT - 0.5


def test_the_warp_carries_pixels_of_objects_to_the_same_objects(pairs):
    right, wrong, elsewhere = 0, 0, 0
    for pair in range(2):
        for side in range(2):
            own = pairs.masks[pair, side, 2::4, 2::4]
            there = pairs.masks[pair, 1 - side]
            column, row = to_pixels(pairs.warps[pair, side].float())
            counted = (own > 0) & (column < WIDTH)
            found = there[row[counted].round().long(), column[counted].round().long()]
            right += int((found == own[counted]).sum())
            wrong += int((found != own[counted]).sum())
            shuffled = there.flip(0, 1)[row[counted].round().long(), column[counted].round().long()]
            elsewhere += int((shuffled != own[counted]).sum())
    assert right > 500
    assert wrong <= 0.03 * (right + wrong)
    assert elsewhere > 0.5 * (right + wrong)  # the test can fail


def test_the_warp_agrees_with_depth_pixel_by_pixel(world, pairs):
    shader = Shader(world, CPU)
    focal = world.cameras.focal * WIDTH
    depths = [take_picture(shader, view, WIDTH, HEIGHT, 1).depth for view in (0, 1)]
    poses = world.cameras.cam_to_world
    n_seen, n_left, n_hidden = 0, 0, 0
    for row in range(2, HEIGHT, 12):
        for column in range(2, WIDTH, 12):
            z = depths[0][row, column]
            ray = [(column + 0.5 - WIDTH / 2) / focal, (row + 0.5 - HEIGHT / 2) / focal, 1]
            point = poses[0, :3, :3] @ np.multiply(z, ray) + poses[0, :3, 3]
            x, y, z_there = poses[1, :3, :3].T @ (point - poses[1, :3, 3])
            u, v = focal * x / z_there + WIDTH / 2 - 0.5, focal * y / z_there + HEIGHT / 2 - 0.5
            got = pairs.warps[0, 0, row // 4, column // 4].float()
            inside = z_there > 0 and 0 <= u <= WIDTH - 1 and 0 <= v <= HEIGHT - 1
            surface = depths[1][round(v), round(u)] if inside else np.inf
            if inside and abs(z_there - surface) < SAME_SURFACE * surface:
                # Half precision is a pixel's eighth at the border.
                np.testing.assert_allclose(torch.stack(to_pixels(got)), [u, v], atol=0.13)
                n_seen += 1
            else:
                assert got.tolist() == [OUTSIDE, OUTSIDE]
                n_left += not inside
                n_hidden += inside
    assert min(n_seen, n_left, n_hidden) > 5


def test_things_and_places_are_those_of_the_masks(world, pairs):
    n_things = len(world.objects)
    assert set(pairs.masks.unique().tolist()) <= set(range(n_things + 1))
    assert (pairs.things[:, n_things:] == -1).all()
    visible = 0
    for view in range(4):
        pair, side = divmod(view, 2)
        pose = world.cameras.cam_to_world[view]
        for k, thing in enumerate(world.objects):
            words = [names[i] for names, i in zip(ATTRIBUTES, pairs.things[pair, k], strict=True)]
            assert words == [thing.shape, thing.colour, thing.material.texture.kind]
            column, depth = pairs.places[pair, side, k].tolist()
            offset = np.array([*thing.position, 0]) - pose[:3, 3]
            # The middle lies above the foot, at most by the size of the thing.
            assert abs(depth - pose[:3, 2] @ offset) < 2.1 * thing.size
            columns = torch.nonzero(pairs.masks[pair, side] == k + 1)[:, 1]
            if len(columns) > 60 and columns.min() > 0 and columns.max() < WIDTH - 1:
                assert columns.min() <= column * WIDTH <= columns.max()
                visible += 1
    assert visible >= 6


def numbers_in(bank):
    return set(bank.draw(300).things[:, 0, 0].tolist())


def test_the_bank_keeps_the_newest_and_draws_only_what_is_there(numbered_pairs):
    torch.manual_seed(0)
    bank = Bank(5, CPU)
    bank.put(numbered_pairs([1, 2]))
    assert numbers_in(bank) == {1, 2}
    bank.put(numbered_pairs([3, 4]))
    assert numbers_in(bank) == {1, 2, 3, 4}
    bank.put(numbered_pairs([5, 6]))
    bank.put(numbered_pairs([7, 8]))
    assert numbers_in(bank) == {4, 5, 6, 7, 8}
    assert bank.n_seen == 8


def test_the_bank_gives_back_whole_pairs(pairs, numbered_pairs):
    torch.manual_seed(0)
    bank = Bank(3, CPU)
    bank.put(numbered_pairs([11]))
    bank.put(pairs)
    drawn = bank.draw(20)
    own = [torch.nonzero((pairs.images == image).flatten(1).all(1))[:, 0] for image in drawn.images]
    assert {len(rows) for rows in own} == {0, 1}
    for number, rows in enumerate(own):
        if len(rows):
            for name, tensor in vars(pairs).items():
                assert torch.equal(getattr(drawn, name)[number], tensor[rows[0]]), name
        else:
            assert (drawn.things[number] == 11).all()
