import numpy as np
import pytest
from solved_scene import bend, photograph_of_sky

from gsn.captures.capture import CaptureError
from gsn.captures.readers.undistort import Lens, common_size, pinhole_of, rectify

H, W = 90, 120
LENSES = {
    "barrel": Lens((H, W), (130.0, 130.0), (60.0, 45.0), (-0.2, 0.05, 0.0, 0.0, 0.0)),
    "pincushion": Lens((H, W), (130.0, 130.0), (60.0, 45.0), (0.15, 0.0, 0.0, 0.0, 0.0)),
    "tangential": Lens((H, W), (120.0, 140.0), (55.0, 49.0), (-0.1, 0.02, 0.004, -0.003, 0.01)),
}


def photograph(lens, size=None):
    rows, columns = size or lens.size
    ratio = columns / lens.size[1], rows / lens.size[0]
    focal, centre = ([a * b for a, b in zip(values, ratio, strict=True)] for values in
                     (lens.focal, lens.centre))  # fmt: skip
    return photograph_of_sky(rows, columns, focal, centre, lens.distortion)


def sampled_at(lens, pinhole):
    """Where each pixel centre of the pinhole lies in the photograph, on its image plane."""
    v, u = np.mgrid[0 : pinhole.size[0], 0 : pinhole.size[1]] + 0.5
    x = (u - pinhole.centre[0]) / pinhole.focal[0]
    y = (v - pinhole.centre[1]) / pinhole.focal[1]
    k1, k2, p1, p2, k3 = lens.distortion
    x, y = bend(x, y, k1, k2, p1, p2, k3)
    return x * lens.focal[0] + lens.centre[0], y * lens.focal[1] + lens.centre[1]


@pytest.mark.parametrize("kind", LENSES)
def test_an_undistorted_photograph_is_what_the_pinhole_would_have_taken(kind):
    lens = LENSES[kind]
    pinhole = pinhole_of(lens, lens.size)
    assert pinhole.centre == lens.centre and not any(pinhole.distortion)
    expected = photograph(pinhole).astype(float)
    got = rectify(photograph(lens), lens, pinhole, lens.size, mix=True).astype(float)
    error = np.abs(got - expected)
    assert error.max() <= 2 and error.mean() < 0.35  # both rounded, bicubic between
    # The check has teeth: half a pixel aside, as with the corner taken for a pixel's centre.
    aside = Lens(lens.size, pinhole.focal, (pinhole.centre[0] + 0.5, pinhole.centre[1] + 0.5))
    assert np.abs(photograph(aside) - expected).mean() > 0.7


@pytest.mark.parametrize("kind", LENSES)
def test_the_photograph_fills_the_pinhole_and_no_wider_pinhole(kind):
    lens = LENSES[kind]
    pinhole = pinhole_of(lens, lens.size)
    u, v = sampled_at(lens, pinhole)
    assert 0.5 - 1e-6 <= u.min() and u.max() <= W - 0.5 + 1e-6
    assert 0.5 - 1e-6 <= v.min() and v.max() <= H - 0.5 + 1e-6
    wider = Lens(lens.size, tuple(0.995 * f for f in pinhole.focal), pinhole.centre)
    u, v = sampled_at(lens, wider)
    assert min(u.min() - 0.5, W - 0.5 - u.max(), v.min() - 0.5, H - 0.5 - v.max()) < 0


@pytest.mark.parametrize("mix", [True, False])
def test_no_border_comes_into_the_picture(mix):
    for lens in LENSES.values():
        white = np.full((H, W, 3), 255, np.uint8)
        pinhole = pinhole_of(lens, lens.size)
        assert (rectify(white, lens, pinhole, lens.size, mix) == 255).all()


def test_a_photograph_stored_smaller_is_undistorted_by_the_ratio_of_each_axis():
    lens, size = LENSES["tangential"], (60, 78)
    pinhole = pinhole_of(lens, lens.size)
    got = rectify(photograph(lens, size), lens, pinhole, size, mix=True).astype(float)
    assert np.abs(got - photograph(pinhole, size)).max() <= 4
    expected = [[pinhole.focal[0] * 78 / 120, 0, 55 * 78 / 120], [0, pinhole.focal[1] * 60 / 90,
                49 * 60 / 90], [0, 0, 1]]  # fmt: skip
    np.testing.assert_allclose(pinhole.matrix(size), expected)


def test_a_crop_alone_copies_pixels():
    image = np.random.default_rng(0).integers(0, 256, (33, 45, 3), np.uint8)
    lens = Lens((33, 45), (50.0, 51.0), (22.0, 16.0))
    pinhole = pinhole_of(lens, (31, 44))
    assert pinhole == Lens((31, 44), (50.0, 51.0), (22.0, 15.0))
    np.testing.assert_array_equal(
        rectify(image, lens, pinhole, (31, 44), mix=True), image[1:32, :44]
    )


def test_without_distortion_nothing_is_resampled():
    image = np.zeros((33, 45, 3), np.uint8)
    lens = Lens((33, 45), (50.0, 51.0), (22.0, 16.0))
    assert rectify(image, lens, pinhole_of(lens, lens.size), lens.size, mix=True) is image


def test_object_numbers_and_depths_are_taken_and_never_mixed():
    lens = LENSES["barrel"]
    pinhole = pinhole_of(lens, lens.size)
    for dtype in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        stored = np.random.default_rng(0).choice([0, 3, 7], (H, W)).astype(dtype)
        got = rectify(stored, lens, pinhole, lens.size, mix=False)
        assert set(np.unique(got)) == {0, 3, 7}
        u, v = (np.clip(np.floor(a), 0, None).astype(int) for a in sampled_at(lens, pinhole))
        # All but pixels that fall between two: OpenCV places positions on a grid of 1/32 pixel.
        assert (got == stored[np.minimum(v, H - 1), np.minimum(u, W - 1)]).mean() > 0.9


def test_the_common_size_is_what_all_have():
    lenses = [
        Lens((100, 200), (99.0, 99.0), (90.0, 50.0)),
        Lens((98, 203), (99.0, 99.0), (9.0, 9.0)),
    ]
    assert common_size(lenses) == (98, 200)
    with pytest.raises(CaptureError, match=r"cameras of 200×100 pixels beside others of 100 col"):
        common_size([lenses[0], Lens((200, 100), (99.0, 99.0), (9.0, 9.0))])


@pytest.mark.parametrize(
    "distortion", [(-1.5, 0, 0, 0, 0), (1e30, 0, 0, 0, 0), (-0.5, 0, 0, 0, -3.0), (0, 0, 5.0, 0, 0)]
)
def test_a_distortion_that_folds_the_picture_is_refused(distortion):
    lens = Lens((H, W), (90.0, 90.0), (60.0, 45.0), tuple(map(float, distortion)))
    with pytest.raises(ValueError, match=r"lens distortion k1 .* cannot be undone"):
        pinhole_of(lens, lens.size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 4), (9.0, 9.0), (1.0, 1.0)), "4×0 pixels, expected 1 to 32766"),
        (((4, 2**64), (9.0, 9.0), (1.0, 1.0)), "pixels, expected 1 to 32766"),
        (((4, 4), (9.0, -9.0), (1.0, 1.0)), "expected more than 0"),
        (((4, 4), (9.0, float("nan")), (1.0, 1.0)), "expected finite numbers"),
        (((4, 4), (9.0, 9.0), (1.0, 5.0)), "expected it inside of 4×4 pixels"),
    ],
)
def test_lenses_that_no_camera_has_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lens(*arguments)
