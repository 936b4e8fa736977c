import stat
import struct
import zipfile
from pathlib import PurePosixPath

import pytest

from gsn.captures.archives.zip_file import ArchiveError, Limits, open_zip

MEGABYTE = 1 << 20


@pytest.fixture
def make(tmp_path):
    """Return what writes a zip of (name, content) pairs; names are stored as they are."""

    def write(*members, packing=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as archive:
            for member, content in members:
                info = member if isinstance(member, zipfile.ZipInfo) else zipfile.ZipInfo("x")
                if isinstance(member, str):
                    info.filename = info.orig_filename = member  # no normalising of slashes
                info.compress_type = packing
                archive.writestr(info, content)
        return tmp_path / "a.zip"

    return write


def everything(path, target, limits=None):
    with open_zip(path, limits or Limits()) as packed:
        packed.unpack(packed.below(PurePosixPath(), lambda _name: True), target)
    return {
        found.relative_to(target).as_posix(): found.read_bytes()
        for found in target.rglob("*")
        if found.is_file()
    }


def test_files_come_out_as_they_went_in(make, tmp_path):
    path = make(("a/1.jpg", b"one"), ("a/b/2.jpg", b""), ("a b/ü.jpg", b"three"))
    got = everything(path, tmp_path / "out")
    assert got == {"a/1.jpg": b"one", "a/b/2.jpg": b"", "a b/ü.jpg": b"three"}


def test_only_what_is_wanted_of_one_folder_comes_out(make, tmp_path):
    path = make(("s/a/1.jpg", b"one"), ("s/a/2.txt", b"two"), ("s/ab/1.jpg", b"other"))
    with open_zip(path) as packed:
        entries = packed.below(PurePosixPath("s/a"), lambda name: name.suffix == ".jpg")
        packed.unpack(entries, tmp_path / "out")
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["1.jpg"]


def test_what_a_mac_adds_and_hidden_files_are_left_out(make, tmp_path):
    path = make(
        *(("a/1.jpg", b"one"), ("__MACOSX/a/._1.jpg", b""), ("a/.DS_Store", b"")),
        *(("a/Icon\r", b""), (".git/config", b"")),
    )
    assert everything(path, tmp_path / "out") == {"a/1.jpg": b"one"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil", "leads out of the folder"),
        ("a/../../evil", "leads out of the folder"),
        ("/etc/evil", "leads out of the folder"),
        ("//host/evil", "leads out of the folder"),
        ("C:/evil", "plain relative path"),
        ("C:evil", "plain relative path"),
        ("..\\evil", "plain relative path"),
        ("a\\b", "plain relative path"),
        ("a\nb", "control characters"),
        ("a\x00b", "control characters"),
        ("a\rb", "control characters"),
        ("a\x1b[2Jb", "control characters"),
    ],
)
def test_names_that_are_no_plain_paths_refuse_the_archive(make, tmp_path, name, message):
    path = make(("good", b"1"), (name, b"2"))
    with pytest.raises(ArchiveError, match=message):
        everything(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert {found.name for found in tmp_path.iterdir()} == {"a.zip"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_refuse_the_archive(make, tmp_path, kind):
    info = zipfile.ZipInfo("a/link")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(ArchiveError, match="'a/link' is a link or a special file"):
        everything(make((info, b"/etc/passwd")), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a/1.jpg", "a//1.jpg", "./a/1.jpg"])
def test_a_file_that_stands_twice_refuses_the_archive(make, tmp_path, twin):
    with pytest.raises(ArchiveError, match=r"'a/1.jpg' stands twice"):
        everything(make(("a/1.jpg", b"one"), (twin, b"two")), tmp_path / "out")


@pytest.mark.parametrize(
    ("one", "other"), [("a/1.jpg", "A/1.JPG"), ("ß.jpg", "SS.jpg"), ("a/b", "a/b/c")]
)
def test_names_that_cannot_lie_in_one_folder_refuse_it(make, tmp_path, one, other):
    with pytest.raises(ArchiveError, match="cannot lie in one folder"):
        everything(make((one, b"1"), (other, b"2")), tmp_path / "out")


def test_an_encrypted_entry_refuses_the_archive(make, tmp_path):
    path = make(("a", b"1"), packing=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="'a' is encrypted"):
        everything(path, tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(make, tmp_path):
    path = make(("a/bomb", bytes(50 * MEGABYTE)))
    assert path.stat().st_size < 100_000
    with pytest.raises(ArchiveError, match=r"'a/bomb' unpacks from \d+ to 52428800 bytes"):
        everything(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_file_may_be_packed_well(make, tmp_path):
    assert everything(make(("zeros", bytes(MEGABYTE))), tmp_path / "out")["zeros"] == bytes(
        MEGABYTE
    )


def test_a_bomb_that_announces_few_bytes_yields_no_more_than_these(make, tmp_path):
    path = make(("bomb", bytes(50 * MEGABYTE)))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        assert struct.unpack_from("<I", data, at) == (50 * MEGABYTE,)
        struct.pack_into("<I", data, at, 1000)
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        everything(path, tmp_path / "out")
    assert (tmp_path / "out" / "bomb").stat().st_size <= 1000


def test_a_file_with_fewer_bytes_than_it_announces_is_refused(make, tmp_path):
    path = make(("a", b"1234"))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 5)
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="'a' has not the 5 bytes it announces"):
        everything(path, tmp_path / "out")


def test_too_many_entries_and_too_many_bytes_are_refused(make, tmp_path):
    path = make(*((str(number), b"1234") for number in range(10)))
    with pytest.raises(ArchiveError, match="10 entries, expected at most 9"):
        everything(path, tmp_path / "out", Limits(entries=9))
    with pytest.raises(ArchiveError, match="40 bytes unpacked, expected at most 39"):
        everything(path, tmp_path / "out", Limits(unpacked_bytes=39))
    assert len(everything(path, tmp_path / "out", Limits(entries=10, unpacked_bytes=40))) == 10


def test_entries_that_share_their_bytes_are_refused(make, tmp_path):
    path = make(("a", bytes(range(256)) * 8), ("b", b""), packing=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", data, second + 20, 2048, 2048)  # sizes of the first entry
    struct.pack_into("<I", data, second + 42, 0)  # and its place
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="entries overlap"):
        everything(path, tmp_path / "out")


def test_every_damaged_byte_of_a_file_is_noticed(make, tmp_path):
    content = bytes(range(256))
    whole = make(("a", content), packing=zipfile.ZIP_STORED).read_bytes()
    start = whole.index(content)
    for number in (0, 100, 255):
        data = bytearray(whole)
        data[start + number] ^= 0x10
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(ArchiveError, match=r"a\.zip: damaged \(Bad CRC-32"):
            everything(tmp_path / "a.zip", tmp_path / str(number))
        with open_zip(tmp_path / "a.zip") as packed, pytest.raises(ArchiveError):
            packed.test(lambda _n: None)


def test_a_whole_archive_passes_the_test_and_tells_its_bytes(make):
    seen = []
    with open_zip(make(("a", b"123"), ("b", b"4567"))) as packed:
        packed.test(seen.append)
    assert seen == [3, 4]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_a_file_cut_off_is_refused(make, tmp_path, share):
    path = make(*((f"{n}.jpg", bytes(range(256)) * 8) for n in range(20)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArchiveError, match="not a zip file, or cut off"):
        everything(path, tmp_path / "out")


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"Rar!" + bytes(1000))
    with pytest.raises(ArchiveError, match="not a zip file"), open_zip(tmp_path / "a.zip"):
        pass


def test_flipped_bytes_anywhere_never_end_in_a_traceback(make, tmp_path):
    content = b"photograph " * 30
    whole = make(("s/1.jpg", content), ("s/2.jpg", b"x")).read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 0xFF
        (tmp_path / "a.zip").write_bytes(data)
        try:
            got = everything(tmp_path / "a.zip", tmp_path / str(at))
        except (ArchiveError, OSError):
            continue
        # A flip in a time or an attribute is not noticed; what comes out is what went in.
        assert set(got.values()) <= {content, b"x"}


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_nobody_uses_for_photographs_are_refused(make, tmp_path, packing):
    with pytest.raises(ArchiveError, match=r"a\.zip: entry '1\.jpg' is packed in an unusual way"):
        everything(make(("1.jpg", b"one"), packing=packing), tmp_path / "out")


@pytest.mark.parametrize("name", ["a/" * 5000 + "1.jpg", "n" * 1001])
def test_names_deeper_or_longer_than_any_folder_has_are_refused_in_a_short_line(
    make, tmp_path, name
):
    with pytest.raises(ArchiveError, match="at most 1000 characters and 32 folders") as raised:
        everything(make((name, b"one")), tmp_path / "out")
    assert len(str(raised.value)) < 400
