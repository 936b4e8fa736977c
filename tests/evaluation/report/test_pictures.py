import cv2
import numpy as np
import pytest
import torch

from gsn.evaluation.report.pictures import (
    FeatureColours,
    colour_depth,
    colour_scores,
    overlay_mask,
    to_picture,
    write_png,
)


def random_map(seed: int, height: int = 12, width: int = 15) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(height, width, 8, generator=draw) * torch.arange(1, 9)


def test_equal_features_get_equal_colours_in_all_maps():
    source, target = random_map(0), random_map(1)
    target[3, 4] = 5 * source[7, 2]  # length does not count
    colours = FeatureColours.fit([source, random_map(2)])
    np.testing.assert_array_equal(colours(target)[3, 4], colours(source)[7, 2])


def test_colour_components_span_the_main_directions_with_the_largest_entry_positive():
    source = random_map(0, 30, 40)
    colours = FeatureColours.fit([source])
    points = source.reshape(-1, 8).double().numpy()
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    for got, expected in zip(colours.components.T.numpy(), directions[:3], strict=True):
        expected = expected * np.sign(expected[np.argmax(np.abs(expected))])
        np.testing.assert_allclose(got, expected, atol=1e-8)


def test_all_but_2_percent_of_the_fitted_values_lie_within_the_stretch():
    source = random_map(0, 40, 50)
    picture = FeatureColours.fit([source])(source)
    assert picture.shape == (40, 50, 3) and picture.dtype == np.uint8
    for channel in picture.reshape(-1, 3).T:
        n_clipped = (channel == 0).sum() + (channel == 255).sum()
        assert 0.015 * 2000 < n_clipped < 0.03 * 2000


def test_the_order_of_maps_does_not_change_colours():
    maps = [random_map(0), random_map(1)]
    first, second = FeatureColours.fit(maps), FeatureColours.fit(maps[::-1])
    torch.testing.assert_close(first.components, second.components)
    difference = first(maps[0]).astype(int) - second(maps[0])
    assert abs(difference).max() <= 1


def test_a_map_of_one_feature_has_a_colour():
    flat = torch.ones(3, 4, 5)
    picture = FeatureColours.fit([flat])(flat)
    assert (picture == picture[0, 0]).all()


def test_no_maps_are_refused():
    with pytest.raises(ValueError, match="at least one feature map"):
        FeatureColours.fit([])


def test_two_channels_are_too_few_for_colours():
    with pytest.raises(ValueError, match="at least 3 channels, got 2"):
        FeatureColours.fit([torch.zeros(3, 4, 2)])


def test_a_map_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"maps\[1\]: expected shape \(h w 8\), got \(3, 4, 7\)"):
        FeatureColours.fit([random_map(0), torch.zeros(3, 4, 7)])


def test_colours_become_rounded_and_clipped_bytes():
    rgb = torch.tensor([[[0.0, 0.5, 1.0], [-0.2, 1.3, 0.1]]])
    np.testing.assert_array_equal(to_picture(rgb), [[[0, 128, 255], [0, 255, 26]]])


def test_depth_colours_are_even_in_inverse_depth():
    near, far = 2.0, 10.0
    halfway = 1 / ((1 / near + 1 / far) / 2)
    got = colour_depth(torch.tensor([[near, halfway, far]]), near, far)[0]
    table = cv2.applyColorMap(np.array([[255, 128, 0]], np.uint8), cv2.COLORMAP_TURBO)[0, :, ::-1]
    np.testing.assert_array_equal(got, table)
    assert got[0, 0] > got[0, 2]  # near is red
    assert got[2, 2] > got[2, 0]  # far is blue


def test_depth_beyond_the_bounds_is_clipped_and_no_depth_is_grey():
    got = colour_depth(torch.tensor([[1.0, 2.0, 99.0, 10.0, torch.nan, 0.0, torch.inf]]), 2.0, 10.0)
    np.testing.assert_array_equal(got[0, 0], got[0, 1])
    np.testing.assert_array_equal(got[0, 2], got[0, 3])
    np.testing.assert_array_equal(got[0, 4:], np.full((3, 3), 128))


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="expected 0 < near < far, got near 3"):
        colour_depth(torch.ones(2, 2), 3.0, 2.0)


def test_hits_are_green_false_alarms_red_misses_blue_and_the_rest_untouched():
    photo = np.full((9, 12, 3), 100, np.uint8)
    truth, predicted = np.zeros((2, 9, 12), bool)
    truth[1:8, 1:8] = True
    predicted[1:8, 4:11] = True
    got = overlay_mask(photo, predicted, truth).astype(int)
    hit, false_alarm, miss = got[4, 5], got[4, 9], got[4, 2]
    assert hit.argmax() == 1 and false_alarm.argmax() == 0 and miss.argmax() == 2
    np.testing.assert_array_equal(got[0, 0], [100] * 3)
    np.testing.assert_array_equal(got[4, 1], [255] * 3)  # the outline of the true mask
    np.testing.assert_array_equal(got[~truth & ~predicted], np.full((9 * 12 - 70, 3), 100))


def test_an_overlay_lets_the_photo_through():
    truth = np.zeros((9, 9), bool)
    truth[1:8, 1:8] = True
    dark, light = (
        overlay_mask(np.full((9, 9, 3), level, np.uint8), truth, truth)[4, 4] for level in (0, 255)
    )
    assert (light.astype(int) - dark > 40).all()


def test_a_written_picture_reads_back_in_the_same_colours(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / "images" / "view.png"
    write_png(path, picture)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], picture)
    assert [file.name for file in path.parent.iterdir()] == ["view.png"]


def test_score_colours_are_even_between_the_bounds_and_clipped_beyond():
    got = colour_scores(np.array([[-9.0, -0.5, 0.0, 0.5, 2.0, np.nan]]), -0.5, 0.5)[0]
    table = cv2.applyColorMap(np.array([[0, 0, 128, 255, 255]], np.uint8), cv2.COLORMAP_VIRIDIS)
    np.testing.assert_array_equal(got[:5], table[0, :, ::-1])
    np.testing.assert_array_equal(got[5], [128] * 3)


def test_scores_from_the_threshold_on_are_outlined_just_inside():
    scores = np.zeros((7, 8))
    scores[1:6, 2:7] = 0.5
    plain, outlined = (colour_scores(scores, 0, 1, threshold) for threshold in (None, 0.5))
    changed = (plain != outlined).any(axis=-1)
    expected = np.zeros((7, 8), bool)
    expected[1:6, 2:7] = True
    expected[2:5, 3:6] = False
    np.testing.assert_array_equal(changed, expected)
    assert (outlined[expected] == 255).all()


def test_no_score_reaches_no_threshold():
    scores = np.full((5, 5), np.nan)
    scores[2] = np.inf
    np.testing.assert_array_equal(colour_scores(scores, 0, 1, -9.0), np.full((5, 5, 3), 128))


def test_a_map_of_one_score_has_a_colour():
    np.testing.assert_array_equal(
        colour_scores(np.full((1, 2), 0.3), 0.3, 0.3), colour_scores(np.zeros((1, 2)), 0, 1)
    )


def test_score_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="expected low <= high, got low 2, high 1"):
        colour_scores(np.zeros((2, 2)), 2, 1)


def test_a_scale_makes_squares_of_pixels_and_keeps_outlines_thin():
    photo = np.random.default_rng(0).integers(0, 200, (6, 7, 3), np.uint8)
    truth = np.zeros((6, 7), bool)
    truth[2:4, 2:5] = True
    got = overlay_mask(photo, truth, truth, scale=4)
    assert got.shape == (24, 28, 3)
    white = (got == 255).all(axis=-1)
    assert white.sum() == 2 * (8 + 12) - 4  # one pixel wide around 8 x 12
    np.testing.assert_array_equal(got[:8], photo.repeat(4, axis=0).repeat(4, axis=1)[:8])
    scores = colour_scores(truth * 1.0, 0, 1, 0.5, scale=4)
    np.testing.assert_array_equal((scores == 255).all(axis=-1), white)
