import pytest
import torch

from gsn.training.finite_steps import FiniteSteps

CPU = torch.device("cpu")


@pytest.fixture
def weight():
    return torch.nn.Parameter(torch.tensor([1.0, 2.0]))


def judged(finite, weight, gradients):
    """Let it judge one step after the other; return which were left out."""
    found = []
    for gradient in gradients:
        weight.grad = torch.tensor([0.5, gradient])
        finite.judge([weight])
        found.append(float(finite.left_out))
    return found


def test_a_gradient_is_finite_if_all_its_numbers_are(weight):
    finite = FiniteSteps(torch.optim.Adam([weight], fused=True), CPU)
    gradients = [1.0, torch.nan, torch.inf, -torch.inf, 1e10, 0.0]
    assert judged(finite, weight, gradients) == [0, 1, 1, 1, 0, 0]


def test_adam_goes_on_after_a_step_left_out_as_if_it_had_not_been(weight):
    def run(gradients):
        trained = torch.nn.Parameter(weight.detach().clone())
        adam = torch.optim.Adam([trained], lr=0.1, fused=True)
        finite = FiniteSteps(adam, CPU)
        for gradient in gradients:
            judged(finite, trained, [gradient])
            adam.step()
        return trained.detach()

    assert torch.equal(run([1.0, torch.nan, -3.0, torch.inf]), run([1.0, -3.0]))
    assert not torch.equal(run([1.0, -3.0]), run([1.0]))


def test_a_value_of_a_step_left_out_counts_nothing(weight):
    finite = FiniteSteps(torch.optim.Adam([weight], fused=True), CPU)
    judged(finite, weight, [torch.nan])
    assert float(finite.masked(torch.tensor(torch.nan))) == 0
    judged(finite, weight, [1.0])
    assert float(finite.masked(torch.tensor(7.0))) == 7


def test_ten_steps_left_out_in_a_row_are_too_many(weight):
    finite = FiniteSteps(torch.optim.Adam([weight], fused=True), CPU)
    judged(finite, weight, [torch.nan] * 9)
    finite.check(9)
    judged(finite, weight, [torch.nan])
    with pytest.raises(ValueError, match=r"step 10: 10 steps in a row had no finite gradient"):
        finite.check(10)
    judged(finite, weight, [1.0] + [torch.nan] * 9)
    finite.check(20)
