import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from gsn.captures.capture import CaptureError
from gsn.captures.decode import decode_rgb, decode_stored

HERE = Path("photo")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)  # BGR, as OpenCV writes it


def encoded(suffix, pixels):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_exif_orientation(jpeg, orientation):
    """Insert an APP1 segment that says how to turn the picture."""
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_png_comes_back_as_rgb():
    np.testing.assert_array_equal(decode_rgb(HERE, encoded(".png", NOISE)), NOISE[..., ::-1])


def test_stored_pixels_are_kept_where_exif_says_turn():
    smooth = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[:, None], 30, axis=1)
    jpeg = with_exif_orientation(encoded(".jpg", smooth), 6)
    turned = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (30, 20, 3)  # what a reader gets that obeys the tag
    got = decode_rgb(HERE, jpeg)
    assert got.shape == (20, 30, 3)
    assert np.abs(got[..., 0].astype(int) - smooth).max() <= 3


def test_grey_becomes_three_equal_channels():
    got = decode_rgb(HERE, encoded(".png", NOISE[..., 0]))
    np.testing.assert_array_equal(got, np.stack([NOISE[..., 0]] * 3, axis=-1))


def test_alpha_is_dropped():
    alpha = RNG.integers(0, 256, (20, 30, 1), dtype=np.uint8)
    got = decode_rgb(HERE, encoded(".png", np.concatenate([NOISE, alpha], axis=-1)))
    np.testing.assert_array_equal(got, NOISE[..., ::-1])


def test_16_bits_keep_their_upper_range():
    values = np.array([[0, 128, 129, 257, 65535, 65535 - 129]], dtype=np.uint16)
    got = decode_rgb(HERE, encoded(".png", values))
    expected = [[round(int(value) * 255 / 65535) for value in values[0]]]
    np.testing.assert_array_equal(got[..., 0], expected)


def test_a_palette_is_resolved():
    palette = bytes([10, 20, 30, 200, 100, 50])  # two RGB colours
    lines = zlib.compress(bytes([0, 0, 1, 1, 0, 1, 0, 0]))  # two lines: filter, three indices
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", lines)
        + chunk(b"IEND", b"")
    )
    dark, light = [10, 20, 30], [200, 100, 50]
    np.testing.assert_array_equal(
        decode_rgb(HERE, png), [[dark, light, light], [light, dark, dark]]
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_file_cut_off_anywhere_is_refused(suffix):
    whole = encoded(suffix, NOISE)
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(CaptureError, match=r"photo: .*whole JPEG or PNG"):
            decode_stored(HERE, whole[:length])


def test_a_cut_off_progressive_jpeg_with_a_thumbnail_is_refused():
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    whole = cv2.imencode(".jpg", NOISE, flags)[1].tobytes()
    thumbnail = encoded(".jpg", NOISE[:4, :4])  # ends as a whole file ends
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    nested = whole[:2] + segment + whole[2:]
    assert decode_rgb(HERE, nested).shape == NOISE.shape
    with pytest.raises(CaptureError, match="cut off"):
        decode_rgb(HERE, nested[:-40])


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm():
    jpeg = encoded(".jpg", NOISE)
    np.testing.assert_array_equal(decode_rgb(HERE, jpeg + b"\0" * 99), decode_rgb(HERE, jpeg))


def test_a_flipped_bit_in_a_png_is_found():
    png = bytearray(encoded(".png", NOISE))
    png[len(png) // 2] ^= 1
    with pytest.raises(CaptureError, match="chunk b'IDAT' is damaged"):
        decode_rgb(HERE, bytes(png))


def test_a_text_file_is_refused():
    with pytest.raises(CaptureError, match=r"neither JPEG nor PNG \(it begins with b'<html>'\)"):
        decode_rgb(HERE, b"<html>")
