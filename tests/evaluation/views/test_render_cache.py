from dataclasses import replace

import pytest
import torch

from gsn.evaluation.views.render_cache import RenderCache, fingerprint_renders
from gsn.evaluation.views.rendering import RenderConfig, View

CPU = torch.device("cpu")
CONFIG = RenderConfig(source_views=3, pixel_stride=2, chunk_rays=100)


def view(seed=0):
    draw = torch.Generator().manual_seed(seed)
    feature = torch.randn(3, 4, 5, generator=draw)
    return View(torch.rand(3, 4, 3, generator=draw), feature, torch.rand(3, 4, generator=draw))


def never():
    raise AssertionError("rendered again")


@pytest.fixture
def scene(make_scene):
    return make_scene()


def test_a_view_is_rendered_once_and_comes_back_the_same(tmp_path):
    cache = RenderCache(tmp_path / "scene", "made by this", CPU)
    first = cache.get("photo 1", view)
    later = RenderCache(tmp_path / "scene", "made by this", CPU)
    second = later.get("photo 1", never)
    assert (cache.n_made, cache.n_reused, later.n_made, later.n_reused) == (1, 0, 0, 1)
    assert torch.equal(first.rgb, second.rgb) and torch.equal(first.rgb, view().rgb)
    assert torch.equal(first.feature, second.feature)
    assert torch.equal(first.depth, second.depth)
    torch.testing.assert_close(first.feature, view().feature, atol=2e-3, rtol=1e-3)


def test_a_view_without_features_and_depth_stays_so(tmp_path):
    cache = RenderCache(tmp_path, "x", CPU)
    found = cache.get("a", lambda: View(torch.zeros(2, 2, 3), None))
    assert (found.feature, found.depth) == (None, None)


def test_what_something_else_made_is_rendered_again(tmp_path):
    RenderCache(tmp_path, "old", CPU).get("a", view)
    found = RenderCache(tmp_path, "new", CPU).get("a", lambda: view(1))
    assert torch.equal(found.rgb, view(1).rgb)
    assert torch.equal(RenderCache(tmp_path, "new", CPU).get("a", never).rgb, view(1).rgb)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_file_is_rendered_again(tmp_path, keep):
    RenderCache(tmp_path, "x", CPU).get("a", view)
    path = tmp_path / "a.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert torch.equal(RenderCache(tmp_path, "x", CPU).get("a", view).rgb, view().rgb)


def test_a_failed_rendering_leaves_no_file(tmp_path):
    with pytest.raises(AssertionError, match="rendered again"):
        RenderCache(tmp_path, "x", CPU).get("a", never)
    assert list(tmp_path.iterdir()) == []


def test_renders_are_told_apart_by_all_that_decides_them(scene):
    same = fingerprint_renders("m", scene, CONFIG)
    images = scene.images.clone()
    images[2, 0, 3, 4] ^= 1
    maps = replace(scene.teacher, values=scene.teacher.values + 1)
    held_out = ~scene.held_out
    moved = replace(scene.cameras, cam_to_world=scene.cameras.cam_to_world * 1.001)
    others = [
        fingerprint_renders("n", scene, CONFIG),
        fingerprint_renders("m", scene, replace(CONFIG, source_views=4)),
        fingerprint_renders("m", scene, replace(CONFIG, pixel_stride=1)),
        fingerprint_renders("m", replace(scene, images=images), CONFIG),
        fingerprint_renders("m", replace(scene, teacher=maps), CONFIG),
        fingerprint_renders("m", replace(scene, held_out=held_out), CONFIG),
        fingerprint_renders("m", replace(scene, cameras=moved), CONFIG),
        fingerprint_renders("m", replace(scene, far=scene.far + 1), CONFIG),
        fingerprint_renders("m", replace(scene, teacher=None), CONFIG),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_what_decides_nothing_tells_no_renders_apart(scene):
    same = fingerprint_renders("m", scene, CONFIG)
    assert fingerprint_renders("m", scene, replace(CONFIG, chunk_rays=7)) == same
    assert fingerprint_renders("m", replace(scene, teacher_name="other"), CONFIG) == same
