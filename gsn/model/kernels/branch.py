"""What is made of weights alone, beside what is made of samples.

Products of weights are some hundred launches of a few microseconds each, in which the GPU has next
to nothing to do. On a stream of their own a recorded step (`gsn.training.cuda_graphs`) runs them,
and their gradients, while it is busy with samples.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from gsn.model.kernels.common import behind_norm

Made = TypeVar("Made", bound=tuple[Any, ...])  # of tensors, of None, and of such tuples


class Branch:
    """The second stream of one pass; without gradients, and elsewhere than on a GPU, the same one.

    Always the same stream of a device: autograd adds up the gradient of a weight where the weight
    was first used.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin after all that was queued so far, the last change of the weights for one thing."""
        self._streams = None
        if device.type == "cuda" and torch.is_grad_enabled():
            self._streams = torch.cuda.current_stream(device), _second_stream(device)
            self._streams[1].wait_stream(self._streams[0])

    def make(self, tensors: Callable[[], Made]) -> Made:
        """Return what a function makes; all that is queued from here on may use it.

        It must begin with the weights as they are: of what this pass has made of them on its first
        stream, the second one does not know whether it is there yet.
        """
        if self._streams is None:
            return tensors()
        main, second = self._streams
        with torch.cuda.stream(second):
            made = tensors()
        main.wait_stream(second)
        for tensor in _flat(made):
            tensor.record_stream(main)
        return made

    def behind_norm(
        self,
        norm: torch.nn.LayerNorm,
        weight: Tensor,  # (CO, CI)
        bias: Tensor | None,  # (CO,)
    ) -> tuple[Tensor, Tensor]:  # (CO, CI), (CO,)
        """Return a layer as `gsn.model.kernels.common.behind_norm` does, of weights as they are."""
        return self.make(lambda: behind_norm(norm, weight, bias))


def _flat(made: tuple[Any, ...]) -> Iterator[Tensor]:
    for part in made:
        if isinstance(part, tuple):
            yield from _flat(part)
        elif part is not None:
            yield part


@cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
