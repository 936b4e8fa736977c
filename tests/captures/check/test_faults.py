"""Captures with known faults, made of one whose cameras are exact."""

import cv2
import numpy as np
import pytest

from gsn.captures.check.check_capture import check_capture
from gsn.captures.check.table import reasons
from gsn.captures.check.verdict import Verdict


def check(folder):
    report = check_capture(folder, 1)
    return report.verdict, reasons(report)


def with_matrices(change):
    """Return what changes the 3×5 matrices [down, right, backward | centre | h, w, f] of rows."""

    def make(rows):
        matrices = rows[:, :15].reshape(-1, 3, 5).copy()
        change(matrices)
        return np.concatenate([matrices.reshape(-1, 15), rows[:, 15:]], axis=1)

    return make


def scale_focal(matrices):
    matrices[:, 2, 4] *= 1.2


def negate_centres(matrices):
    matrices[:, :, 3] *= -1


def take_for_opengl(matrices):
    """Write right, up, backward where down, right, backward are expected."""
    down, right = matrices[:, :, 0].copy(), matrices[:, :, 1].copy()
    matrices[:, :, 0], matrices[:, :, 1] = right, -down


def look_backwards(matrices):
    """OpenCV's axes in place of OpenGL's: up and backward point the other way."""
    matrices[:, :, 0] *= -1
    matrices[:, :, 2] *= -1


def transpose(matrices):
    matrices[:, :, :3] = matrices[:, :, :3].transpose(0, 2, 1)


def stand_still(matrices):
    matrices[:, :, 3] = matrices[0, :, 3]


def test_exact_cameras_are_sound_to_a_seventh_of_a_pixel(rendered):
    report = check_capture(rendered, 1)
    assert (report.verdict, report.findings) == (Verdict.OK, ())
    agreement = report.measures.agreement
    assert agreement.view_matches.min() > 60
    assert agreement.view_error_px.max() < 1 / 7
    assert min(agreement.in_front, agreement.in_range) > 0.99


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        (lambda rows: np.roll(rows, 1, axis=0), Verdict.UNUSABLE, "views do not fit"),
        (lambda rows: rows[::-1], Verdict.UNUSABLE, "lie before the cameras"),
        (lambda rows: rows[[0, 1, 5, 3, 4, 2, 6, 7]], Verdict.DOUBTFUL, "'view_002'"),
        (lambda rows: rows[[0, 1, 2, 3, 5, 4, 6, 7]], Verdict.DOUBTFUL, "'view_005'"),
        (with_matrices(scale_focal), Verdict.DOUBTFUL, "with 0.8 times of it"),
        (with_matrices(negate_centres), Verdict.UNUSABLE, "0% of the matched points lie before"),
        (with_matrices(take_for_opengl), Verdict.UNUSABLE, "miss their epipolar lines"),
        (with_matrices(look_backwards), Verdict.UNUSABLE, "lie before the cameras"),
        (with_matrices(transpose), Verdict.UNUSABLE, "views do not fit"),
        (with_matrices(stand_still), Verdict.UNUSABLE, "the cameras hardly move"),
        (lambda rows: rows * ([1.0] * 15 + [3, 3]), Verdict.DOUBTFUL, "within the depth range"),
    ],
)
def test_wrong_cameras_are_found(change_rows, change, verdict, reason):
    found, text = check(change_rows(change))
    assert found is verdict, text
    assert reason in text


@pytest.mark.parametrize("axes", [(0, 1), (1,), (0,)])
def test_turned_and_mirrored_photographs_are_found(copy, axes):
    folder = copy()
    for path in sorted((folder / "images").iterdir()):
        cv2.imwrite(str(path), np.flip(cv2.imread(str(path)), axes))
    assert check(folder)[0] is Verdict.UNUSABLE


def test_a_photograph_of_another_place_is_named(copy):
    folder = copy()
    two, three = folder / "images" / "view_002.png", folder / "images" / "view_003.png"
    two.write_bytes(three.read_bytes())
    verdict, text = check(folder)
    assert verdict is Verdict.DOUBTFUL
    assert "1 of 8 views do not fit their neighbours: 'view_002'" in text


def test_views_without_matches_are_counted(copy):
    folder = copy()
    blank = np.full((192, 256, 3), 128, np.uint8)
    for name in ("view_002.png", "view_005.png"):
        cv2.imwrite(str(folder / "images" / name), blank)
    verdict, text = check(folder)
    assert verdict is Verdict.OK
    assert "6 of 8 views could be judged" in text


def test_where_nothing_matches_the_capture_is_doubtful(copy):
    folder = copy()
    for path in (folder / "images").iterdir():
        cv2.imwrite(str(path), np.full((192, 256, 3), 128, np.uint8))
    verdict, text = check(folder)
    assert verdict is Verdict.DOUBTFUL
    assert "0 of 8 views could be judged" in text
