import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from gsn.evaluation.metrics import consistency
from gsn.evaluation.metrics.consistency import (
    ConsistencyConfig,
    PosedFeatures,
    score_consistency,
)
from gsn.geometry.cameras import Cameras
from gsn.geometry.rays import pixel_grid, pixel_rays

HEIGHT, WIDTH, STRIDE = 24, 32, 2
H, W = 12, 16  # of the grid
WALL = 4.0  # a wall across the view, facing the cameras
STEP = 0.5  # to the side: 16 * 0.5 / 4 = 2 pixels, one place of the grid
ALL = 10_000


def config(max_points=ALL, depth_tolerance=0.01, pck_tolerance=0.01):
    return ConsistencyConfig(
        max_points=max_points, depth_tolerance=depth_tolerance, pck_tolerance=pck_tolerance
    )


def camera_at(x=0.0, turn=0.0):
    """A camera beside the origin, turned about its own vertical axis; numbers exact in binary."""
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(turn)
    pose[0, 2], pose[2, 0] = math.sin(turn), -math.sin(turn)
    pose[0, 3] = x
    intrinsics = torch.tensor([[16.0, 0, 16], [0, 16, 12], [0, 0, 1]])
    return Cameras(intrinsics[None], pose[None], HEIGHT, WIDTH)


def surface_of(camera, normal=(0.0, 0.0, 1.0), distance=WALL):
    """Depth of a plane, normal · x = distance, and its points, (h, w) and (h, w, 3)."""
    rays = pixel_rays(camera, pixel_grid(HEIGHT, WIDTH, STRIDE))
    normal = torch.tensor(normal)
    depth = (distance - rays.origins @ normal) / (rays.directions @ normal)
    return depth.reshape(H, W), rays.points(depth[:, None]).reshape(H, W, 3)


def paint(points):
    """A feature that no two points of the wall share."""
    angles = points[..., :2] / 2
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def view_at(x=0.0, turn=0.0, normal=(0.0, 0.0, 1.0)):
    camera = camera_at(x, turn)
    depth, points = surface_of(camera, normal)
    return PosedFeatures(paint(points), depth, camera, STRIDE)


def changed(view, feature=None, depth=None):
    return PosedFeatures(
        view.feature if feature is None else feature,
        view.depth if depth is None else depth,
        view.camera,
        view.stride,
    )


def test_features_painted_on_a_wall_are_consistent_without_fault():
    got = score_consistency(view_at(), view_at(STEP), config())
    # The wall moves by one place to the left: the first column leaves the grid.
    expected = {"consistency_cosine": 1, "consistency_pck": 1, "consistency_points": 15 / 16}
    assert got == pytest.approx(expected, abs=1e-6)


def test_a_view_is_consistent_with_itself():
    got = score_consistency(view_at(), view_at(), config())
    assert list(got.values()) == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)


def test_length_does_not_count():
    first, second = view_at(), view_at(STEP)
    scale = torch.rand(2, H, W, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    got = score_consistency(
        changed(first, first.feature * scale[0]),
        changed(second, second.feature * scale[1]),
        config(),
    )
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-6)
    assert got["consistency_pck"] == 1.0


def test_half_precision_features_are_taken():
    first, second = view_at(), view_at(STEP)
    got = score_consistency(
        changed(first, first.feature.half()), changed(second, second.feature.half()), config()
    )
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-3)


def test_a_slanted_wall_hides_nothing_of_itself_from_a_turned_camera():
    normal = (0.6, 0.0, 0.8)
    first, second = view_at(normal=normal), view_at(0.7, 0.2, normal)
    got = score_consistency(first, second, config(depth_tolerance=1e-5))
    _, points = surface_of(first.camera, normal)
    pose, n_seen = second.camera.cam_to_world[0].double(), 0
    for point in points.reshape(-1, 3).double():
        x, y, z = pose[:3, :3].T @ (point - pose[:3, 3])
        column, row = (16 * x / z + 16 - 0.5) / STRIDE, (16 * y / z + 12 - 0.5) / STRIDE
        n_seen += bool(0 <= column <= W - 1 and 0 <= row <= H - 1 and z > 0)
    assert 0.3 < n_seen / (H * W) < 0.95
    assert got["consistency_points"] == n_seen / (H * W)
    assert got["consistency_cosine"] > 0.999


def test_points_behind_an_occluder_are_left_out():
    first, second = view_at(), view_at(STEP)
    depth, feature = second.depth.clone(), second.feature.clone()
    depth[2:5, 3:7] = WALL / 2
    feature[2:5, 3:7] = -feature[2:5, 3:7]
    got = score_consistency(first, changed(second, feature, depth), config())
    # 12 rows of 15 columns are in view; 3 rows of 4 of them are covered.
    assert got["consistency_points"] == (12 * 15 - 3 * 4) / (12 * 16)
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-6)
    assert got["consistency_pck"] == 1.0


def test_points_in_front_of_what_the_second_view_shows_are_left_out_too():
    second = view_at(STEP)
    far = changed(second, depth=second.depth * 1.02)
    assert score_consistency(view_at(), far, config(depth_tolerance=0.01)) == {
        "consistency_points": 0.0
    }
    got = score_consistency(view_at(), far, config(depth_tolerance=0.03))
    assert got["consistency_points"] == 15 / 16


def test_points_without_a_usable_depth_are_left_out():
    first, second = view_at(), view_at(STEP)
    for k, bad in enumerate([0.0, -WALL, math.inf, math.nan]):
        first.depth[k, 5] = bad
        first.feature[k, 5] = -1.0
    got = score_consistency(first, second, config())
    assert got["consistency_points"] == (12 * 15 - 4) / (12 * 16)
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("bad", [0.0, -WALL, math.inf, math.nan])
def test_points_where_the_second_view_has_no_usable_depth_are_left_out(bad):
    first, second = view_at(), view_at(STEP)
    second.depth[6, 7] = bad
    second.feature[6, 7] = -1.0
    got = score_consistency(first, second, config())
    # The point itself, and of its 8 neighbours those that rounding interpolates with it.
    assert 12 * 15 - 9 <= got["consistency_points"] * 12 * 16 <= 12 * 15 - 1
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-6)


def test_a_camera_that_looks_away_sees_no_point():
    for depth in (WALL, -WALL):  # the second is that of the wall behind it
        second = changed(view_at(turn=math.pi), depth=torch.full((H, W), depth))
        assert score_consistency(view_at(), second, config()) == {"consistency_points": 0.0}


def test_a_depth_behind_the_first_camera_is_no_point_even_where_the_second_one_looks():
    first, second = view_at(), view_at(turn=math.pi)
    behind = changed(first, depth=-first.depth)
    got = score_consistency(behind, changed(second, depth=first.depth), config())
    assert got == {"consistency_points": 0.0}


def test_constant_features_have_a_cosine_of_1_and_matches_at_chance():
    first, second = view_at(), view_at(STEP)
    same = torch.ones(H, W, 5)
    got = score_consistency(changed(first, same), changed(second, same), config(pck_tolerance=0.2))
    places = [(r, c) for r in range(H) for c in range(W)]
    radius = 0.2 * 16
    chances = [
        sum(math.dist((r, c - 1), place) <= radius for place in places) / (H * W)
        for r, c in places
        if c > 0
    ]
    assert got["consistency_cosine"] == pytest.approx(1.0)
    assert got["consistency_pck"] == pytest.approx(sum(chances) / len(chances))
    assert 0.05 < got["consistency_pck"] < 0.2


def test_matches_count_up_to_the_tolerance():
    first, second = view_at(), view_at(STEP)
    # Features displaced by 3 places: the match of each point that still has one is 3 off.
    off = second.feature.roll(3, dims=1)
    off[:, :3] = -1.0
    near, far = (
        score_consistency(first, changed(second, off), config(pck_tolerance=t))["consistency_pck"]
        for t in (3.1 / 16, 2.9 / 16)
    )
    # The points' places are columns 0 to 14. What belongs to 13 and 14 was pushed out of the
    # picture; their best match is what stands in its last column, 2 and 1 away.
    assert far == pytest.approx(2 / 15)
    assert near == 1.0


@pytest.mark.parametrize("chunk", [1, 5 * H * W, 2**22])
def test_random_features_match_a_loop_over_points(monkeypatch, chunk):
    monkeypatch.setattr(consistency, "CHUNK_COSINES", chunk)
    draw = torch.Generator().manual_seed(3)
    move = 0.8  # 3.2 pixels, 1.6 places: features are interpolated
    maps = torch.randn(2, H, W, 3, generator=draw)
    first, second = changed(view_at(), maps[0]), changed(view_at(move), maps[1])
    got = score_consistency(first, second, config(pck_tolerance=0.25))
    unit = torch.nn.functional.normalize(maps.double(), dim=-1)
    cosines, n_right, places = [], 0, [(r, c) for r in range(H) for c in range(W)]
    for r, c in places:
        there = c - 1.6
        if there < 0:
            continue
        left = math.floor(there)
        mixed = unit[1, r, left] * (left + 1 - there) + unit[1, r, left + 1] * (there - left)
        cosines.append(float(unit[0, r, c] @ mixed / mixed.norm()))
        best = max(places, key=lambda place: float(unit[0, r, c] @ unit[1, *place]))
        n_right += math.dist(best, (r, there)) <= 0.25 * 16
    assert got["consistency_cosine"] == pytest.approx(sum(cosines) / len(cosines), abs=1e-5)
    assert got["consistency_pck"] == pytest.approx(n_right / len(cosines))
    assert got["consistency_points"] == len(cosines) / (H * W)


@pytest.mark.parametrize("limit", [1, 2, 7, 50, 191, 192, ALL])
def test_points_are_spread_evenly_and_never_more_than_asked_for(limit):
    places = consistency._spread_places(H, W, limit).tolist()
    assert 1 <= len(places) <= limit
    assert len({tuple(place) for place in places}) == len(places)
    assert all(0 <= column < W and 0 <= row < H for column, row in places)
    for axis, side in ((0, W), (1, H)):
        taken = sorted({place[axis] for place in places})
        # As much room before the first as after the last, and steps that leave no larger gap.
        steps = {b - a for a, b in pairwise(taken)}
        assert abs(taken[0] - (side - 1 - taken[-1])) <= 1
        assert len(steps) <= 1
        if limit >= H * W:
            assert taken == list(range(side))


def test_a_subset_of_the_points_gives_the_score_of_those_points():
    # 50 points: every second place, rows 0, 2, .. 10 (6 of them), columns 0, 2, .. 14 (8).
    first, second = view_at(), view_at(STEP)
    first.feature[1::2] = first.feature[:, 1::2] = -1.0
    got = score_consistency(first, second, config(max_points=50))
    assert got["consistency_cosine"] == pytest.approx(1.0, abs=1e-6)
    assert got["consistency_points"] == 7 / 8


def test_maps_that_do_not_fit_their_camera_are_refused():
    camera = camera_at()
    with pytest.raises(ValueError, match=r"feature: expected shape \(12 16 C\), got \(16, 12, 4\)"):
        PosedFeatures(torch.zeros(W, H, 4), torch.zeros(H, W), camera, STRIDE)
    with pytest.raises(ValueError, match=r"depth: expected shape \(12 16\), got \(24, 32\)"):
        PosedFeatures(torch.zeros(H, W, 4), torch.zeros(HEIGHT, WIDTH), camera, STRIDE)
    with pytest.raises(ValueError, match="stride: expected at least 1"):
        PosedFeatures(torch.zeros(H, W, 4), torch.zeros(H, W), camera, 0)
    two = Cameras(camera.intrinsics.repeat(2, 1, 1), camera.cam_to_world.repeat(2, 1, 1), 24, 32)
    with pytest.raises(ValueError, match=r"intrinsics: expected shape \(1 3 3\)"):
        PosedFeatures(torch.zeros(H, W, 4), torch.zeros(H, W), two, STRIDE)


def test_maps_of_different_teachers_are_refused():
    first, second = view_at(), view_at(STEP)
    with pytest.raises(ValueError, match=r"second: expected shape \(_ _ 4\)"):
        score_consistency(first, changed(second, torch.zeros(H, W, 3)), config())


@pytest.mark.parametrize(
    "change", [{"max_points": 0}, {"depth_tolerance": 1.0}, {"pck_tolerance": 0.0}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        config(**change)
