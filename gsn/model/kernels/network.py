"""Fast twins of the renderer and the feature head: the same modules' weights, fused kernels.

Samples are rows, (N, …) with N = R · S, and views come first, so that kernels read one view after
the other; in the readable modules both have dimensions of their own.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from gsn.geometry.projection import pair_like, project
from gsn.geometry.rays import Rays
from gsn.model.feature_head import FeatureHead
from gsn.model.kernels.blend import blend
from gsn.model.kernels.blocks import SEEDS_OF_PAIR, Observed, ray_block, view_block
from gsn.model.kernels.branch import Branch
from gsn.model.kernels.common import Seeds, behind_norm
from gsn.model.kernels.fetch import Samples, fetch, fetch_unit
from gsn.model.kernels.linear import linear, linear_beside
from gsn.model.kernels.mlp import mlp
from gsn.model.kernels.pool import LateGradient, pool
from gsn.model.kernels.positions import WIDTH as ENCODED_WIDTH
from gsn.model.kernels.positions import encode
from gsn.model.renderer import Renderer, contract
from gsn.model.sources import SourceViews, fetch_enlarged
from gsn.model.surface_blend import SurfaceBlend
from gsn.model.transformers import RayTransformer, ViewTransformer

Layer = tuple[Tensor, Tensor]  # weight (CO, CI) and bias (CO,)


@dataclass(frozen=True)
class FastTokens:
    """What the renderer found out about the samples of R rays."""

    rgb: Tensor  # (R, 3), not clamped
    token: Tensor  # (N, C), before the direction is known
    seen: Observed
    used: Tensor  # (R, S), bool: samples that count
    samples: Samples
    depth_weights: Tensor | None  # (R, S)
    branch: Branch
    late: LateGradient  # of the observations' tokens


def render_colour(
    renderer: Renderer,
    sources: SourceViews,
    rays: Rays,
    points: Tensor,  # (R, S, 3)
    pixel_centre: float,
    with_depth: bool,
) -> FastTokens:
    """Render the colour of every ray, in the precision of `sources.encoded`."""
    parity, dtype, n_samples = renderer.parity, sources.encoded.dtype, points.shape[1]
    branch = Branch(points.device)
    origins = rays.origins.contiguous()
    flat = points.flatten(0, 1).contiguous()
    samples = Samples(flat, origins, sources.cameras, pixel_centre, parity)
    fetched = fetch(sources.encoded, sources.images.float(), samples)
    tokens = mlp(fetched.appearance, *_embedding(renderer, fetched.appearance.shape[-1]))
    token, n_seeing, tokens, late = pool(tokens, fetched.visible, parity)
    seen = Observed(
        *(tokens, None, fetched.ray_difference, fetched.colour, fetched.visible, n_seeing)
    )
    used = renderer.used_samples(n_seeing.view(points.shape[:2]), len(tokens))
    place = encode(flat if parity else contract(flat), dtype)
    seeds = Seeds(flat.device, _dropout(renderer), SEEDS_OF_PAIR * len(renderer.view_blocks))
    weights = None
    for i, block in enumerate(renderer.view_blocks):
        token, tokens = view_block(cast(ViewTransformer, block), token, seen, seeds, branch)
        seen = replace(seen, tokens=tokens)
        if i % 2 == 0:
            token = _informed(renderer.position_mlps[i // 2], token, place, branch)
        last = cast(RayTransformer, renderer.ray_blocks[i])
        if parity and with_depth and i == len(renderer.ray_blocks) - 1:
            weights = _attended(last, token, used)
        token = ray_block(last, token, None if parity else used, n_samples, seeds, branch)
    direction = encode(functional.normalize(rays.directions, dim=-1), dtype)
    decoded = _informed(renderer.direction_mlp, token, direction, branch, renderer.norm)
    module = renderer.blend
    if module is None:
        rgb = _mean(linear(decoded, *_layer(renderer.rgb), dtype=torch.float32), used)
    else:
        # The mean of what the layer makes of samples, not the layer of their mean: the same, and
        # one reading of the tokens for it and the surface.
        surface_and_rgb, query = branch.make(
            lambda: _blend_layers(module, beside=_layer(renderer.rgb))
        )
        both, decoded = linear_beside(decoded, *surface_and_rgb, None, torch.float32)
        blended, weights = _blend(both[:, 0], linear(decoded, *query), seen, used, late)
        rgb = _mean(both[:, 1:], used) + blended
    return FastTokens(rgb, token, seen, used, samples, weights, branch, late)


def render_feature(
    head: FeatureHead,
    rendered: FastTokens,
    sources: SourceViews,
) -> Tensor:  # (R, D)
    """Render the teacher feature of every ray, of any length.

    Raises:
        ValueError: The source views came without teacher maps.
    """
    if sources.teacher is None:
        raise ValueError("the feature head needs the teacher's maps of the source views")
    seen, n_samples = rendered.seen, rendered.used.shape[1]
    dtype, maps = rendered.token.dtype, sources.teacher.values
    if head.parity:
        teacher = _teacher_as_published(maps, rendered.samples).to(dtype)
    else:
        teacher = fetch_unit(maps, sources.teacher.grid, rendered.samples, dtype)
    pooled, *_ = pool(teacher, seen.visible, head.parity)
    token = torch.cat([rendered.token, pooled], dim=-1)
    seen = replace(seen, teacher=teacher)
    seeds = Seeds(token.device, _dropout(head), SEEDS_OF_PAIR)
    branch = rendered.branch
    token, tokens = view_block(head.view_block, token, seen, seeds, branch)
    seen = replace(seen, tokens=tokens)
    used = None if head.parity else rendered.used
    token = ray_block(head.ray_block, token, used, n_samples, seeds, branch)
    blended: Tensor | float = 0.0
    module, eps = head.blend, head.norm.eps
    if module is not None:
        surface, query = branch.make(lambda: _blend_layers(module, head.norm))
        along, token = linear_beside(token, *surface, eps, torch.float32)
        of_token, token = linear_beside(token, *query, eps)
        of_views, _ = _blend(along, of_token, seen, rendered.used, rendered.late)
        blended = functional.normalize(of_views, dim=-1)
    # The mean of what the layer makes of samples here too: no normed token is in memory.
    output = branch.behind_norm(head.norm, *_layer(head.output))
    return _mean(linear(token, *output, eps), rendered.used) + blended


def _embedding(renderer: Renderer, width: int) -> tuple[Layer, Layer]:
    """Return the layers that embed an observation: encoder features, colour, zeros."""
    first, second = (cast(torch.nn.Linear, renderer.embed[i]) for i in (0, 2))
    weight = torch.cat([first.weight[:, 3:], first.weight[:, :3]], dim=1)
    weight = functional.pad(weight, (0, width - weight.shape[1]))
    return (weight, first.bias), (second.weight, second.bias)


def _informed(
    layers: torch.nn.Module,
    token: Tensor,  # (N, C)
    encoded: Tensor,  # (N or R, 64)
    branch: Branch,
    norm: torch.nn.LayerNorm | None = None,
) -> Tensor:  # (N, C)
    """Tell tokens a position or a direction: a network of both, side by side."""
    parts = cast(torch.nn.Sequential, layers)
    first, second = (cast(torch.nn.Linear, parts[i]) for i in (0, 2))
    width = token.shape[-1]
    missing = ENCODED_WIDTH + width - first.weight.shape[1]
    of_place = functional.pad(first.weight[:, width:], (0, missing))
    extra = linear(encoded, of_place)
    own: Layer = first.weight[:, :width], first.bias
    eps = None
    if norm is not None:
        own, eps = branch.behind_norm(norm, *own), norm.eps
    return mlp(token, own, (second.weight, second.bias), eps, extra)


def _layer(module: torch.nn.Linear) -> Layer:
    return module.weight, module.bias


def _mean(
    values: Tensor,  # (N, C)
    used: Tensor,  # (R, S), bool
) -> Tensor:  # (R, C), float32
    """Average the samples that count."""
    by_ray = values.view(*used.shape, -1).masked_fill(~used[..., None], 0.0)
    return by_ray.sum(dim=1, dtype=torch.float32) / used.sum(dim=1, keepdim=True)


def _blend(
    along: Tensor,  # (N,), how much a sample is the surface
    query: Tensor,  # (N, F + D + 4), of the views
    seen: Observed,
    used: Tensor,  # (R, S), bool
    late: LateGradient,
) -> tuple[Tensor, Tensor]:  # (R, 3 or D), (R, S)
    """Average colours, or teacher features if there are, over views, then over samples."""
    share = along.view(used.shape).masked_fill(~used, -torch.inf).softmax(dim=1)
    by_sample = blend(
        *(seen.tokens, seen.teacher, seen.ray_difference, seen.colour, seen.visible, query, late)
    )
    return torch.einsum("rs,rsd->rd", share, by_sample.view(*used.shape, -1)), share


def _blend_layers(
    module: SurfaceBlend,
    norm: torch.nn.LayerNorm | None = None,  # of the token, if it is not normed yet
    beside: Layer | None = None,  # another one, whose outputs follow those of the first
) -> tuple[Layer, Layer]:
    """Return what makes of a token how much it is the surface, and the query of its views."""
    to_key = module.key.weight.T
    surface = _layer(module.surface)
    query = to_key @ module.query.weight, to_key @ module.query.bias
    if beside is not None:
        surface = torch.cat([surface[0], beside[0]]), torch.cat([surface[1], beside[1]])
    if norm is None:
        return surface, query
    return behind_norm(norm, *surface), behind_norm(norm, *query)


def _attended(block: RayTransformer, token: Tensor, used: Tensor) -> Tensor:
    """Return how much a ray's colour comes from each of its samples, as `parity` has it."""
    with torch.autocast(token.device.type, token.dtype, enabled=token.dtype != torch.float32):
        attention = block.attention(token.view(*used.shape, -1), used)
    return attention.mean(dim=1)


def _teacher_as_published(maps: Tensor, samples: Samples) -> Tensor:  # (V, N, D)
    cameras = samples.cameras
    pixels = project(samples.points, cameras, samples.pixel_centre).pixels
    last = pair_like(pixels, cameras.width - 1, cameras.height - 1)
    return fetch_enlarged(maps.float(), pixels, last).permute(0, 2, 1).contiguous()


def _dropout(module: torch.nn.Module) -> float:
    block = next(part for part in module.modules() if isinstance(part, ViewTransformer))
    return block.dropout.p if module.training else 0.0
