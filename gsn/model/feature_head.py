"""The feature head: one more pair of transformers, which renders the teacher's feature of a ray."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.model.renderer import RayTokens, mean_over_ray, pool_views
from gsn.model.sources import Observations
from gsn.model.surface_blend import SurfaceBlend
from gsn.model.transformers import RayTransformer, ViewTransformer


class FeatureHead(nn.Module):
    """Stage II network (GSN, arXiv 2402.04632): learns to carry source features to a new view.

    It needs the teacher's maps of the *source* photos whenever it renders. The published head has
    to learn the identity: its output is a linear map of tokens, which fits the features of the
    training scenes and fails on others. Without `parity` it blends the source features at the
    surface, as the renderer does with colours, and learns what to add; it begins with nothing.
    """

    def __init__(self, width: int, channels: int, heads: int, dropout: float, parity: bool) -> None:
        super().__init__()
        self.parity = parity
        total = width + channels
        if total % heads:
            raise ValueError(
                f"feature head: {width} of the token and {channels} teacher channels do not "
                f"divide by {heads} heads; change reduce.dims"
            )
        self.view_block = ViewTransformer(total, dropout)
        self.ray_block = RayTransformer(total, heads, dropout)
        self.norm = nn.LayerNorm(total)
        self.output = nn.Linear(total, channels)
        self.blend = None if parity else SurfaceBlend(total, total)
        if not parity:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, rendered: RayTokens, seen: Observations) -> Tensor:  # (R, D)
        """Render the teacher feature of every ray, of any length.

        Raises:
            ValueError: The source views came without teacher maps.
        """
        if seen.teacher is None:
            raise ValueError("the feature head needs the teacher's maps of the source views")
        pooled = pool_views(seen.teacher, seen.visible, self.parity)
        token = torch.cat([rendered.token, pooled], dim=-1)
        observations = torch.cat([rendered.observations, seen.teacher], dim=-1)
        token = self.view_block(token, observations, seen.ray_difference, seen.visible)
        token = self.norm(self.ray_block(token, rendered.used))
        feature: Tensor = self.output(mean_over_ray(token, rendered.used)).float()
        if self.blend is None:
            return feature
        blended, _ = self.blend(
            *(seen.teacher, token, observations, seen.ray_difference, seen.visible, rendered.used)
        )
        return feature + functional.normalize(blended, dim=-1)
