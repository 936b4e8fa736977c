from base64 import b64decode

import cv2
import numpy as np
import pytest

from gsn.evaluation.report.embed import film_uri, picture_uri


def decode(uri):
    head, data = uri.split(",")
    picture = cv2.imdecode(np.frombuffer(b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return head, picture[..., ::-1]


def smooth_photo(height, width):
    draw = np.random.default_rng(0).normal(size=(height, width, 3))
    blurred = cv2.GaussianBlur(draw, (0, 0), 9)
    return ((blurred - blurred.min()) / np.ptp(blurred) * 255).astype(np.uint8)


def test_photos_become_jpeg_in_nearly_the_same_colours():
    photo = smooth_photo(240, 320)
    head, back = decode(picture_uri(photo, lossless=False))
    assert head == "data:image/jpeg;base64"
    assert np.abs(back.astype(int) - photo).mean() < 1.5


def test_jpeg_keeps_a_thin_coloured_line():
    picture = np.full((240, 320, 3), 128, np.uint8)
    picture[:, 100] = (225, 50, 50)
    _, back = decode(picture_uri(picture, lossless=False))
    assert (np.abs(back[:, 100].astype(int) - (225, 50, 50)) < 25).all()


@pytest.mark.parametrize(("size", "lossless"), [((240, 320), True), ((72, 96), False)])
def test_masks_and_small_maps_are_kept_to_the_bit(size, lossless):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    head, back = decode(picture_uri(picture, lossless))
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(back, picture)


def test_a_film_is_embedded_as_it_is():
    head, data = film_uri(b"\x00\xfffilm").split(",")
    assert head == "data:video/mp4;base64" and b64decode(data) == b"\x00\xfffilm"


def test_a_grey_picture_is_refused():
    with pytest.raises(ValueError, match=r"picture: expected shape \(H W 3\)"):
        picture_uri(np.zeros((5, 6), np.uint8), lossless=True)
