import pytest

from gsn.captures.archives.archive_lock import LockedArchive, add_to_lock, read_lock

NERF = LockedArchive(5, "a" * 64, {"nerf_llff_data": {"fern": "nerf_llff_data/fern"}}, {})
IBRNET = LockedArchive(
    7,
    "b" * 64,
    {"ibrnet_collected_1": {"ibrnet1_ü": "ibrnet_collected_1/ü"}, "ibrnet_collected_2": {}},
    {"ibrnet_collected_1/x": "no photographs: none"},
)


def test_what_is_added_is_read_back_and_the_order_does_not_matter(tmp_path):
    add_to_lock(tmp_path / "one", "nerf_llff_data", NERF)
    add_to_lock(tmp_path / "one", "ibrnet_collected", IBRNET)
    add_to_lock(tmp_path / "other", "ibrnet_collected", IBRNET)
    add_to_lock(tmp_path / "other", "nerf_llff_data", NERF)
    assert read_lock(tmp_path / "one") == {"nerf_llff_data": NERF, "ibrnet_collected": IBRNET}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_no_file_knows_nothing(tmp_path):
    assert read_lock(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("archives: [", "broken YAML"),
        ("", "expected|valid"),
        ("archives: {fern: {bytes: 1, sha256: a, sets: {}, left_out: {}}}", "archive 'fern'"),
        ("archives: {nerf_llff_data: {bytes: 1, sha256: a, sets: {}, left_out: {}}}", "its sets"),
        ("archives: {nerf_llff_data: {bytes: x, sha256: a, sets: {}, left_out: {}}}", "bytes"),
        ("archives: {}\nmore: 1", "unknown key 'more'"),
        ("\xff", "lock: "),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, text, message):
    (tmp_path / "lock").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as caught:
        read_lock(tmp_path / "lock")
    assert str(tmp_path / "lock") in str(caught.value)
    assert "take it from git" in str(caught.value) or "take the file from git" in str(caught.value)
