import pytest
import torch
import torch.nn.functional as F

from gsn.geometry.projection import project
from gsn.model.sources import TeacherMaps
from gsn.training.batches import draw_batch, draw_pixels, features_at
from gsn.training.generators import Generators
from gsn.training.residence import Residence

HELD_OUT = (0, 3)


def batches(n_batches, scenes, model, training, seed=0):
    generators = Generators.seeded(seed, torch.device("cpu"))
    return [draw_batch(scenes, model, training.batch, generators) for _ in range(n_batches)]


def views_at(scene, centres):
    """The views whose cameras stand at these places."""
    distance = (scene.cameras.centres[None] - centres[:, None]).norm(dim=-1)
    assert float(distance.min(dim=1).values.max()) == 0
    return distance.argmin(dim=1).tolist()


def target_of(batch, scene):
    """The view whose camera the rays leave from."""
    return views_at(scene, batch.rays.origins[:1])[0]


def sources_of(batch, scene):
    return views_at(scene, batch.cameras.centres)


def pixels_of(batch, scene, model):
    camera = scene.cameras[torch.tensor([target_of(batch, scene)])]
    seen = project(
        batch.rays.points(torch.ones(len(batch.rays), 1))[:, 0], camera, model.pixel_centre
    )
    torch.testing.assert_close(seen.pixels, seen.pixels.round(), atol=1e-3, rtol=0)
    return seen.pixels[0].round().long()


def test_held_out_views_are_neither_targets_nor_sources(make_scene, make_model, make_training):
    scene, model = make_scene(n_views=7, held_out=HELD_OUT), make_model()
    training = make_training(batch={"neighbourhood_max": 9, "source_views": 2})
    drawn = batches(150, [scene], model, training)
    assert {target_of(batch, scene) for batch in drawn} == {1, 2, 4, 5, 6}
    sources = {view for batch in drawn for view in sources_of(batch, scene)}
    assert sources == {1, 2, 4, 5, 6}


def test_the_target_is_not_among_its_sources(make_scene, make_model, make_training):
    scene = make_scene()
    for batch in batches(150, [scene], make_model(), make_training()):
        sources = sources_of(batch, scene)
        assert target_of(batch, scene) not in sources
        assert len(set(sources)) == len(sources)


def test_the_target_is_shown_as_often_as_asked_for(make_scene, make_model, make_training):
    scene = make_scene()
    for share in (1.0, 0.3):
        training = make_training(batch={"target_among_sources": share})
        drawn = batches(200, [scene], make_model(), training)
        shown = [target_of(batch, scene) in sources_of(batch, scene) for batch in drawn]
        assert sum(shown) / 200 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("parity", [False, True])
def test_colours_are_those_of_the_photo_at_the_pixels_of_the_rays(
    make_scene, make_model, make_training, parity
):
    scene, model = make_scene(), make_model(parity=parity)
    largest = 0.0
    for batch in batches(5, [scene], model, make_training()):
        u, v = pixels_of(batch, scene, model).unbind(-1)
        photo = scene.images[target_of(batch, scene)]
        by_hand = torch.stack([photo[:, v[i], u[i]] / 255 for i in range(len(u))])
        torch.testing.assert_close(batch.rgb, by_hand)
        largest = max(largest, float(batch.rgb.max()))
    assert 0.9 < largest <= 1


def test_pixels_are_distinct_and_cover_the_view(make_scene, make_model, make_training):
    model = make_model(samples=2)
    training = make_training(batch={"rays": 9999})  # more than there are
    scene = make_scene()
    batch = batches(1, [scene], model, training)[0]
    pixels = {tuple(pixel) for pixel in pixels_of(batch, scene, model).tolist()}
    assert pixels == {(u, v) for u in range(28) for v in range(24)}
    assert len(batch.rays) == 24 * 28


def test_fewer_sources_mean_more_rays(make_scene, make_model, make_training):
    training = make_training(batch={"rays": 40, "source_views": 3, "neighbourhood_max": 20})
    rays = {}
    for batch in batches(60, [make_scene(n_views=8)], make_model(), training):
        rays.setdefault(len(batch.cameras), set()).add(len(batch.rays))
    assert rays == {2: {60}, 3: {40}, 4: {30}}


def test_depths_are_drawn_in_bins_between_near_and_far(make_scene, make_model, make_training):
    scene = make_scene()
    for batch in batches(5, [scene], make_model(samples=9), make_training()):
        assert batch.depths.shape == (len(batch.rays), 9)
        assert (batch.depths.diff(dim=1) > 0).all()
        assert batch.depths.min() >= scene.near - 1e-5
        assert batch.depths.max() <= scene.far + 1e-4
    assert not torch.equal(batch.depths[0], batch.depths[1])


@pytest.mark.parametrize("parity", [False, True])
def test_jitter_is_in_inverse_depth_and_as_published_in_depth(
    make_scene, make_model, make_training, parity
):
    scene, model = make_scene(), make_model(samples=2, parity=parity)
    batch = batches(1, [scene], model, make_training(batch={"rays": 600}))[0]
    near, far = float(scene.near), float(scene.far)
    border = (near + far) / 2 if parity else 2 / (1 / near + 1 / far)
    assert float(batch.depths[:, 0].max()) == pytest.approx(border, rel=0.03)
    assert float(batch.depths[:, 1].min()) == pytest.approx(border, rel=0.03)


def bilinear_by_hand(cells, row, column):
    """Cells (D, h, w), clamped at the border."""
    height, width = cells.shape[1:]
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    i, j = min(int(row), height - 2), min(int(column), width - 2)
    a, b = row - i, column - j
    top = (1 - b) * cells[:, i, j] + b * cells[:, i, j + 1]
    bottom = (1 - b) * cells[:, i + 1, j] + b * cells[:, i + 1, j + 1]
    return (1 - a) * top + a * bottom


def maps_of(scene, view):
    return TeacherMaps(scene.teacher.values[view : view + 1], scene.teacher.grid)


def test_features_are_unit_vectors_of_the_teacher_at_the_pixel(make_scene):
    scene = make_scene()
    pixels = torch.tensor([[0, 0], [27, 23], [9, 7], [14, 2]])
    got = features_at(maps_of(scene, 2), pixels)
    cells = F.normalize(scene.teacher.values[2].float(), dim=0)
    for (u, v), feature in zip(pixels.tolist(), got, strict=True):
        by_hand = bilinear_by_hand(cells, (v - 1.5) / 4, (u - 1.5) / 4)
        torch.testing.assert_close(feature, by_hand / by_hand.norm())


def test_a_batch_holds_the_features_of_its_own_pixels(make_scene, make_model, make_training):
    scene, model = make_scene(), make_model(4)
    for batch in batches(5, [scene], model, make_training()):
        maps = maps_of(scene, target_of(batch, scene))
        expected = features_at(maps, pixels_of(batch, scene, model))
        torch.testing.assert_close(batch.feature, expected)
        torch.testing.assert_close(batch.feature.norm(dim=-1), torch.ones(len(batch.rays)))


def test_without_teacher_maps_there_is_no_feature(make_scene, make_model, make_training):
    scene = make_scene(channels=None)
    assert batches(1, [scene], make_model(), make_training())[0].feature is None


def test_what_the_sources_show_comes_with_them(make_scene, make_model, make_training):
    scene = make_scene()
    for batch in batches(5, [scene], make_model(4), make_training()):
        views = sources_of(batch, scene)
        assert len(batch.images) == len(batch.teacher.values) == len(views)
        for i, view in enumerate(views):
            assert torch.equal(batch.images[i], scene.images[view])
            assert torch.equal(batch.teacher.values[i], scene.teacher.values[view])
        assert batch.teacher.grid == scene.teacher.grid


def test_the_choice_of_the_host_is_what_the_device_is_given(make_scene, make_model, make_training):
    scenes = [make_scene("one"), make_scene("two", seed=1)]
    for batch in batches(20, scenes, make_model(), make_training()):
        scene = scenes[batch.choice.scene]
        assert batch.choice.target == target_of(batch, scene)
        assert batch.choice.sources.tolist() == sources_of(batch, scene)
        assert torch.equal(batch.images, scene.images[batch.choice.sources])


def test_pixels_are_drawn_evenly_and_none_twice():
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(3, 5)
    for _ in range(3000):
        pixels = draw_pixels(3, 5, 6, generator)
        assert len({tuple(pixel) for pixel in pixels.tolist()}) == 6
        counts[pixels[:, 1], pixels[:, 0]] += 1
    assert counts.div(3000).sub(6 / 15).abs().max() < 0.04


def test_all_tensors_of_a_batch_are_listed(make_scene, make_model, make_training):
    batch = batches(1, [make_scene()], make_model(4), make_training())[0]
    listed = {id(tensor) for tensor in batch.tensors}
    parts = [batch, batch.cameras, batch.teacher, batch.rays]
    held = [x for part in parts for x in vars(part).values() if isinstance(x, torch.Tensor)]
    assert listed == {id(tensor) for tensor in held}
    without = batches(1, [make_scene(channels=None)], make_model(), make_training())[0]
    assert len(without.tensors) == len(batch.tensors) - 2


def test_every_scene_is_drawn_and_the_generators_alone_decide(
    make_scene, make_model, make_training
):
    scenes, model = [make_scene("one"), make_scene("two", seed=1)], make_model()
    drawn = batches(20, scenes, model, make_training())
    assert {batch.choice.scene for batch in drawn} == {0, 1}
    torch.manual_seed(99)
    for batch, again in zip(drawn, batches(20, scenes, model, make_training()), strict=True):
        for one, other in zip(batch.tensors, again.tensors, strict=True):
            assert torch.equal(one, other)
    other = batches(20, scenes, model, make_training(), seed=1)
    assert not all(torch.equal(a.depths, b.depths) for a, b in zip(drawn, other, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("limit_bytes", [None, 0])
def test_drawing_on_a_gpu_never_waits_for_it(make_scene, make_model, make_training, limit_bytes):
    device = torch.device("cuda:0")
    scenes = [Residence(device, limit_bytes).place(make_scene())]
    model, generators = make_model(4).to(device), Generators.seeded(0, device)
    draw_batch(scenes, model, make_training().batch, generators)  # camera centres are read once
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = draw_batch(scenes, model, make_training().batch, generators)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert {tensor.device for tensor in batch.tensors} == {device}
