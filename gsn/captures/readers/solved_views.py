"""Photographs with lenses and poses → a Capture: undistorted, shrunk, in the scene's frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gsn.captures.capture import ByteArray, Capture, CaptureError, FloatArray, check_view_count
from gsn.captures.images import Size, read_photographs, same_aspect
from gsn.captures.masks import Pixels, read_depth, read_masks
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.depth_range import DepthRange, place_in_scene
from gsn.captures.readers.poses import opencv_from_opengl
from gsn.captures.readers.undistort import Lens, common_size, pinhole_of, rectify
from gsn.captures.user_files import read_bytes

ROUNDED_PX = 1.5  # by which photographs of one scale may differ in size
Decode = Callable[[Path, bytes], ByteArray]  # a file and its bytes → (h, w, 3) RGB


@dataclass(frozen=True)
class SolvedView:
    """A photograph and the camera that a solver found for it."""

    name: str
    file: Path
    lens: Lens
    cam_to_world: FloatArray  # (4, 4), OpenCV axes, world units


@dataclass(frozen=True)
class PosedImages:
    """Views at working size, in the world of the solver."""

    images: ByteArray  # (V, H, W, 3) RGB
    intrinsics: FloatArray  # (V, 3, 3), in pixels of `images`
    cam_to_world: FloatArray  # (V, 4, 4), OpenCV axes


def build_capture(
    folder: Path,
    image_folder: Path,
    views: Sequence[SolvedView],
    cfg: ReadConfig,
    find_range: Callable[[PosedImages], DepthRange],
    decode: Decode,
) -> Capture:
    """Read the photographs of solved views, their masks and depth maps.

    Args:
        folder: Of the capture; its name is that of the scene.
        image_folder: What was chosen among `images` and `images_<factor>`.
        views: In the order that they shall have.
        cfg: Size asked for.
        find_range: Returns the depth range of the scene.
        decode: Turns an image file into RGB.

    Raises:
        CaptureError: Views are too few, or something is damaged or does not fit together.
    """
    check_view_count(folder, len(views))
    rectifier = _rectifier(folder, views, decode)
    files = [view.file for view in views]
    photographs = read_photographs(files, cfg, rectifier.photograph, image_folder)
    size = photographs.images.shape[1], photographs.images.shape[2]
    posed = PosedImages(
        photographs.images,
        np.stack([pinhole.matrix(size) for _, pinhole in rectifier.lenses.values()]),
        np.stack([view.cam_to_world for view in views]),
    )
    depth = find_range(posed)
    # The axes of OpenCV and OpenGL differ by the same signs both ways.
    cam_to_world, scale = place_in_scene(opencv_from_opengl(posed.cam_to_world), depth)
    near, far = depth.in_scene(scale)
    names = tuple(view.name for view in views)
    return Capture(
        name=folder.name,
        view_names=names,
        image_sha256=photographs.sha256,
        images=posed.images,
        intrinsics=posed.intrinsics,
        cam_to_world=cam_to_world,
        near=near,
        far=far,
        masks=read_masks(folder / "masks", names, size, rectifier.labels),
        depth=read_depth(folder / "depth", names, size, scale, rectifier.labels),
        source=folder,
    )


@dataclass(frozen=True)
class _Rectifier:
    """Makes every photograph, mask and depth map one that a pinhole took, all of one size."""

    decode: Decode
    lenses: Mapping[Path, tuple[Lens, Lens]]  # of each photograph: its lens, and the pinhole
    first: Path  # the photograph that decides the size
    stored_size: Size  # of that one

    def photograph(self, path: Path, data: bytes) -> ByteArray:  # (h, w, 3)
        """Decode a photograph, check that its lens can have taken it, and undo the lens."""
        image = self.decode(path, data)
        stored = image.shape[0], image.shape[1]
        lens, pinhole = self.lenses[path]
        if not same_aspect(stored, lens.size):
            turned = same_aspect((stored[1], stored[0]), lens.size)
            raise CaptureError(
                f"{path}: {_shown(stored)} pixels, its camera took {_shown(lens.size)}, expected "
                f"the same aspect: the photograph is {'turned' if turned else 'cropped'}, or the "
                "camera is of another one"
            )
        scale = np.array(self.stored_size) / self.lenses[self.first][0].size
        if np.abs(scale * lens.size - stored).max() > ROUNDED_PX:
            raise CaptureError(
                f"{path}: {_shown(stored)} pixels for a camera of {_shown(lens.size)}, but "
                f"{self.first.name!r} has {_shown(self.stored_size)} for one of "
                f"{_shown(self.lenses[self.first][0].size)}: all photographs of a scene must be "
                "stored at one scale"
            )
        rows, columns = np.rint(scale * pinhole.size).astype(int).tolist()
        rectified = rectify(image, lens, pinhole, (rows, columns), mix=True)
        return np.asarray(rectified, dtype=np.uint8)

    def labels(self, view: int, values: Pixels) -> Pixels:  # (h, w), stored at any scale
        """Undo the lens in a mask or depth map of a view."""
        lens, pinhole = list(self.lenses.values())[view]
        if lens == pinhole:
            return values
        ratio = np.array(pinhole.size) / lens.size
        rows, columns = np.maximum(1, np.rint(ratio * values.shape)).astype(int).tolist()
        return rectify(values, lens, pinhole, (rows, columns), mix=False)


def _rectifier(folder: Path, views: Sequence[SolvedView], decode: Decode) -> _Rectifier:
    try:
        shared = common_size([view.lens for view in views])
        pinholes = {lens: pinhole_of(lens, shared) for lens in {view.lens for view in views}}
    except ValueError as error:
        raise CaptureError(f"{folder}: {error}") from error
    lenses = {view.file: (view.lens, pinholes[view.lens]) for view in views}
    first = decode(views[0].file, read_bytes(views[0].file))
    return _Rectifier(decode, lenses, views[0].file, (first.shape[0], first.shape[1]))


def _shown(size: Size) -> str:
    return f"{size[1]}×{size[0]}"
