import pytest
import torch

from gsn.training.batch_queue import BatchQueue
from gsn.training.batches import draw_batch
from gsn.training.generators import Generators
from gsn.training.residence import Residence

CPU = torch.device("cpu")


@pytest.fixture
def make_queue(make_scene, make_model, make_training):
    def build(seed=0, device=CPU, limit_bytes=None):
        residence = Residence(device, limit_bytes)
        scenes = [residence.place(make_scene(name, seed=k)) for k, name in enumerate("ab")]
        model, config = make_model(4).to(device), make_training().batch
        return BatchQueue(scenes, model, config, Generators.seeded(seed, device))

    return build


def assert_same(one, other):
    assert one.choice.scene == other.choice.scene
    for first, second in zip(one.tensors, other.tensors, strict=True):
        assert torch.equal(first.cpu(), second.cpu())


def test_drawing_ahead_changes_no_batch(make_queue, make_scene, make_model, make_training):
    scenes = [make_scene(name, seed=k) for k, name in enumerate("ab")]
    generators, queue = Generators.seeded(0, CPU), make_queue()
    for ahead in (True, False, True, True, False, False):
        expected = draw_batch(scenes, make_model(4), make_training().batch, generators)
        assert_same(queue.take(), expected)
        if ahead:
            queue.draw_ahead()
            queue.draw_ahead()  # draws no second one


@pytest.mark.parametrize("ahead", [True, False])
def test_the_state_is_that_of_the_next_batch_taken_drawn_or_not(make_queue, ahead):
    queue = make_queue()
    queue.take()
    if ahead:
        queue.draw_ahead()
    state = queue.state()
    following = [queue.take() for _ in range(3)]
    resumed = make_queue(seed=9)
    resumed.draw_ahead()  # dropped by what comes next
    resumed.restore(state)
    for batch in following:
        assert_same(resumed.take(), batch)


@pytest.mark.gpu
def test_batches_of_a_resident_and_of_a_pinned_data_set_are_bit_identical(make_queue):
    device = torch.device("cuda:0")
    resident, pinned = make_queue(device=device), make_queue(device=device, limit_bytes=0)
    for _ in range(20):
        one, other = resident.take(), pinned.take()
        resident.draw_ahead()
        pinned.draw_ahead()
        assert_same(one, other)


@pytest.mark.gpu
def test_a_batch_is_whole_until_its_step_is_done(make_queue):
    """The step is slow and the host far ahead: memory of a batch must not be used again too early.

    What each step copies out of its batch late is compared with batches drawn one by one.
    """
    device = torch.device("cuda:0")
    slow = torch.ones(4096, 4096, device=device)
    queue, kept = make_queue(device=device, limit_bytes=0), []
    for _ in range(12):
        batch = queue.take()
        queue.draw_ahead()
        for _ in range(4):
            slow = (slow @ slow).clamp(max=1)
        kept.append([tensor.clone() for tensor in batch.tensors])
        del batch
    again = make_queue(device=device)
    for copies in kept:
        torch.cuda.synchronize()
        for one, other in zip(copies, again.take().tensors, strict=True):
            assert torch.equal(one, other)
