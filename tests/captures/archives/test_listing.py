import pytest
from published_archives import make_zip, poses, publish_archive, scene_files

from gsn.captures.archives.listing import list_scenes
from gsn.captures.archives.zip_file import ArchiveError, open_zip


def listed(path):
    with open_zip(path) as packed:
        return list_scenes(path.stem, packed)


def test_nerf_has_its_eight_scenes(tmp_path):
    listing = listed(publish_archive(tmp_path, "nerf_llff_data"))
    names = ["fern", "flower", "fortress", "horns", "leaves", "orchids", "room", "trex"]
    assert listing.sets == {"nerf_llff_data": {name: f"nerf_llff_data/{name}" for name in names}}
    assert listing.left_out == {}


def test_scenes_like_a_test_scene_are_dropped_and_those_for_segmentation_set_apart(tmp_path):
    sets = listed(publish_archive(tmp_path, "real_iconic_noface")).sets
    assert sets["real_iconic_noface"] == {"data1_one": "real_iconic_noface/data1_one"}
    four = ["data2_chesstable", "data2_colorfountain", "data4_shoerack", "data4_stove"]
    assert sorted(sets["test_data"]) == four


def test_scenes_of_one_name_in_two_folders_keep_apart(tmp_path):
    sets = listed(publish_archive(tmp_path, "ibrnet_collected")).sets
    first, second = "ibrnet_collected_1", "ibrnet_collected_2"
    assert sets[first] == {"ibrnet1_qq1": f"{first}/qq1", "ibrnet1_a_b": f"{first}/a b"}
    assert sets[second] == {"ibrnet2_qq1": f"{second}/qq1", "ibrnet2_zc2": f"{second}/zc2"}


def test_two_folders_that_would_get_one_name_are_told(tmp_path):
    twin = scene_files("ibrnet_collected_1/a+b")
    path = publish_archive(tmp_path, "ibrnet_collected", twin)
    with pytest.raises(ArchiveError, match=r"a b' and .*a\+b' are both|a\+b' and .*a b' are both"):
        listed(path)


def test_a_folder_around_everything_does_not_matter(tmp_path):
    files = {}
    for scene in ("fern", "flower", "fortress", "horns", "leaves", "orchids", "room", "trex"):
        files |= scene_files(f"data/nerf_llff_data/{scene}")
    sets = listed(make_zip(tmp_path / "nerf_llff_data.zip", files)).sets
    assert sets["nerf_llff_data"]["fern"] == "data/nerf_llff_data/fern"


def test_scenes_at_the_top_are_found_where_there_is_one_folder_only(tmp_path):
    files = {}
    for scene in ("fern", "flower", "fortress", "horns", "leaves", "orchids", "room", "trex"):
        files |= scene_files(scene)
    assert len(listed(make_zip(tmp_path / "nerf_llff_data.zip", files)).sets["nerf_llff_data"]) == 8
    with pytest.raises(ArchiveError, match="lacks scenes of 'ibrnet_collected_1'"):
        listed(make_zip(tmp_path / "ibrnet_collected.zip", scene_files("qq1")))


def test_a_scene_whose_cameras_do_not_fit_its_photographs_is_left_out(tmp_path):
    folder = "real_iconic_noface"
    changes = {f"{folder}/data1_one/poses_bounds.npy": poses(4)}
    changes |= scene_files(f"{folder}/data1_two")
    listing = listed(publish_archive(tmp_path, "real_iconic_noface", changes))
    assert list(listing.sets["real_iconic_noface"]) == ["data1_two"]
    assert listing.left_out == {
        f"{folder}/data1_one": "4 rows in poses_bounds.npy, photographs: 3 in images"
    }


def test_reduced_photographs_and_a_list_of_names_serve_as_well(tmp_path):
    folder = "real_iconic_noface"
    changes = scene_files(f"{folder}/reduced", images="images_4")
    changes |= {
        f"{folder}/named/{file.partition('named/')[2]}": content
        for file, content in scene_files(f"{folder}/named").items()
    }
    changes[f"{folder}/named/poses_bounds.npy"] = poses(2)
    changes[f"{folder}/named/view_imgs.txt"] = b"0.jpg\n1.jpg\n"
    sets = listed(publish_archive(tmp_path, "real_iconic_noface", changes)).sets
    assert set(sets["real_iconic_noface"]) == {"data1_one", "reduced", "named"}


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x80\x04pickle", poses(3)[:40], b"\x93NUMPY\x09\x09"]
)
def test_cameras_that_cannot_be_read_leave_a_scene_out(tmp_path, content):
    changes = scene_files("real_iconic_noface/two")
    changes["real_iconic_noface/two/poses_bounds.npy"] = content
    listing = listed(publish_archive(tmp_path, "real_iconic_noface", changes))
    assert list(listing.sets["real_iconic_noface"]) == ["data1_one"]
    assert "cannot be read" in listing.left_out["real_iconic_noface/two"]


def test_another_archive_under_the_right_name_is_refused(tmp_path):
    path = publish_archive(tmp_path, "real_iconic_noface").rename(tmp_path / "nerf_llff_data.zip")
    message = r"lacks fern, .*trex, expected folders nerf_llff_data/<scene>/ .* holds: real_iconic"
    with pytest.raises(ArchiveError, match=message):
        listed(path)


def test_a_known_scene_that_cannot_be_used_is_named_with_its_reason(tmp_path):
    changes = {"nerf_llff_data/fern/poses_bounds.npy": poses(5)}
    path = publish_archive(tmp_path, "nerf_llff_data", changes)
    with pytest.raises(ArchiveError, match=r"lacks fern, .* 5 rows in poses_bounds.npy"):
        listed(path)
