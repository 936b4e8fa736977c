"""One pass of a teacher over many views, with the reading of photographs ahead of it."""

from collections.abc import Generator
from contextlib import closing

import torch
from torch import Tensor

from gsn.captures.survey import View, photographs
from gsn.extraction.batches import batch_size, batched
from gsn.teachers.teacher import Teacher
from gsn.threads import draw_in_thread

BATCHES_AHEAD = 3


def features_of(
    views: list[View], teacher: Teacher, device: torch.device
) -> Generator[tuple[list[View], Tensor], None, None]:
    """Yield the features (n, h, w, C) of n views after n views, on the device, in order of size.

    The order and the batches are those of the views alone, so that equal views give equal bits.
    """
    in_order = sorted(views, key=lambda view: view.pack.image_size)  # stable: scenes stay together
    batches = batched(
        photographs(in_order),
        lambda height, width: batch_size(height, width, device),
        pin=device.type == "cuda",
    )
    with closing(draw_in_thread(batches, BATCHES_AHEAD)) as drawn:
        for batch in drawn:
            images = batch.images.to(device, non_blocking=True)
            yield batch.items, teacher(images)[: len(batch.items)]
