"""Render one view of a scene: colour as a camera would develop it, mask and depth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gsn.captures.capture import ByteArray
from gsn.captures.synthetic.cameras import pixel_rays
from gsn.captures.synthetic.shading import Shader
from gsn.captures.synthetic.tracer import Hits, trace

CHUNK = 2**17  # rays at a time: bounds the memory
VIGNETTE = 0.13  # light lost in the corners


@dataclass(frozen=True)
class Picture:
    """One view with its ground truth."""

    rgb: ByteArray  # (H, W, 3)
    mask: ByteArray  # (H, W), k for object k counted from 1, 0 elsewhere
    depth: npt.NDArray[np.float32]  # (H, W), along the optical axis, at the pixel's centre


@torch.inference_mode()
def take_picture(
    shader: Shader, view: int, width_px: int, height_px: int, samples_per_side: int
) -> Picture:
    """Render view number `view` of the shader's scene."""
    cameras = shader.scene.cameras
    pose, focal_px = cameras.cam_to_world[view], cameras.focal * width_px
    size = (width_px, height_px)
    origin, direction, cosine = pixel_rays(pose, focal_px, *size, 1, shader.device)
    hits = _trace(shader, origin, direction)
    n = samples_per_side
    if n > 1:
        origin, direction, _ = pixel_rays(pose, focal_px, *size, n, shader.device)
    light = [
        shader.radiance(origin, part, found)
        for part, found in zip(
            _chunks(direction),
            _chunks_of(hits) if n == 1 else _trace_chunks(shader, origin, direction),
            strict=True,
        )
    ]
    samples = torch.cat(light, dim=1).reshape(3, height_px, n, width_px, n)
    return Picture(
        rgb=_develop(samples * shader.scene.exposure),
        mask=hits.surface.clamp(min=0).reshape(height_px, width_px).to(torch.uint8).cpu().numpy(),
        depth=(hits.t * cosine).reshape(height_px, width_px).cpu().numpy(),
    )


def _trace_chunks(shader: Shader, origin: Tensor, direction: Tensor) -> Iterator[Hits]:
    for part in _chunks(direction):
        yield trace(shader.bodies, shader.scene.room, origin, part)


def _chunks_of(hits: Hits) -> Iterator[Hits]:
    for t, surface in zip(
        torch.split(hits.t, CHUNK), torch.split(hits.surface, CHUNK), strict=True
    ):
        yield Hits(t, surface)


def _trace(shader: Shader, origin: Tensor, direction: Tensor) -> Hits:
    parts = list(_trace_chunks(shader, origin, direction))
    return Hits(torch.cat([h.t for h in parts]), torch.cat([h.surface for h in parts]))


def _chunks(direction: Tensor) -> list[Tensor]:
    starts = range(0, direction.shape[1], CHUNK)
    return [direction[:, start : start + CHUNK] for start in starts]


def _develop(
    samples: Tensor,  # (3, H, n, W, n), linear
) -> ByteArray:  # (H, W, 3)
    """Turn light into an sRGB picture: corner shading, a shoulder for highlights, mean, curve."""
    _, height, _, width, _ = samples.shape
    y = (torch.arange(height, device=samples.device) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=samples.device) + 0.5) / width * 2 - 1
    corner = (y[:, None] ** 2 + x**2) / 2
    light = samples * (1 - VIGNETTE * corner**2)[:, None, :, None]
    knee = 0.6
    over = (light - knee).clamp(min=0) / (1 - knee)
    light = (light.clamp(max=knee) + (1 - knee) * (1 - torch.exp(-over))).mean(dim=(2, 4))
    curve = torch.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-6) ** (1 / 2.4) - 0.055
    )
    return (curve * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
