import math

import numpy as np
import pytest

from gsn.captures.capture import Capture
from gsn.captures.check import epipolar
from gsn.captures.check.epipolar import (
    MatchedPair,
    compare_with_matches,
    crossing_depths,
    epipolar_distances,
    neighbouring_pairs,
)

K = np.array([[300.0, 0, 160], [0, 310.0, 120], [0, 0, 1]])


def camera(x, y, z, turn=0.0):
    """Camera that looks along z, turned about its vertical axis."""
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(turn)
    pose[0, 2], pose[2, 0] = math.sin(turn), -math.sin(turn)
    pose[:3, 3] = x, y, z
    return pose


def project(point, pose):
    seen = np.linalg.inv(pose) @ [*point, 1.0]
    plane = K @ seen[:3]
    return plane[:2] / plane[2], seen[2]


@pytest.fixture
def seen():
    """Three cameras, 20 points, and where the first two cameras see them."""
    rng = np.random.default_rng(0)
    poses = np.stack([camera(0, 0, 0), camera(0.8, 0.1, 0.2, -0.15), camera(-0.7, 0, 0.1, 0.2)])
    points = np.stack([rng.uniform(-1, 1, 20), rng.uniform(-1, 1, 20), rng.uniform(3, 6, 20)], 1)
    positions = np.array([[project(point, pose)[0] for point in points] for pose in poses])
    depths = np.array([[project(point, pose)[1] for point in points] for pose in poses])
    return poses, positions, depths


def many(matrix):
    return np.tile(matrix, (3, 1, 1))


def distance_by_drawing(at, pose, other_at, other_pose):
    """Reference: draw the ray through `other_at` into the view, measure from `at` to that line."""
    ray = other_pose[:3, :3] @ np.linalg.inv(K) @ [*other_at, 1.0]
    one, two = (project(other_pose[:3, 3] + depth * ray, pose)[0] for depth in (3.0, 9.0))
    along, out = two - one, at - one
    return abs(along[0] * out[1] - along[1] * out[0]) / math.hypot(*along)


def test_the_distance_is_that_from_the_drawn_ray(seen):
    poses, positions, _ = seen
    rng = np.random.default_rng(1)
    in_a, in_b = positions[0], positions[1] + rng.normal(scale=4, size=positions[1].shape)
    expected = [
        0.5 * distance_by_drawing(a, poses[0], b, poses[1])
        + 0.5 * distance_by_drawing(b, poses[1], a, poses[0])
        for a, b in zip(in_a, in_b, strict=True)
    ]
    got = epipolar_distances(MatchedPair(0, 1, in_a, in_b), many(K), poses)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_between_cameras_side_by_side_it_is_the_difference_of_rows():
    poses = np.stack([camera(0, 0, 0), camera(1, 0, 0), camera(2, 0, 0)])
    pair = MatchedPair(0, 2, np.array([[10.0, 20], [90, 70]]), np.array([[3.0, 22.5], [50, 70]]))
    np.testing.assert_allclose(epipolar_distances(pair, many(K), poses), [2.5, 0], atol=1e-9)


def test_rays_cross_at_the_depth_of_the_point(seen):
    poses, positions, depths = seen
    got = crossing_depths(MatchedPair(1, 2, positions[1], positions[2]), many(K), poses)
    np.testing.assert_allclose(got, depths[1:].T, rtol=1e-9)


def test_rays_of_cameras_that_look_backwards_cross_behind_them(seen):
    poses, positions, _ = seen
    moved = poses.copy()
    moved[:, :3, 3] *= -1
    assert (crossing_depths(MatchedPair(0, 1, *positions[:2]), many(K), moved) < 0).all()


def test_almost_parallel_rays_tell_no_depth():
    poses = np.stack([camera(0, 0, 0), camera(0.1, 0, 0), camera(1, 0, 0)])
    at = [project((0, 0, depth), pose)[0] for depth in (5.0, 7.0) for pose in poses[:2]]
    pair = MatchedPair(0, 1, np.array(at[::2]), np.array(at[1::2]))
    # 0.1 seen from 5 is 1.15°, from 7 0.82°.
    np.testing.assert_allclose(crossing_depths(pair, many(K), poses), [[5.0, 5.0]])


def test_each_view_is_paired_with_the_next_and_with_those_that_moved_and_turned_least():
    rng = np.random.default_rng(2)
    row = [camera(*rng.uniform(-2, 2, 3), rng.uniform(-2, 2)) for _ in range(12)]
    row[7] = row[3] @ camera(0, 0, 0, 0.1)  # in one place: they share no epipolar line
    expected = set()
    for a in range(12):
        others = []
        for b in range(12):
            moved = math.dist(row[a][:3, 3], row[b][:3, 3]) / 1.5
            turned = math.acos(min(1.0, float(row[a][:3, 2] @ row[b][:3, 2])))
            if moved > 0:
                others.append((moved + turned, b))
        chosen = [b for _, b in sorted(others)[:4]] + [a + 1] * (a < 11)
        expected |= {(min(a, b), max(a, b)) for b in chosen}
    assert (3, 7) not in expected
    assert neighbouring_pairs(np.stack(row), near=1.5) == sorted(expected)


def capture_of(poses):
    return Capture(
        name="s",
        view_names=("a", "b", "c"),
        image_sha256=("",) * 3,
        images=np.zeros((3, 240, 320, 3), np.uint8),
        intrinsics=many(K),
        cam_to_world=poses,
        near=2.0,
        far=7.0,
    )


@pytest.fixture
def matches(seen, monkeypatch):
    """Matches in place of those of photographs: what the cameras of `seen` see, or a part of it."""
    _, positions, _ = seen
    shown = {(0, 1): 20, (0, 2): 20, (1, 2): 20}

    def match(capture, n_threads):
        return [
            MatchedPair(a, b, positions[a][:n], positions[b][:n]) for (a, b), n in shown.items()
        ]

    monkeypatch.setattr(epipolar, "match_neighbours", match)
    return shown


def test_true_cameras_agree_with_all_that_is_seen(seen, matches):
    found = compare_with_matches(capture_of(seen[0]), 1)
    assert found.error_px < 1e-9
    assert found.judged.all()
    assert (found.in_front, found.in_range, found.focal_scale) == (1.0, 1.0, 1.0)


def test_a_view_is_judged_by_its_best_pair(seen, matches):
    poses = seen[0].copy()
    poses[2, 1, 3] += 0.5
    matches[0, 2] = 18
    error = compare_with_matches(capture_of(poses), 1).view_error_px
    assert error[:2].max() < 1e-9
    assert error[2] > 5


def test_a_view_without_matches_is_not_judged(seen, matches):
    del matches[0, 2], matches[1, 2]
    found = compare_with_matches(capture_of(seen[0]), 1)
    assert found.judged.tolist() == [True, True, False]
    assert found.view_matches.tolist() == [20, 20, 0]


def test_without_any_match_nothing_is_said(seen, matches):
    matches.clear()
    found = compare_with_matches(capture_of(seen[0]), 1)
    assert not found.judged.any()
    assert np.isnan([found.error_px, found.in_front, found.in_range]).all()


def test_the_focal_length_that_fits_better_is_found(seen, matches):
    capture = capture_of(seen[0])
    capture.intrinsics[:, [0, 1], [0, 1]] /= 1.25
    found = compare_with_matches(capture, 1)
    assert found.focal_scale == 1.25
    assert found.focal_error_px < 1e-9 < 0.1 < found.error_px


def test_points_outside_of_the_depth_range_are_counted(seen, matches):
    poses, _, depths = seen
    capture = capture_of(poses)
    object.__setattr__(capture, "far", 4.0)  # 10 % more counts as inside
    inside = [
        float(depth <= 4.4) for a, b in ((0, 1), (0, 2), (1, 2)) for depth in depths[[a, b]].ravel()
    ]
    assert compare_with_matches(capture, 1).in_range == pytest.approx(np.mean(inside))
