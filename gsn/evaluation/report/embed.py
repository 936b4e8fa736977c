"""Pictures and films as data URIs: the page needs no other file."""

from base64 import b64encode

import cv2

from gsn.checks import check_shape
from gsn.evaluation.report.pictures import Picture

JPEG_QUALITY = 88
SMALL_PX = 160  # long side up to which a picture is kept lossless and enlarged without smoothing


def is_small(picture: Picture) -> bool:
    """Say whether a picture is so small that its pixels are to be seen one by one."""
    return bool(max(picture.shape[:2]) <= SMALL_PX)


def picture_uri(
    picture: Picture,  # (H, W, 3)
    lossless: bool,
) -> str:
    """Encode a picture, as PNG if it is small or to be kept as it is, and otherwise as JPEG."""
    check_shape("picture", picture, "H W 3")
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if lossless or is_small(picture):
        kind, (written, data) = "png", cv2.imencode(".png", pixels)
    else:
        # Full colour resolution: thin coloured outlines would bleed in the usual 4:2:0.
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        kind, (written, data) = "jpeg", cv2.imencode(".jpg", pixels, options)
    if not written:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape} as {kind}")
    return _uri(f"image/{kind}", data.tobytes())


def film_uri(film: bytes) -> str:
    """Encode an mp4 file."""
    return _uri("video/mp4", film)


def _uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode('ascii')}"
