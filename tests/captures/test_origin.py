import pytest

from gsn.captures.origin import (
    OriginError,
    check_unchanged,
    files_below,
    is_up_to_date,
    write_stamp,
)

ORIGIN = {"kind": "made up", "settings": {"seed": 1}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a")
    (tmp_path / "poses.npy").write_bytes(b"p")
    write_stamp(tmp_path, ORIGIN)
    return tmp_path


def test_a_stamped_folder_is_up_to_date_for_its_origin_alone(folder):
    assert is_up_to_date(folder, ORIGIN)
    assert not is_up_to_date(folder, ORIGIN | {"settings": {"seed": 2}})
    assert not is_up_to_date(folder / "nowhere", ORIGIN)


def test_a_changed_a_missing_and_a_new_file_are_noticed(folder):
    image = folder / "images" / "a.png"
    image.write_bytes(b"b")
    assert not is_up_to_date(folder, ORIGIN)
    image.write_bytes(b"a")
    assert is_up_to_date(folder, ORIGIN)
    image.with_name("b.png").touch()
    assert not is_up_to_date(folder, ORIGIN)
    image.with_name("b.png").unlink()
    image.unlink()
    assert not is_up_to_date(folder, ORIGIN)


def test_hidden_files_do_not_count(folder):
    (folder / ".DS_Store").touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").touch()
    assert is_up_to_date(folder, ORIGIN)
    assert [path.name for path in files_below(folder)] == ["a.png", "poses.npy"]


def test_a_broken_stamp_is_no_stamp(folder):
    (folder / "source.json").write_text("{")
    assert not is_up_to_date(folder, ORIGIN)


def test_a_flip_of_any_byte_of_the_stamp_is_noticed(folder):
    path = folder / "source.json"
    whole = path.read_bytes()
    for offset in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << bit
            path.write_bytes(flipped)
            assert not is_up_to_date(folder, ORIGIN)
    path.write_bytes(whole)
    assert is_up_to_date(folder, ORIGIN)


def test_damaged_and_missing_files_are_named(folder):
    check_unchanged(folder)
    poses = folder / "poses.npy"
    poses.write_bytes(b"q")
    with pytest.raises(OriginError, match=r"poses\.npy: damaged, or .*source\.json is"):
        check_unchanged(folder)
    check_unchanged(folder, "images")
    poses.unlink()
    with pytest.raises(OriginError, match=r"poses\.npy: missing, but .*source\.json names it"):
        check_unchanged(folder)
    (folder / "images" / "a.png").write_bytes(b"b")
    with pytest.raises(OriginError, match=r"a\.png: damaged"):
        check_unchanged(folder, "images")


def test_files_that_were_added_and_folders_without_a_stamp_are_let_be(folder):
    (folder / "prompts").mkdir()
    (folder / "prompts" / "cup.yaml").write_text("mine")
    check_unchanged(folder)
    check_unchanged(folder, "prompts")
    (folder / "source.json").unlink()
    check_unchanged(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files": 3}', '{"files": {"a": [1]}}'])
def test_a_damaged_stamp_is_named(folder, text):
    (folder / "source.json").write_text(text)
    with pytest.raises(OriginError, match=r"source\.json"):
        check_unchanged(folder)


def test_the_stamp_says_nothing_of_place_or_time(folder):
    assert str(folder) not in (folder / "source.json").read_text()
    assert '"seed": 1' in (folder / "source.json").read_text()


def test_links_to_folders_are_followed_but_not_back(folder):
    before = files_below(folder)
    (folder / "linked").symlink_to(folder / "images")
    (folder / "images" / "back").symlink_to(folder)
    linked = [path for path in before if path.parent == folder / "images"]
    assert linked
    added = [folder / "linked" / path.name for path in linked]
    assert files_below(folder) == sorted([*before, *added])
