import cv2
import numpy as np
import pytest

from gsn.evaluation.report import film
from gsn.evaluation.report.film import count_frames, film_frame, write_film
from gsn.evaluation.report.strip import MARGIN_PX, TITLE_HEIGHT_PX


def frames(n_frames, height=64, width=96):
    """A bright square that moves to the right on a green ground."""
    for number in range(n_frames):
        frame = np.full((height, width, 3), (20, 120, 60), np.uint8)
        frame[20:40, 8 * number : 8 * number + 20] = (250, 60, 200)
        yield frame


def read_back(path):
    reader = cv2.VideoCapture(str(path))
    found = []
    while (read := reader.read())[0]:
        found.append(read[1][..., ::-1])
    rate = reader.get(cv2.CAP_PROP_FPS)
    reader.release()
    return found, rate


def test_a_film_reads_back_frame_by_frame_in_its_colours(tmp_path):
    path = tmp_path / "scene" / "orbit.mp4"
    write_film(path, frames(9), 12.0)
    found, rate = read_back(path)
    assert len(found) == count_frames(path) == 9
    assert rate == pytest.approx(12.0)
    for got, expected in zip(found, frames(9), strict=True):
        assert np.abs(got.astype(int) - expected).mean() < 6.0
    assert [file.name for file in path.parent.iterdir()] == ["orbit.mp4"]


def test_a_film_is_vp9_in_mp4_which_browsers_play(tmp_path):
    path = tmp_path / "orbit.mp4"
    write_film(path, frames(2), 24.0)
    data = path.read_bytes()
    assert data[4:8] == b"ftyp" and b"vp09" in data


def test_equal_frames_give_equal_files(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, frames(5), 24.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_odd_sides_are_filled_up_with_white(tmp_path):
    write_film(tmp_path / "odd.mp4", (np.zeros((63, 95, 3), np.uint8) for _ in range(3)), 24.0)
    found, _ = read_back(tmp_path / "odd.mp4")
    assert found[0].shape == (64, 96, 3)
    assert found[0][:60, :90].max() < 30
    assert found[0][63].mean() > 100 and found[0][:, 95].mean() > 100


def test_a_film_of_no_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one, got none"):
        write_film(tmp_path / "orbit.mp4", [], 24.0)
    assert list(tmp_path.iterdir()) == []


def test_a_film_without_time_is_refused(tmp_path):
    with pytest.raises(ValueError, match="more than 0, got 0"):
        write_film(tmp_path / "orbit.mp4", frames(2), 0.0)


def test_a_frame_of_another_size_is_refused_and_the_older_film_stays(tmp_path):
    path = tmp_path / "orbit.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match=r"frame 2: expected shape \(64 96 3\), got \(64, 98, 3\)"):
        write_film(path, [*frames(2), *frames(1, width=98)], 24.0)
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["orbit.mp4"]


def test_an_encoder_that_is_not_there_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "CODEC", "zzzz")
    with pytest.raises(OSError, match="cannot write VP9 as mp4"):
        write_film(tmp_path / "orbit.mp4", frames(2), 24.0)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_lost_frames_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "count_frames", lambda path: 1)
    with pytest.raises(OSError, match="1 of 2 frames were stored"):
        write_film(tmp_path / "orbit.mp4", frames(2), 24.0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_film_has_no_frames(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert count_frames(tmp_path / "empty.mp4") == 0


def test_a_film_frame_shows_colour_features_and_mask_at_one_height():
    small = np.full((72, 96, 3), 10, np.uint8)
    wide = film_frame(small, small, np.full((288, 384, 3), 90, np.uint8))
    assert wide.shape == (TITLE_HEIGHT_PX + 288 + MARGIN_PX, 4 * MARGIN_PX + 3 * 384, 3)
    middle = wide[TITLE_HEIGHT_PX + 144]
    assert [int(middle[MARGIN_PX + 200 + k * (384 + MARGIN_PX), 0]) for k in range(3)] == [
        10,
        10,
        90,
    ]
    assert film_frame(small, None, None).shape[1] == 2 * MARGIN_PX + 384
