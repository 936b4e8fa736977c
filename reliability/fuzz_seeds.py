"""A tiny capture of three views in every format, as bytes: what fuzzing begins with."""

import json
import struct
import zlib

import cv2
import numpy as np

from gsn.captures.capture import FloatArray

N_VIEWS = 3
ROWS, COLUMNS = 48, 64
FOCAL = 60.0
N_POINTS = 12
NAMES = [f"view{k}.png" for k in range(N_VIEWS)]
CENTRES = np.array([[-0.2, 0.0, 0.0], [0.0, 0.1, 0.0], [0.2, 0.0, 0.0]])  # all look along z
POINTS = np.array([[0.05 * k - 0.3, 0.1 * (k % 3 - 1), 3 + 0.4 * k] for k in range(N_POINTS)])


def picture(view: int) -> bytes:
    """Return the PNG of a view."""
    pixels = np.random.default_rng(view).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
    return encode(".png", cv2.blur(pixels, (5, 5)))


def encode(suffix: str, pixels: np.ndarray, *flags: int) -> bytes:
    """Return pixels as an image file."""
    return bytes(cv2.imencode(suffix, pixels, flags)[1])


def poses_bounds() -> FloatArray:  # (V, 17)
    """Return cameras as LLFF stores them."""
    axes = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])  # columns: down, right, backward
    rows = [
        [*np.column_stack([axes, centre, [ROWS, COLUMNS, FOCAL]]).ravel(), 2.5, 8.0]
        for centre in CENTRES
    ]
    return np.array(rows)


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0), **promised: object) -> bytes:
    """Return an array as an .npy file whose header may promise something else."""
    told = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    header = repr(told | promised).encode()
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + array.tobytes()


def npy_seeds(array: np.ndarray) -> list[bytes]:
    """Return an array in each version and order of numbers, and headers that promise too much."""
    return [
        npy(array),
        npy(array.astype(">f4"), (2, 0)),
        npy(array.astype(np.float16), (3, 0)),
        npy(array, shape=(10**12, 17)),
        npy(array, descr="|O8"),
        npy(array, descr=[("a", "<f8"), ("b", "<i4")]),
        npy(array, fortran_order=True),
    ]


def cameras_bin() -> list[bytes]:
    """Return cameras of every model that is read, and of one that is not."""
    size = struct.pack("<QQ", COLUMNS, ROWS)
    parameters = [
        (0, [60.0, 32, 24]),
        (1, [60.0, 61, 32, 24]),
        (2, [60.0, 32, 24, 0.01]),
        (3, [60.0, 32, 24, 0.01, -0.002]),
        (4, [60.0, 61, 32, 24, 0.01, -0.002, 1e-4, 1e-4]),
        (5, [60.0, 61, 32, 24, 0.0, 0, 0, 0]),
    ]
    one = [
        struct.pack("<Ii", 1, model) + size + struct.pack(f"<{len(numbers)}d", *numbers)
        for model, numbers in parameters
    ]
    return [struct.pack("<Q", 1) + camera for camera in one]


def images_bin() -> bytes:
    """Return the poses of the views, each of which sees all points."""
    seen = b"".join(struct.pack("<ddq", 3.0, 4.0, point) for point in range(N_POINTS))
    views = [
        struct.pack("<I4d3dI", k + 1, 1, 0, 0, 0, *-centre, 1)
        + NAMES[k].encode()
        + b"\0"
        + struct.pack("<Q", N_POINTS)
        + seen
        for k, centre in enumerate(CENTRES)
    ]
    return struct.pack("<Q", N_VIEWS) + b"".join(views)


def points_bin() -> bytes:
    """Return the points, each with a track of two."""
    track = struct.pack("<Q4I", 2, 1, 0, 2, 0)
    points = [
        struct.pack("<Q3d3Bd", number, *place, 9, 9, 9, 0.5) + track
        for number, place in enumerate(POINTS)
    ]
    return struct.pack("<Q", N_POINTS) + b"".join(points)


def cameras_txt() -> bytes:
    """Return the cameras as text."""
    return b"# cameras\n1 SIMPLE_RADIAL 64 48 60.0 32 24 0.01\n2 OPENCV 64 48 60 61 32 24 0 0 0 0\n"


def images_txt() -> bytes:
    """Return the poses as text."""
    seen = " ".join(f"3.0 4.0 {point}" for point in range(N_POINTS))
    lines = [
        f"{k + 1} 1 0 0 0 {x} {y} {z} 1 {NAMES[k]}\n{seen}\n"
        for k, (x, y, z) in enumerate((-CENTRES).tolist())
    ]
    return ("# images\n" + "".join(lines)).encode()


def points_txt() -> bytes:
    """Return the points as text."""
    lines = [f"{n} {x} {y} {z} 9 9 9 0.5 1 0 2 0\n" for n, (x, y, z) in enumerate(POINTS.tolist())]
    return "".join(lines).encode()


def transforms(**more: object) -> bytes:
    """Return the file of cameras of nerfstudio."""
    frames = []
    for name, centre in zip(NAMES, CENTRES, strict=True):
        cam_to_world = np.diag([1.0, -1, -1, 1])
        cam_to_world[:3, 3] = centre
        matrix = cam_to_world.tolist()
        frames.append({"file_path": f"images/{name}", "transform_matrix": matrix})
    lens = {"w": COLUMNS, "h": ROWS, "fl_x": FOCAL, "cx": 32.0, "cy": 24.0, "k1": 0.01}
    content = {"camera_model": "OPENCV", **lens, "near": 2.5, "far": 8.0, "frames": frames}
    return json.dumps(content | more).encode()


def ply() -> list[bytes]:
    """Return the points as PLY files."""
    head = f"element vertex {N_POINTS}\nproperty float x\nproperty float y\nproperty float z\n"
    text = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS.tolist())
    binary = POINTS.astype("<f4").tobytes()
    return [
        f"ply\nformat ascii 1.0\n{head}end_header\n{text}".encode(),
        f"ply\nformat binary_little_endian 1.0\n{head}end_header\n".encode() + binary,
    ]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pngs() -> list[bytes]:
    """Return small PNG files of several kinds."""
    rng = np.random.default_rng(0)
    shapes = [(5, 7), (5, 7, 3), (5, 7, 4)]
    plain = [
        encode(".png", rng.integers(0, limit, shape).astype(dtype))
        for shape in shapes
        for dtype, limit in ((np.uint8, 256), (np.uint16, 65536))
    ]
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0))
    palette = png_chunk(b"PLTE", bytes(range(9))) + png_chunk(b"tRNS", b"\0\x80")
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 1000))
    lines = png_chunk(b"IDAT", zlib.compress(bytes([0, 0, 1, 0, 2, 1])))
    parts = [plain[0][:8], header, text, palette, lines, png_chunk(b"IEND", b"")]
    return [*plain, b"".join(parts)]


def jpegs() -> list[bytes]:
    """Return small JPEG files: grey, colour, progressive, with restart markers."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    return [
        encode(".jpg", pixels[..., 0]),
        encode(".jpg", pixels),
        encode(".jpg", pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encode(".jpg", pixels, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    ]
