"""The whole model: encoder, renderer and, in stage II, the feature head."""

import dataclasses
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from gsn.geometry.cameras import PIXEL_CENTRE, REFERENCE_PIXEL_CENTRE, Cameras
from gsn.geometry.rays import Rays, sample_depths
from gsn.model.encoder import Encoder
from gsn.model.feature_head import FeatureHead
from gsn.model.kernels.choice import (
    compute_dtype,
    kernels_run_on,
    kernels_take,
    launched_on,
)
from gsn.model.renderer import Renderer
from gsn.model.sources import SourceViews, TeacherMaps, observe

_Rendered = tuple[Tensor, Tensor | None, Tensor | None]  # colour, feature, depth weights
MIN_WIDTH = 8  # the inner layers of a view block are an eighth as wide


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class ModelConfig:
    """Section `pretrain.model` of params.yaml. The published sizes stand behind each line."""

    encoder_width: PositiveInt  # channels after the first convolution; 64
    encoder_blocks: tuple[PositiveInt, PositiveInt, PositiveInt]  # in its stages; 3, 4, 6
    encoder_channels: PositiveInt  # of the encoder's map; 32
    width: PositiveInt  # of a token; 64
    depth: PositiveInt  # pairs of a view and a ray block; 4
    heads: PositiveInt  # of a ray block; 4
    samples: PositiveInt  # along a ray; 192
    inverse_depth: bool  # samples even in 1/z (or in z); true
    dropout: Annotated[float, Field(ge=0, lt=1)]  # 0.1
    parity: bool  # repeat the faults of the published code, for its checkpoints; true

    def __post_init__(self) -> None:
        if self.width < MIN_WIDTH or self.width % self.heads:
            raise ValueError(
                f"width {self.width} with {self.heads} heads: expected at least {MIN_WIDTH}, and a "
                "multiple of the number of heads"
            )


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What was rendered for R rays."""

    rgb: Tensor  # (R, 3), not clamped
    feature: Tensor | None = None  # (R, D), not normalised; without a feature head None
    depth_weights: Tensor | None = None  # (R, S), sum to 1
    depth: Tensor | None = None  # (R,), along the optical axis


class GsnModel(nn.Module):
    """Generalisable radiance field; `feature_channels` adds the feature head of stage II."""

    def __init__(self, config: ModelConfig, feature_channels: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.feature_channels = feature_channels
        self.use_kernels = True  # where they run; a fact of the machine, not of the model
        c = config
        self.encoder = Encoder(c.encoder_width, c.encoder_blocks, c.encoder_channels, c.parity)
        self.renderer = Renderer(
            3 + c.encoder_channels, c.width, c.depth, c.heads, c.dropout, c.parity
        )
        self.feature_head = (
            FeatureHead(c.width, feature_channels, c.heads, c.dropout, c.parity)
            if feature_channels
            else None
        )

    @property
    def pixel_centre(self) -> float:
        """Where rays leave a pixel, see `gsn.geometry.cameras`."""
        return REFERENCE_PIXEL_CENTRE if self.config.parity else PIXEL_CENTRE

    def encode(
        self,
        cameras: Cameras,
        images: Tensor,  # (V, 3, H, W) in [0, 1]
        teacher: TeacherMaps | None = None,
    ) -> SourceViews:
        """Run the encoder over the source photos; the result serves any number of rays."""
        if self.runs_kernels_on(images.device):
            from gsn.model.kernels.encode import fast_encode  # needs Triton

            with launched_on(images.device):
                encoded = fast_encode(self.encoder, images)
            return SourceViews(cameras, images, encoded, teacher)
        return SourceViews(cameras, images, self.encoder(images), teacher)

    def depths(self, near: Tensor, far: Tensor) -> Tensor:  # (S,)
        """Return the depths at which this model samples a ray."""
        return sample_depths(near, far, self.config.samples, self.config.inverse_depth)

    def forward(
        self,
        sources: SourceViews,
        rays: Rays,
        depths: Tensor,  # (R, S)
        with_depth: bool = False,
        with_feature: bool = True,
    ) -> Rendering:
        """Render colour and, with a feature head, the teacher's feature of every ray.

        `with_depth` adds the depth of the surface that colours are blended at; in `parity` mode,
        which has none, the depth that the last ray block attends to: the mean over its heads and
        over its query rows, since the colour is a mean over the rows too.
        `with_feature=False` leaves the head out, and needs no teacher maps.
        """
        head = self.feature_head if with_feature else None
        if head is None:
            sources = replace(sources, teacher=None)
        points = rays.points(depths)
        render = self._render_fast if self.runs_kernels_on(points.device) else self._render
        rgb, feature, weights = render(sources, rays, points, head, with_depth)
        depth = None if weights is None else (weights * depths).sum(dim=1)
        return Rendering(rgb, feature, weights, depth)

    def _render(
        self,
        sources: SourceViews,
        rays: Rays,
        points: Tensor,
        head: FeatureHead | None,
        with_depth: bool,
    ) -> _Rendered:
        seen = observe(sources, rays, points, self.config.parity)
        tokens = self.renderer(seen, rays, points, with_depth)
        feature = None if head is None else head(tokens, seen)
        return tokens.rgb, feature, tokens.depth_weights if with_depth else None

    def _render_fast(
        self,
        sources: SourceViews,
        rays: Rays,
        points: Tensor,
        head: FeatureHead | None,
        with_depth: bool,
    ) -> _Rendered:
        """Do the same with fused kernels."""
        from gsn.model.kernels.network import render_colour, render_feature  # need Triton

        sources = replace(sources, encoded=sources.encoded.to(compute_dtype(points.device)))
        device = points.device
        with launched_on(device), torch.autocast(device.type, enabled=False):
            tokens = render_colour(
                self.renderer, sources, rays, points, self.pixel_centre, with_depth
            )
            feature = None if head is None else render_feature(head, tokens, sources)
        return tokens.rgb, feature, tokens.depth_weights if with_depth else None

    def runs_kernels_on(self, device: torch.device) -> bool:
        """Return whether the fused kernels stand in for the readable modules there."""
        if not (self.use_kernels and kernels_run_on(device)):
            return False
        appearance, token = 3 + self.config.encoder_channels, self.config.width
        widest = token + (self.feature_channels or 0)
        return kernels_take(device, appearance, token, widest)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def pick_autocast(device: torch.device) -> torch.autocast:
    """Return the precision to run the model in: bf16 where the GPU is made for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
