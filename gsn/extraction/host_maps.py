"""Feature maps on their way from a device to the host, while the device computes the next ones."""

import torch
from torch import Tensor

from gsn.features.store import HalfArray


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream to copy on while the device computes; None if it is no CUDA device."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class HostMaps:
    """Maps on their way from a device to the host."""

    def __init__(self, maps: Tensor, stream: torch.cuda.Stream | None) -> None:
        """Start the copy.

        Args:
            maps: (n, h, w, C) float16.
            stream: From `side_stream`.
        """
        finite = torch.isfinite(maps).flatten(1).all(dim=1)  # numpy takes as long as the disk
        self._ready: torch.cuda.Event | None = None
        if stream is None:
            self._maps, self._finite = maps, finite
            return
        stream.wait_stream(torch.cuda.current_stream(maps.device))
        with torch.cuda.stream(stream):
            self._maps, self._finite = (_to_pinned(part, stream) for part in (maps, finite))
        self._ready = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._ready.record(stream)

    def arrived(self) -> tuple[HalfArray, list[bool]]:  # (n, h, w, C), n
        """Wait for the copy; return the maps, and whether all values of each are finite."""
        if self._ready is not None:
            self._ready.synchronize()
        return self._maps.numpy(), self._finite.tolist()


def _to_pinned(part: Tensor, stream: torch.cuda.Stream) -> Tensor:
    part.record_stream(stream)
    pinned = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
    return pinned.copy_(part, non_blocking=True)
