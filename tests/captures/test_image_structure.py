"""Hostile image files: refused by their headers, or read as documented, at once."""

import io
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gsn.captures import image_structure
from gsn.captures.capture import CaptureError
from gsn.captures.decode import decode_rgb, decode_stored
from gsn.captures.image_structure import MEGAPIXELS_VARIABLE, bytes_to_decode

HERE = Path("photo")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
PNG_START = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=2, height=2, more=b"", bits=8, kind=2, lines=None, behind=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    data = zlib.compress(lines if lines is not None else bytes([0, *range(6), 0, *range(6, 12)]))
    return PNG_START + header + more + chunk(b"IDAT", data) + behind + chunk(b"IEND", b"")


def encoded(suffix, pixels, *flags):
    return cv2.imencode(suffix, pixels, flags)[1].tobytes()


def with_frame_size(jpeg, width, height):
    """Write another size into the frame header of a JPEG."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def pillow_bytes(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


SIX = [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            png(100_000, 100_000),
            "promises 100000×100000 pixels, more than 200 megapixels .a larger",
        ),
        (png(2**31 - 1, 2**31 - 1), "promises 2147483647×2147483647 pixels"),
        (png(20_000, 10_001), "promises 20000×10001 pixels"),
        (png(0, 5), "promises 0×5 pixels"),
        (with_frame_size(encoded(".jpg", NOISE), 65535, 65535), "promises 65535×65535 pixels"),
        (with_frame_size(encoded(".jpg", NOISE), 30, 0), "promises 30×0 pixels"),
        (PNG_START + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "does not begin with a header"),
        (PNG_START + chunk(b"IHDR", b"\0" * 12) + chunk(b"IEND", b""), "does not begin with a hea"),
        (png(more=chunk(b"CgBI", b"\0" * 4)), "chunk b'CgBI' is of no known kind"),
        (png(lines=b"\0abc"), "cannot be decoded"),
        (png(kind=3, lines=b"\0\0\0\0\0\0"), "cannot be decoded"),
        (png(bits=3), "cannot be decoded"),
        (b"", "the file is empty"),
        (b"\xff\xd8\xff", "the JPEG file is damaged"),
        (b"\xff\xd8\xff\xd9", "cannot be decoded"),
        (b"GIF89a" + b"\0" * 50, "neither JPEG nor PNG"),
    ],
)
def test_a_file_that_no_camera_writes_is_refused(data, message):
    with pytest.raises(CaptureError, match=f"^photo: .*{message}") as caught:
        decode_rgb(HERE, data)
    assert "\n" not in str(caught.value)


def test_the_limit_of_pixels_is_set_in_the_environment(monkeypatch):
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "0.0006")
    assert decode_rgb(HERE, encoded(".png", NOISE)).shape == NOISE.shape  # 600 pixels
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "0.000599")
    for suffix in (".png", ".jpg"):
        with pytest.raises(CaptureError, match=r"30×20 pixels, more than 0\.000599 megapixels"):
            decode_rgb(HERE, encoded(suffix, NOISE))


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan", ""])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{MEGAPIXELS_VARIABLE}='{text}': expected a positive"):
        decode_rgb(HERE, png())


ZEROS = zlib.compress(b"\0" * 7_900_000, 9)  # below the size at which libpng gives up


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"zTXt", b"x\0\0" + ZEROS) * 300,
        chunk(b"iTXt", b"x\0\1\0\0\0" + ZEROS) * 300,
        chunk(b"iCCP", b"x\0\0" + ZEROS),
        chunk(b"teXt", b"") * 50_000,
        chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        chunk(b"eXIf", b"MM\0*" + b"\xff" * 40),
    ],
    ids=["zTXt", "iTXt", "iCCP", "many", "animation", "exif"],
)
def test_what_holds_no_pixels_is_not_unpacked(more):
    started = time.monotonic()
    np.testing.assert_array_equal(decode_rgb(HERE, png(more=more)), SIX)
    assert time.monotonic() - started < 2  # libpng takes ten seconds for the first


def test_of_an_animation_the_picture_that_every_viewer_shows_is_read():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    data = pillow_bytes(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert b"fdAT" in data
    np.testing.assert_array_equal(decode_rgb(HERE, data), np.full((3, 4, 3), [255, 0, 0]))


def test_a_jpeg_of_fill_bytes_is_walked_in_linear_time():
    started = time.monotonic()
    with pytest.raises(CaptureError, match="cut off"):
        decode_rgb(HERE, b"\xff\xd8\xff\xda\0\2" + b"\xff" * 10_000_000 + b"\0")
    assert time.monotonic() - started < 5


def test_fill_bytes_before_markers_are_allowed():
    jpeg = encoded(".jpg", NOISE)
    filled = jpeg[:2] + b"\xff\xff\xff" + jpeg[2:-2] + b"\xff\xff" + jpeg[-2:]
    np.testing.assert_array_equal(decode_rgb(HERE, filled), decode_rgb(HERE, jpeg))


def test_a_progressive_jpeg_of_ever_more_scans_is_refused():
    jpeg = encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert bytes_to_decode(jpeg + last) == jpeg + last
    with pytest.raises(CaptureError, match="more than 64 scans"):
        decode_rgb(HERE, jpeg[:-2] + last * 64 + b"\xff\xd9")


@pytest.mark.parametrize("part", [b"\xff\xe1\0\2", b"\xff\x01"])
def test_a_jpeg_of_ever_more_segments_is_refused(monkeypatch, part):
    monkeypatch.setattr(image_structure, "MOST_PARTS", 1000)
    with pytest.raises(CaptureError, match="more than 1000 segments"):
        decode_rgb(HERE, b"\xff\xd8" + part * 1001 + b"\xff\xd9")


def test_a_png_of_ever_more_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(image_structure, "MOST_PARTS", 1000)
    with pytest.raises(CaptureError, match="more than 1000 PNG chunks"):
        decode_rgb(HERE, png(more=chunk(b"teXt", b"") * 1000))


@pytest.mark.parametrize("quality", [90, 100])
def test_the_inks_of_a_cmyk_jpeg_become_the_colours_that_they_print(quality):
    inks = np.full((16, 16, 4), [20, 120, 200, 77], dtype=np.uint8)  # C M Y K, 255 is full
    data = pillow_bytes(Image.fromarray(inks, "CMYK"), "JPEG", quality=quality)
    # The multiplicative mixture: (1 - C)(1 - K) and so on.
    expected = [(255 - ink) * (255 - 77) / 255 for ink in (20, 120, 200)]
    assert np.abs(decode_rgb(HERE, data).astype(float) - expected).max() <= 5


def test_a_ycck_jpeg_is_cmyk_in_disguise():
    inks = np.full((16, 16, 4), [55, 127, 127, 77], dtype=np.uint8)
    data = pillow_bytes(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    at = data.index(b"Adobe") + 11  # which colours the four components are
    ycck = data[:at] + b"\2" + data[at + 1 :]
    # Stored as 255 - ink: Y 200, Cb and Cr 128 (no colour), K 178; so the inks C M Y are Y inverted
    # by JPEG, and once more by Adobe.
    expected = (255 - 200) * 178 / 255
    assert np.abs(decode_rgb(HERE, ycck).astype(float) - expected).max() <= 5


def test_a_transparent_palette_keeps_its_colours():
    more = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50])) + chunk(b"tRNS", b"\0\x80")
    data = png(more=more, kind=3, lines=bytes([0, 0, 1, 0, 1, 0]))
    dark, light = [10, 20, 30], [200, 100, 50]
    np.testing.assert_array_equal(decode_rgb(HERE, data), [[dark, light], [light, dark]])
    np.testing.assert_array_equal(decode_stored(HERE, data)[..., 3], [[0, 128], [128, 0]])


def test_grey_with_alpha_and_fewer_bits_become_grey():
    data = pillow_bytes(Image.fromarray(np.array([[[9, 0], [200, 255]]], np.uint8), "LA"), "PNG")
    np.testing.assert_array_equal(decode_rgb(HERE, data), [[[9] * 3, [200] * 3]])
    data = png(width=4, height=1, bits=2, kind=0, lines=b"\0\x1b")  # 0, 1, 2, 3 of 3
    np.testing.assert_array_equal(decode_rgb(HERE, data)[0, :, 0], [0, 85, 170, 255])


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_of_one_pixel_is_read(suffix):
    data = encoded(suffix, np.full((1, 1, 3), 77, np.uint8))
    assert np.abs(decode_rgb(HERE, data).astype(int) - 77).max() <= 2


def test_content_counts_and_not_the_name():
    np.testing.assert_array_equal(decode_rgb(Path("x.jpg"), png()), SIX)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_pixels_come_back_from_a_png(data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pixels = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    stored = decode_stored(HERE, encoded(".png", pixels))
    np.testing.assert_array_equal(stored.reshape(shape), pixels)
    rgb = decode_rgb(HERE, encoded(".png", pixels))
    eight = pixels if dtype == np.uint8 else np.rint(pixels / 257)
    expected = eight[..., [2, 1, 0]] if shape[2] > 1 else np.repeat(eight, 3, axis=2)
    np.testing.assert_array_equal(rgb, expected)


@settings(deadline=None, max_examples=150)
@given(
    start=st.sampled_from(
        [b"", PNG_START, b"\xff\xd8\xff", b"\xff\xd8\xff\xda", png(), png()[:40]]
    ),
    rest=st.binary(max_size=300),
)
def test_random_bytes_are_a_picture_or_a_fault(start, rest):
    try:
        assert decode_rgb(HERE, start + rest).dtype == np.uint8
    except CaptureError as error:
        assert str(error).startswith("photo: ")
