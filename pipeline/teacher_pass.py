"""One pass of a teacher over many views, with the reading of photographs ahead of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from tqdm import tqdm

from gsn.captures.survey import View, photographs
from gsn.features.stream import ahead, batched
from gsn.teachers.teacher import Teacher

# On CUDA: 16 photographs of 378 × 504, enough to keep an H100 busy with a ViT-S.
BATCH_PX = 16 * 378 * 504
MAX_BATCH = 32  # of small photographs, since a batch is always filled up


def batch_size(height: int, width: int, device: torch.device) -> int:
    """How many photographs of a size pass the network at once: always as many.

    One on the CPU, where more bring no speed.
    """
    if device.type != "cuda":
        return 1
    return min(MAX_BATCH, max(1, BATCH_PX // (height * width)))


@contextmanager
def teacher_pass(
    views: list[View], teacher: Teacher, device: torch.device, title: str
) -> Iterator[Iterator[tuple[list[View], Tensor]]]:
    """Give the features (n, h, w, C) of n views after n views, on the device, in order of size.

    The order and the batches are those of the views alone, so that equal views give equal bits.
    """
    in_order = sorted(views, key=lambda view: view.pack.image_size)  # stable: scenes stay together
    batches = batched(
        photographs(in_order),
        lambda height, width: batch_size(height, width, device),
        pin=device.type == "cuda",
    )
    with (
        ahead(batches) as drawn,
        tqdm(total=len(views), desc=title, unit="view", disable=not views) as progress,
    ):

        def features() -> Iterator[tuple[list[View], Tensor]]:
            for batch in drawn:
                images = batch.images.to(device, non_blocking=True)
                yield batch.items, teacher(images)[: len(batch.items)]
                progress.update(len(batch.items))

        yield features()
