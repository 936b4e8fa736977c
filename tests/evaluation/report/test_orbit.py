from dataclasses import replace

import numpy as np
import pytest
import torch

from gsn.evaluation.metrics.true_masks import TrueMasks
from gsn.evaluation.object_search import ObjectSearch
from gsn.evaluation.report.film import count_frames
from gsn.evaluation.report.orbit import film_orbit
from gsn.evaluation.report.scene_pages import ScenePages
from gsn.evaluation.views.render_cache import RenderCache
from gsn.evaluation.views.spiral import spiral


class FakePages:
    """Takes the place of the pages: a frame is the colour of the view, enlarged."""

    def __init__(self):
        self.views, self.labels = [], []

    def label_for_film(self):
        return "cup"

    def film_frame(self, view, label):
        self.views.append(view)
        self.labels.append(label)
        frame = (view.rgb.numpy() * 255).astype(np.uint8)
        return frame.repeat(8, axis=0).repeat(8, axis=1)


@pytest.fixture
def renderer(make_model, make_renderer, room):
    return make_renderer(make_model(4), room)


@pytest.fixture
def film(renderer, config, tmp_path):
    """Return what films the room from a cache on disk and says what was rendered for it."""

    def run(n_frames=3, stride=4, folder="renders", pages=None):
        cache = RenderCache(tmp_path / folder, "model", torch.device("cpu"))
        pages = FakePages() if pages is None else pages
        orbit = replace(config.orbit, pixel_stride=stride)
        film_orbit(tmp_path / "film.mp4", renderer, cache, pages, n_frames, orbit)
        return cache, pages

    return run


def test_a_film_has_a_frame_for_each_camera_of_the_spiral(film, renderer, room, tmp_path):
    cache, pages = film(n_frames=3)
    assert count_frames(tmp_path / "film.mp4") == 3
    assert (cache.n_made, cache.n_reused) == (3, 0)
    assert pages.labels == ["cup"] * 3
    cameras = spiral(room.cameras[torch.tensor([1, 2, 4, 5])], room.near, room.far, 3)
    for number, view in enumerate(pages.views):
        expected = renderer.camera(cameras[torch.tensor([number])], 4)
        assert view.rgb.shape == (6, 7, 3)
        torch.testing.assert_close(view.rgb, expected.rgb)
        torch.testing.assert_close(view.depth, expected.depth)
    assert not torch.allclose(pages.views[0].rgb, pages.views[1].rgb)


def test_frames_that_were_rendered_before_are_not_rendered_again(film, renderer, monkeypatch):
    _, first = film()

    def never(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr(renderer, "camera", never)
    cache, again = film()
    assert (cache.n_made, cache.n_reused) == (0, 3)
    for view, other in zip(again.views, first.views, strict=True):
        assert torch.equal(view.rgb, other.rgb)


@pytest.mark.parametrize(("n_frames", "stride"), [(4, 4), (3, 6), (2, 4)])
def test_another_path_or_another_stride_takes_no_frame_of_this_one(film, n_frames, stride):
    film(n_frames=3, stride=4)
    cache, pages = film(n_frames=n_frames, stride=stride)
    assert (cache.n_made, cache.n_reused) == (n_frames, 0)
    _, fresh = film(n_frames=n_frames, stride=stride, folder="fresh")
    for view, other in zip(pages.views, fresh.views, strict=True):
        assert torch.equal(view.rgb, other.rgb)


def test_a_path_that_is_drawn_otherwise_takes_no_frame_of_this_one(film, monkeypatch):
    film()
    monkeypatch.setattr("gsn.evaluation.views.spiral.RADIUS_PERCENTILE", 50.0)
    cache, _ = film()
    assert (cache.n_made, cache.n_reused) == (3, 0)


def test_no_frame_is_taken_for_a_view_of_the_scene(film, room, tmp_path):
    film()
    names = {path.stem for path in (tmp_path / "renders").iterdir()}
    assert len(names) == 3
    assert not names & set(room.view_names)


def test_a_film_that_fails_keeps_the_older_film_and_the_frames_rendered_so_far(film, tmp_path):
    film(n_frames=2)
    before = (tmp_path / "film.mp4").read_bytes()

    class Failing(FakePages):
        def film_frame(self, view, label):
            if self.views:
                raise RuntimeError("killed")
            return super().film_frame(view, label)

    with pytest.raises(RuntimeError, match="killed"):
        film(n_frames=5, pages=Failing())
    assert (tmp_path / "film.mp4").read_bytes() == before
    cache, _ = film(n_frames=5)
    assert (cache.n_made, cache.n_reused) == (3, 2)


def test_the_film_shows_what_pages_draw(film, room_views, make_prompt, config, room, tmp_path):
    prompts = [make_prompt("cup")]
    objects = ObjectSearch(prompts, room_views, config.segmentation)
    truth = TrueMasks("room", room.view_names, (), {}, 0.04)
    film(n_frames=2, pages=ScenePages(room_views, objects, prompts, truth, tmp_path))
    assert count_frames(tmp_path / "film.mp4") == 2
