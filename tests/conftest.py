"""Shared by all tests: the gpu mark, the folder of reference data."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def shared_folder(name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: reference data lie beside the checkout")
    return folder


@pytest.fixture(scope="session")
def parity_folder():
    return shared_folder("parity")


@pytest.fixture(scope="session")
def captures_folder():
    return shared_folder("captures")
