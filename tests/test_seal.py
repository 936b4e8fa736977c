import io
import zipfile

import h5py
import numpy as np
import pytest
import torch

from gsn.seal import LENGTH, SealError, check_seal, has_seal, write_sealed


def crc32c_by_loop(content):
    """Reference: Castagnoli's polynomial, reflected, one bit at a time (RFC 3720, B.4)."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"123456789", bytes(range(256)) * 5000])
def test_the_last_bytes_are_the_checksum_of_all_others(tmp_path, content):
    path = tmp_path / "file"
    write_sealed(path, content)
    assert path.read_bytes() == content + f"\nCRC-32C {crc32c_by_loop(content):08x}".encode()
    check_seal(path)


def test_a_published_checksum_comes_out(tmp_path):
    write_sealed(tmp_path / "file", b"123456789")
    assert (tmp_path / "file").read_bytes().endswith(b"e3069283")  # the check value of CRC-32C


def test_readers_of_zip_and_hdf5_do_not_mind(tmp_path):
    path = tmp_path / "file"
    write_sealed(path, npz(a=np.arange(5)))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["a"], np.arange(5))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == path.read_bytes()[-LENGTH:]

    content = io.BytesIO()
    torch.save({"a": torch.arange(5)}, content)
    write_sealed(path, content.getbuffer())
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 1, 2, 3, 4]

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["a"] = np.arange(5)
    write_sealed(path, content.getvalue())
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["a"][:], np.arange(5))


def test_every_flip_of_a_bit_is_found(tmp_path):
    path = tmp_path / "file.npz"
    write_sealed(path, npz(a=np.arange(3, dtype=np.uint8)))
    whole = path.read_bytes()
    for offset in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(SealError, match=r"file\.npz: damaged"):
                check_seal(path)


def test_cut_short_prolonged_and_unsealed_files_are_refused(tmp_path):
    path = tmp_path / "file"
    write_sealed(path, b"content")
    whole = path.read_bytes()
    for content in (b"", whole[:3], whole[:-1], whole + b"\0", b"content"):
        path.write_bytes(content)
        assert not has_seal(path)
        with pytest.raises(KeyError, match="does not end with its checksum"):
            check_seal(path, KeyError)
    path.write_bytes(whole[1:])
    with pytest.raises(SealError, match="its checksum differs"):
        check_seal(path)
    with pytest.raises(FileNotFoundError):
        check_seal(tmp_path / "none")
