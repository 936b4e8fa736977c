import pytest
import torch

from pipeline.device import pick_device


@pytest.fixture
def machine(monkeypatch):
    """Let there be so many CUDA devices."""

    def with_gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return with_gpus


@pytest.mark.parametrize(("count", "expected"), [(0, "cpu"), (1, "cuda:0"), (4, "cuda:0")])
def test_auto_is_the_first_gpu_or_the_cpu(machine, count, expected):
    machine(count)
    assert str(pick_device("auto")) == expected


def test_named_devices_are_taken_if_they_are_there(machine):
    machine(2)
    names = ["cpu", "cuda", "cuda:0", "cuda:1"]
    assert [str(pick_device(name)) for name in names] == ["cpu", "cuda:0", "cuda:0", "cuda:1"]


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_refused_with_what_is(machine, name, count):
    machine(count)
    with pytest.raises(ValueError, match=rf"'{name}': found {count} CUDA devices; use auto or cpu"):
        pick_device(name)


@pytest.mark.parametrize(
    "name", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1.0", "cuda:²", "cpu:0", "cuda0", "mps"]
)
def test_other_names_are_refused_with_those_that_are_known(machine, name):
    machine(2)
    with pytest.raises(ValueError, match=r"expected auto, cpu, cuda or cuda:<number>") as error:
        pick_device(name)
    assert repr(name) in str(error.value)


def test_a_machine_whose_driver_does_not_work_has_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert str(pick_device("auto")) == "cpu"
