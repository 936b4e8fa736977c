"""The DINO objective, for pictures and for patches.

A student learns to give the probabilities over prototypes that its own running mean, the teacher,
gives for another crop. The teacher's are centred and sharpened, so that they neither all agree nor
all spread out (Caron et al. 2021, arXiv 2104.14294, eq. 1-4). Patches are treated alike: that of a
student's crop and what the teacher sees at the same surface point in another crop of the picture,
or in a picture from elsewhere, must agree; so must patches that are hidden from the student (Zhou
et al. 2021, iBOT, arXiv 2111.07832).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.teachers.demo.networks import WIDTH, create_dino_demo

PROTOTYPES = 1024
HEAD_WIDTH, BOTTLENECK = 512, 128
STUDENT_TEMPERATURE = 0.1
CENTRE_MOMENTUM = 0.95


class Head(nn.Module):
    """A small MLP and cosines with prototypes (arXiv 2104.14294, appendix C)."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, HEAD_WIDTH),
            nn.GELU(),
            nn.Linear(HEAD_WIDTH, HEAD_WIDTH),
            nn.GELU(),
            nn.Linear(HEAD_WIDTH, BOTTLENECK),
        )
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, BOTTLENECK))

    def forward(
        self,
        tokens: Tensor,  # (..., WIDTH)
    ) -> Tensor:  # (..., PROTOTYPES)
        """Return the cosine with every prototype."""
        directions = functional.normalize(self.mlp(tokens).float(), dim=-1)
        # In the type of autocast: the largest product of a step.
        return functional.linear(directions, functional.normalize(self.prototypes, dim=-1))


class Branch(nn.Module):
    """A ViT with a head for its class token and one for its patch tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.vit: Any = create_dino_demo()
        self.hidden = nn.Parameter(torch.randn(WIDTH) * 0.02)  # in place of a hidden patch
        self.picture_head, self.patch_head = Head(), Head()

    def forward(
        self,
        images: Tensor,  # (B, 3, H, W)
        hide: Tensor | None = None,  # (B, h, w) bool
    ) -> tuple[Tensor, Tensor]:  # (B, K), (B, h, w, K)
        """Return the cosines of picture and patches with their prototypes."""
        patches = self.vit.patch_embed(images)  # (B, h, w, C)
        rows, columns = patches.shape[1:3]
        if hide is not None:
            patches = torch.where(hide[..., None], self.hidden.to(patches.dtype), patches)
        tokens = self.vit.norm(self.vit.blocks(self.vit._pos_embed(patches)))
        seen = tokens[:, 1:].unflatten(1, (rows, columns))
        return self.picture_head(tokens[:, 0]), self.patch_head(seen)


class Target(nn.Module):
    """Turns a teacher's cosines into probabilities: centred on their running mean, sharpened."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(PROTOTYPES))

    def forward(self, cosines: Tensor, temperature: float) -> Tensor:
        """Return probabilities, and move the centre towards this batch."""
        mean = cosines.flatten(0, -2).float().mean(dim=0)
        probabilities = ((cosines - self.centre) / temperature).softmax(dim=-1)
        self.centre.lerp_(mean, 1 - CENTRE_MOMENTUM)
        return probabilities


def cross_entropy(
    cosines: Tensor,  # (..., K), of the student
    target: Tensor,  # (..., K), probabilities
    counted: Tensor | None = None,  # (...) bool
) -> Tensor:  # ()
    """Return the mean cross entropy of the student's probabilities, over what is counted."""
    losses = -(target * (cosines / STUDENT_TEMPERATURE).log_softmax(dim=-1)).sum(dim=-1)
    if counted is None:
        return losses.mean()
    return (losses * counted).sum() / counted.sum().clamp(min=1)


class Pair:
    """Student, teacher, and their targets."""

    def __init__(self, device: torch.device) -> None:
        self.student = Branch().to(device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.of_pictures, self.of_patches = Target().to(device), Target().to(device)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student (arXiv 2104.14294, section 3.1)."""
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - momentum)
