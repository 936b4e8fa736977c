import hashlib
import logging

import cv2
import h5py
import numpy as np
import pytest
from solved_scene import Camera, random_views, write_colmap_binary, write_photograph

from gsn.captures.capture import CaptureError
from gsn.captures.pack import open_pack
from pipeline.config import ParamsError
from pipeline.prepare import PrepareConfig, main, prepare

CFG = PrepareConfig(
    factor=1, long_side_px=None, near_scale=0.9, far_scale=1.6, outlier_percent=0.0, hold=4
)
N_VIEWS, H, W = 6, 24, 32
PARAMS = """
scenes: {train: [good], test: []}
prepare: {factor: null, long_side_px: 16, near_scale: 0.9, far_scale: 1.6, outlier_percent: 0,
          hold: HOLD}
"""


@pytest.fixture
def raw(tmp_path):
    """Two captures in LLFF layout, with masks."""
    rng = np.random.default_rng(0)
    for name in ("good", "bad"):
        scene = tmp_path / "raw" / name
        (scene / "images").mkdir(parents=True)
        (scene / "masks").mkdir()
        table = np.zeros((N_VIEWS, 17))
        for k in range(N_VIEWS):
            image = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
            cv2.imwrite(str(scene / "images" / f"{k}.png"), image)
            cv2.imwrite(str(scene / "masks" / f"{k}.png"), (image[..., 0] > 99) * np.uint8(255))
            pose = np.eye(3)[:, [1, 0, 2]] * [-1, 1, 1]  # down, right, backward
            columns = [pose, rng.normal(size=(3, 1)), [[H], [W], [40]]]
            table[k] = [*np.concatenate(columns, axis=1).ravel(), 2 + k, 20]
        np.save(scene / "poses_bounds.npy", table)
    return tmp_path / "raw"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packs_hold_split_cameras_and_masks(raw, tmp_path):
    prepare(raw, tmp_path / "out", ["good", "bad"], CFG)
    assert sorted(contents(tmp_path / "out")) == ["bad.h5", "good.h5"]
    with open_pack(tmp_path / "out" / "good.h5") as pack:
        assert pack.view_names == tuple("012345")
        assert np.flatnonzero(pack.held_out).tolist() == [0, 4]
        assert pack.near == pytest.approx(4 / 3 * 0.9)
        assert pack.far == pytest.approx(4 / 3 * 20 / 2 * 1.6)
        stored = cv2.imread(str(raw / "good" / "images" / "3.png"))
        np.testing.assert_array_equal(pack.image(3), stored[..., ::-1])
        np.testing.assert_array_equal(pack.mask(3), stored[..., 0] > 99)
        data = (raw / "good" / "images" / "3.png").read_bytes()
        assert pack.image_sha256[3] == hashlib.sha256(data).hexdigest()


def test_a_rerun_gives_the_same_bytes_and_drops_scenes_not_asked_for(raw, tmp_path):
    out = tmp_path / "out"
    prepare(raw, out, ["good", "bad"], CFG)
    first = contents(out)
    (out / "old.h5.partial").touch()
    (out / "notes.txt").touch()
    prepare(raw, out, ["good"], CFG)
    assert contents(out) == {"good.h5": first["good.h5"], "notes.txt": b""}


def edit_poses(change):
    def damage(scene):
        table = np.load(scene / "poses_bounds.npy")
        np.save(scene / "poses_bounds.npy", change(table), allow_pickle=True)

    return damage


def put(row, column, value):
    def change(table):
        table[row, column] = value
        return table

    return edit_poses(change)


def scale_axis(table):
    table[1, 0:15:5] *= 1.5
    return table


def mirror(table):
    table[2, 0:15:5] *= -1
    return table


def cut_off(suffix):
    def damage(scene):
        image = cv2.imread(str(scene / "images" / "3.png"))
        (scene / "images" / "3.png").unlink()
        data = cv2.imencode(suffix, image)[1].tobytes()
        (scene / "images" / f"3{suffix}").write_bytes(data[: len(data) // 2])

    return damage


def write_image(name, size):
    def damage(scene):
        cv2.imwrite(str(scene / name), np.full((*size, 3), 255, dtype=np.uint8))

    return damage


def write_grey_mask(scene):
    (scene / "masks" / "labels.json").write_text('{"1": "cup"}')


def keep_two_views(scene):
    edit_poses(lambda table: table[:2])(scene)
    for k in range(2, N_VIEWS):
        (scene / "images" / f"{k}.png").unlink()


def turn_photographs(scene):
    for path in (scene / "images").iterdir():
        cv2.imwrite(str(path), np.ascontiguousarray(cv2.imread(str(path)).swapaxes(0, 1)))


def delete_images(scene):
    for path in (scene / "images").iterdir():
        path.unlink()


DAMAGES = {
    "an image too few": (
        lambda scene: (scene / "images" / "3.png").unlink(),
        r"bad/images: 5 photographs, expected 6 for the rows of poses_bounds\.npy: remove",
    ),
    "a row too few": (
        edit_poses(lambda table: table[:5]),
        r"bad/images: 6 photographs, expected 5 for the rows",
    ),
    "a truncated PNG": (cut_off(".png"), r"images/3\.png: the PNG file is cut off .*copy it again"),
    "a truncated JPEG": (cut_off(".jpg"), r"images/3\.jpg: the JPEG file is cut off"),
    "no image at all": (
        lambda scene: (scene / "images" / "3.png").write_text("<html>"),
        r"images/3\.png: neither JPEG nor PNG .*expected a whole JPEG or PNG",
    ),
    "an empty image": (
        lambda scene: (scene / "images" / "3.png").write_bytes(b""),
        r"images/3\.png: the file is empty",
    ),
    "an image of another size": (
        write_image("images/3.png", (12, 16)),
        r"images/3\.png: 16×12 pixels, expected 32×24 as in '0\.png'",
    ),
    "turned photographs": (
        turn_photographs,
        r"poses_bounds\.npy: row 0 is of a photograph of 32×24 pixels, the stored ones have 24×32"
        r".* are turned",
    ),
    "two images of one stem": (
        write_image("images/3.jpg", (H, W)),
        r"bad/images: same stem of \['3\.jpg', '3\.png'\], expected one file for each name",
    ),
    "no images": (delete_images, r"bad: found no photographs, expected a folder 'images'"),
    "two views": (keep_two_views, r"bad: 2 views, expected at least 3"),
    "near beyond far": (
        put(4, 15, 21.0),
        r"the near bound is not below the far bound, in 1 of 6 rows, the first is row 4",
    ),
    "near at the camera": (put(1, 15, 0.0), r"the near bound is not positive.*row 1"),
    "NaN": (put(5, 3, np.nan), r"found NaN or infinity, .*in 1 of 6 rows, the first is row 5"),
    "infinity": (put(0, 16, np.inf), r"found NaN or infinity, .*row 0"),
    "no focal length": (put(2, 14, 0.0), r"focal length is not positive, .*row 2"),
    "a stretched axis": (edit_poses(scale_axis), r"rotation is not orthonormal.*row 1"),
    "a mirrored camera": (edit_poses(mirror), r"determinant −1, expected \+1.*row 2"),
    "a table of another shape": (
        edit_poses(lambda table: table[:, :15]),
        r"poses_bounds\.npy: found \(6, 15\), expected shape \(views, 17\)",
    ),
    "a table of integers": (
        edit_poses(lambda table: table.astype(np.int64)),
        r"poses_bounds\.npy: found type int64, expected floats",
    ),
    "a pickled table": (
        edit_poses(lambda table: table.astype(object)),
        r"poses_bounds\.npy: cannot be read \(Array can't be memory-mapped: Python objects",
    ),
    "a truncated table": (
        lambda scene: (scene / "poses_bounds.npy").write_bytes(
            (scene / "poses_bounds.npy").read_bytes()[:200]
        ),
        r"poses_bounds\.npy: cannot be read",
    ),
    "no table": (
        lambda scene: (scene / "poses_bounds.npy").unlink(),
        r"bad: found \['images', 'masks'\], expected the cameras of a capture: poses_bounds\.npy",
    ),
    "a mask of another aspect": (
        write_image("masks/3.png", (32, 24)),
        r"masks/3\.png: 24×32 pixels, expected the aspect of the photographs",
    ),
    "a mask of unknown objects": (
        write_grey_mask,
        r"masks/0\.png: values \[255\] name no object, expected 0 and \[1\] of labels\.json",
    ),
    "a truncated mask": (
        lambda scene: (scene / "masks" / "3.png").write_bytes(
            (scene / "masks" / "3.png").read_bytes()[:60]
        ),
        r"masks/3\.png: the PNG file is cut off",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_capture_is_named_and_leaves_no_pack(raw, tmp_path, kind):
    damage, message = DAMAGES[kind]
    out = tmp_path / "out"
    prepare(raw, out, ["bad"], CFG)  # an older pack that must not stay
    damage(raw / "bad")
    with pytest.raises(CaptureError, match=r"scene 'bad': .*" + message):
        prepare(raw, out, ["bad", "good"], CFG)
    assert list(contents(out)) == ["good.h5"]
    with open_pack(out / "good.h5") as pack:
        assert len(pack.images()) == N_VIEWS


def test_every_damaged_capture_is_named_at_once(raw, tmp_path):
    (raw / "bad" / "poses_bounds.npy").unlink()
    with pytest.raises(CaptureError) as error:
        prepare(raw, tmp_path / "out", ["bad", "good", "nowhere"], CFG)
    first, bad, nowhere = str(error.value).splitlines()
    assert first == "2 of 3 scenes cannot be used"
    assert bad.startswith("scene 'bad': ")
    assert nowhere.startswith("scene 'nowhere': ")
    assert "no such folder" in nowhere


def test_a_hold_that_leaves_no_training_view_is_refused(raw, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace("HOLD", "1"))
    with pytest.raises(ParamsError, match="section 'prepare': 'hold' is 1: expected at least 2"):
        main(raw, tmp_path / "out", params)


def test_the_command_line_reads_its_sections(raw, tmp_path, caplog):
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace("HOLD", "3"))
    with caplog.at_level(logging.INFO):
        main(raw, tmp_path / "out", params)
    assert "good: 6 views of 16×12 px, 2 held out, 6 with masks, depth 1.20 to 21.33" in caplog.text
    with h5py.File(tmp_path / "out" / "good.h5") as file:
        assert file["images"].shape == (N_VIEWS, 12, 16, 3)


def test_a_capture_of_another_format_becomes_a_pack(tmp_path):
    names = [f"{k}.png" for k in range(N_VIEWS)]
    views, points = random_views(names, 30)
    camera = Camera("SIMPLE_RADIAL", W, H, (40.0, 16.0, 12.0, -0.05))
    write_colmap_binary(tmp_path / "raw" / "solved" / "sparse" / "0", {1: camera}, views, points)
    for name in names:
        image = np.full((H, W, 3), 200, np.uint8)
        write_photograph(tmp_path / "raw" / "solved" / "images" / name, image)
    prepare(tmp_path / "raw", tmp_path / "out", ["solved"], CFG)
    with open_pack(tmp_path / "out" / "solved.h5") as pack:
        assert pack.view_names == tuple("012345")
        assert pack.near == pytest.approx(1.2)
        assert (pack.image(3) == 200).all()
