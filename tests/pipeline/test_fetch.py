import dataclasses
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from published_archives import publish_archive

import gsn.captures.synthetic.write
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.llff import read_llff
from gsn.captures.synthetic.config import SyntheticConfig
from pipeline.config import ParamsError
from pipeline.fetch import FetchConfig, fetch, main

TINY = SyntheticConfig(
    seed=0,
    n_views=3,
    width_px=24,
    height_px=16,
    min_objects=1,
    max_objects=1,
    samples_per_side=1,
    baseline=0.1,
)
LAYOUT = ("images/0.jpg", "images_4/0.png", "masks/0.png", "masks/labels.json", "depth/0.npy")
LAYOUT += ("poses_bounds.npy", "sparse/0/images.bin", "view_imgs.txt")
LAYOUT += ("prompts/cup.yaml", "prompts/cup.png")
PARAMS = """
scenes: {train: [a], test: [b]}
fetch:
  source: folder
  path: PATH
  archives: {}
  synthetic: {seed: 0, n_views: 3, width_px: 24, height_px: 16, min_objects: 1, max_objects: 1,
              samples_per_side: 1, baseline: 0.1}
"""


@pytest.fixture
def captures(tmp_path):
    """Folders `a` and `b` with all that a reader can use, and more."""
    for scene in ("a", "b"):
        for name in (*LAYOUT, "notes.md", "images_old/0.jpg", ".git/config", "images/.hidden.png"):
            path = tmp_path / "captures" / scene / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{scene} {name}")
    return tmp_path / "captures"


@pytest.fixture
def rendered(monkeypatch):
    """Names of the scenes rendered, by a stand-in that draws nothing."""
    names = []

    def write(folder, name, cfg):
        names.append(name)
        (folder / "images").mkdir(parents=True)
        (folder / "images" / "0.png").write_text(f"{name} {cfg.seed}")

    monkeypatch.setattr(gsn.captures.synthetic.write, "write_synthetic_capture", write)
    return names


def from_folder(path):
    return FetchConfig(source="folder", path=path, archives={}, synthetic=TINY)


def synthetic(seed=0):
    scene = dataclasses.replace(TINY, seed=seed)
    return FetchConfig(source="synthetic", path=Path("nowhere"), archives={}, synthetic=scene)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_a_reader_can_use_is_copied_and_nothing_else(captures, tmp_path):
    fetch(tmp_path / "raw", ["a", "b"], from_folder(captures))
    expected = {f"{s}/{name}" for s in ("a", "b") for name in (*LAYOUT, "source.json")}
    got = contents(tmp_path / "raw")
    assert set(got) == expected
    assert got["b/masks/0.png"] == b"b masks/0.png"


def test_a_rerun_copies_nothing_if_nothing_changed(captures, tmp_path):
    raw = tmp_path / "raw"
    fetch(raw, ["a", "b"], from_folder(captures))
    before = {path: path.stat().st_ino for path in raw.rglob("*")}
    fetch(raw, ["a", "b"], from_folder(captures))
    assert {path: path.stat().st_ino for path in raw.rglob("*")} == before


def test_a_rerun_brings_what_changed_at_the_source(captures, tmp_path):
    raw = tmp_path / "raw"
    fetch(raw, ["a", "b"], from_folder(captures))
    (captures / "a" / "images" / "0.jpg").write_text("new")
    (captures / "a" / "images" / "1.jpg").write_text("more")
    (captures / "a" / "masks" / "0.png").unlink()
    fetch(raw, ["a", "b"], from_folder(captures))
    got = contents(raw)
    assert got["a/images/0.jpg"] == b"new"
    assert got["a/images/1.jpg"] == b"more"
    assert "a/masks/0.png" not in got
    fetch(tmp_path / "fresh", ["a", "b"], from_folder(captures))
    assert got == contents(tmp_path / "fresh")


def test_a_file_damaged_in_place_is_brought_again(captures, tmp_path):
    fetch(tmp_path / "raw", ["a"], from_folder(captures))
    (tmp_path / "raw" / "a" / "depth" / "0.npy").write_text("damaged")
    fetch(tmp_path / "raw", ["a"], from_folder(captures))
    assert contents(tmp_path / "raw")["a/depth/0.npy"] == b"a depth/0.npy"


def test_a_file_linked_from_elsewhere_is_replaced_and_not_written_to(captures, tmp_path):
    raw, cache = tmp_path / "raw", tmp_path / "cache"
    fetch(raw, ["a"], from_folder(captures))
    cache.hardlink_to(raw / "a" / "images" / "0.jpg")
    cache.chmod(0o444)
    (captures / "a" / "images" / "0.jpg").write_text("new")
    fetch(raw, ["a"], from_folder(captures))
    assert cache.read_text() == "a images/0.jpg"
    assert (raw / "a" / "images" / "0.jpg").read_text() == "new"


def test_scenes_not_asked_for_are_removed_and_foreign_folders_left(captures, tmp_path, caplog):
    raw = tmp_path / "raw"
    fetch(raw, ["a", "b"], from_folder(captures))
    (raw / "c.partial" / "images").mkdir(parents=True)
    (raw / "mine").mkdir()
    fetch(raw, ["b"], from_folder(captures))
    assert sorted(path.name for path in raw.iterdir()) == ["b", "mine"]
    assert "left alone, as this stage did not make them: mine" in caplog.text


def test_a_folder_that_this_stage_did_not_make_is_not_replaced(captures, tmp_path):
    (tmp_path / "raw" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"raw/a: this folder has no source\.json.* move it to"):
        fetch(tmp_path / "raw", ["a"], from_folder(captures))


def test_a_missing_scene_is_told_with_those_that_are_there(captures, tmp_path):
    (captures / "empty").mkdir()
    message = r"no capture named c, empty; it has: a, b, empty; add them or change .*'scenes'"
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path / "raw", ["a", "c", "empty"], from_folder(captures))
    assert not (tmp_path / "raw").exists()


def test_a_missing_source_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no such folder; .* change fetch\.path"):
        fetch(tmp_path / "raw", ["a"], from_folder(tmp_path / "nowhere"))


def test_a_source_inside_the_output_is_refused_before_it_is_cleared(captures):
    with pytest.raises(ValueError, match="keep your captures elsewhere"):
        fetch(captures, ["a"], from_folder(captures))
    assert (captures / "b" / "poses_bounds.npy").exists()


def test_an_error_while_copying_leaves_the_older_scene(captures, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    fetch(raw, ["a"], from_folder(captures))
    before = contents(raw)
    (captures / "a" / "view_imgs.txt").write_text("new")

    def fail(source, _target):
        raise OSError(f"cannot copy {source}")

    monkeypatch.setattr("pipeline.fetch.copyfile", fail)
    with pytest.raises(OSError, match="cannot copy"):
        fetch(raw, ["a"], from_folder(captures))
    assert contents(raw) == before


def test_a_synthetic_scene_is_rendered_once(rendered, tmp_path):
    fetch(tmp_path / "raw", ["a", "b"], synthetic())
    fetch(tmp_path / "raw", ["b", "c"], synthetic())
    assert rendered == ["a", "b", "c"]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["b", "c"]


def test_other_settings_other_code_and_damage_render_again(rendered, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    fetch(raw, ["a"], synthetic())
    fetch(raw, ["a"], synthetic(seed=1))
    assert (raw / "a" / "images" / "0.png").read_text() == "a 1"
    monkeypatch.setattr("pipeline.fetch.sha256_of_code", lambda _package: "other code")
    fetch(raw, ["a"], synthetic(seed=1))
    assert len(rendered) == 3
    (raw / "a" / "images" / "0.png").unlink()
    fetch(raw, ["a"], synthetic(seed=1))
    assert len(rendered) == 4
    assert json.loads((raw / "a" / "source.json").read_text())["origin"]["code"] == "other code"


def test_a_changed_source_replaces_scenes_of_the_other_kind(rendered, captures, tmp_path):
    raw = tmp_path / "raw"
    fetch(raw, ["a"], synthetic())
    fetch(raw, ["a"], from_folder(captures))
    assert contents(raw)["a/view_imgs.txt"] == b"a view_imgs.txt"
    fetch(raw, ["a"], synthetic())
    assert sorted(contents(raw)) == ["a/images/0.png", "a/source.json"]
    assert rendered == ["a", "a"]


def test_captures_of_a_folder_and_rendered_scenes_go_together(rendered, captures, tmp_path):
    fetch(tmp_path / "raw", ["tabletop_3", "a"], from_folder(captures))
    assert rendered == ["tabletop_3"]
    assert contents(tmp_path / "raw")["a/view_imgs.txt"] == b"a view_imgs.txt"
    shutil.copytree(captures / "b", captures / "tabletop_3")
    fetch(tmp_path / "raw", ["tabletop_3", "a"], from_folder(captures))
    assert rendered == ["tabletop_3"]  # the folder has one of this name now
    assert contents(tmp_path / "raw")["tabletop_3/view_imgs.txt"] == b"b view_imgs.txt"


@pytest.mark.parametrize("name", ["tabletop", "tabletop_", "tabletop_1x", "fren"])
def test_only_scenes_of_the_default_run_are_rendered_unasked(captures, tmp_path, name):
    with pytest.raises(ValueError, match=f"no capture named {name};"):
        fetch(tmp_path / "raw", [name], from_folder(captures))


def test_a_rendered_scene_reads_as_a_capture(tmp_path):
    torch.set_num_threads(2)
    fetch(tmp_path / "raw", ["table"], synthetic())
    capture = read_llff(tmp_path / "raw" / "table", ReadConfig(1, None, 0.9, 1.6, 0.0))
    assert capture.images.shape == (3, 16, 24, 3)
    assert capture.masks.present.all()
    assert np.isfinite(capture.depth).all()


def test_the_command_line_fetches_training_and_test_scenes(captures, tmp_path, caplog):
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace("PATH", str(captures)))
    with caplog.at_level(logging.INFO):
        main(tmp_path / "raw", params)
    assert "2 scenes made, 0 kept, 0 removed" in caplog.text
    params.write_text(PARAMS.replace("source: folder", "source: web"))
    with pytest.raises(
        ParamsError, match=r"key 'source': expected 'synthetic', 'folder' or 'archives'"
    ):
        main(tmp_path / "raw", params)


@pytest.fixture
def archives(tmp_path):
    """Where archives lie; NeRF's is there, and one that no preset has made known is not."""
    publish_archive(tmp_path / "archives", "nerf_llff_data")
    return {"archives_folder": tmp_path / "archives", "lock": tmp_path / "archives.lock.yaml"}


def from_archives(path=Path("nowhere"), **places):
    return FetchConfig(source="archives", path=path, archives=places, synthetic=TINY)


def test_scenes_come_out_of_an_archive_with_what_a_reader_can_use(archives, tmp_path):
    fetch(tmp_path / "raw", ["fern", "trex"], from_archives(), **archives)
    files = ["images/0.jpg", "images/1.jpg", "images/2.jpg", "poses_bounds.npy", "source.json"]
    got = contents(tmp_path / "raw")
    assert sorted(got) == [f"{scene}/{name}" for scene in ("fern", "trex") for name in files]
    assert got["trex/images/2.jpg"] == b"nerf_llff_data/trex 2"
    origin = json.loads(got["fern/source.json"])["origin"]
    assert (origin["kind"], origin["folder"]) == ("archive", "nerf_llff_data/fern")


def test_a_second_run_unpacks_nothing_and_needs_no_archive(archives, tmp_path, caplog):
    raw = tmp_path / "raw"
    fetch(raw, ["fern", "trex"], from_archives(), **archives)
    before = {path: path.stat().st_ino for path in raw.rglob("*")}
    (tmp_path / "archives" / "nerf_llff_data.zip").unlink()
    with caplog.at_level(logging.INFO):
        fetch(raw, ["fern", "trex"], from_archives(), **archives)
    assert {path: path.stat().st_ino for path in raw.rglob("*")} == before
    assert "0 scenes made, 2 kept, 0 removed" in caplog.text


def test_a_damaged_file_of_an_archive_is_unpacked_again(archives, tmp_path):
    fetch(tmp_path / "raw", ["fern", "trex"], from_archives(), **archives)
    before = contents(tmp_path / "raw")
    (tmp_path / "raw" / "fern" / "images" / "0.jpg").write_text("damaged")
    fetch(tmp_path / "raw", ["fern", "trex"], from_archives(), **archives)
    assert contents(tmp_path / "raw") == before


def test_another_edition_of_an_archive_replaces_its_scenes(archives, tmp_path):
    fetch(tmp_path / "raw", ["fern"], from_archives(), **archives)
    change = {"nerf_llff_data/fern/images/0.jpg": b"better"}
    publish_archive(tmp_path / "archives", "nerf_llff_data", change)
    (tmp_path / "archives.lock.yaml").unlink()
    fetch(tmp_path / "raw", ["fern"], from_archives(), **archives)
    assert contents(tmp_path / "raw")["fern/images/0.jpg"] == b"better"


def test_own_captures_and_rendered_scenes_go_with_those_of_archives(
    archives, captures, rendered, tmp_path
):
    fetch(tmp_path / "raw", ["tabletop_0", "a", "fern"], from_archives(captures), **archives)
    assert rendered == ["tabletop_0"]
    got = contents(tmp_path / "raw")
    assert got["a/view_imgs.txt"] == b"a view_imgs.txt"
    assert got["fern/images/0.jpg"] == b"nerf_llff_data/fern 0"


def test_an_archive_that_is_nowhere_is_told_and_nothing_is_made(archives, tmp_path):
    message = r"real_iconic_noface\.zip \(about 6\.6 GB\) is not in .*/archives/"
    with pytest.raises(FileNotFoundError, match=message):
        fetch(tmp_path / "raw", ["fern", "data4_stove"], from_archives(), **archives)
    assert not (tmp_path / "raw").exists()


def test_a_scene_that_neither_folder_nor_archive_has_is_told(archives, captures, tmp_path):
    message = r"captures: no capture named tree \(nor is one known from archives\); it has: a, b"
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path / "raw", ["fern", "tree"], from_archives(captures), **archives)


def test_an_error_while_unpacking_leaves_no_half_scene(archives, tmp_path, monkeypatch):
    fetch(tmp_path / "raw", ["fern"], from_archives(), **archives)  # learns what the archive is

    def fail(_packed, _entries, target):
        (target / "images").mkdir(parents=True)
        raise OSError("No space left on device")

    monkeypatch.setattr("gsn.captures.archives.zip_file.CheckedZip.unpack", fail)
    with pytest.raises(OSError, match="No space left"):
        fetch(tmp_path / "raw", ["fern", "trex"], from_archives(), **archives)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["fern"]


def test_too_little_room_is_told_before_anything_is_unpacked(archives, tmp_path, monkeypatch):
    fetch(tmp_path / "raw", ["fern"], from_archives(), **archives)

    class Usage:
        free = 100

    monkeypatch.setattr("pipeline.fetch.shutil.disk_usage", lambda _folder: Usage)
    with pytest.raises(OSError, match=r"2 scenes take 0\.0 GB unpacked, 0\.0 GB are free"):
        fetch(tmp_path / "raw", ["fern", "trex", "room"], from_archives(), **archives)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["fern"]


def test_an_archive_that_nobody_knows_is_told(captures, tmp_path):
    params = tmp_path / "params.yaml"
    text = PARAMS.replace("PATH", str(captures)).replace("archives: {}", "archives: {llff: []}")
    params.write_text(text)
    with pytest.raises(ParamsError, match=r"'archives' has \['llff'\]; known: ibrnet_collected"):
        main(tmp_path / "raw", params)
