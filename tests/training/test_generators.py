import torch

from gsn.training.generators import Generators

CPU = torch.device("cpu")


def numbers(generators):
    return [torch.rand(4, generator=one).tolist() for one in (generators.host, generators.device)]


def test_a_seed_gives_two_streams_that_differ_and_come_again():
    host, device = numbers(Generators.seeded(3, CPU))
    assert not set(host) & set(device)
    assert numbers(Generators.seeded(3, CPU)) == [host, device]
    assert not any(map(list.__eq__, numbers(Generators.seeded(4, CPU)), [host, device]))


def test_a_state_brings_both_back():
    generators = Generators.seeded(0, CPU)
    numbers(generators)
    state = generators.state()
    ahead = numbers(generators)
    assert numbers(generators) != ahead
    generators.restore(state)
    assert numbers(generators) == ahead
    other = Generators.seeded(8, CPU)
    other.restore(state)
    assert numbers(other) == ahead


def test_drawing_on_the_device_leaves_the_host_alone():
    one, other = Generators.seeded(0, CPU), Generators.seeded(0, CPU)
    torch.rand(100, generator=one.device)
    assert torch.equal(one.state()["host"], other.state()["host"])


def test_a_run_of_another_kind_of_device_goes_on_with_other_numbers(caplog):
    generators = Generators.seeded(0, CPU)
    state = generators.state()
    host = numbers(generators)[0]
    elsewhere = state | {"device": torch.zeros(16, dtype=torch.uint8)}  # as CUDA's are
    found = []
    for _ in range(2):
        generators.restore(elsewhere)
        found.append(numbers(generators))
    assert "another kind of device" in caplog.text
    assert found[0] == found[1]
    assert found[0][0] == host
    assert not set(found[0][1]) & set(host)
