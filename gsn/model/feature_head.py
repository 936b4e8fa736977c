"""The feature head: one more pair of transformers, which renders the teacher's feature of a ray."""

import torch
from torch import Tensor, nn

from gsn.model.renderer import RayTokens, mean_over_ray, pool_views
from gsn.model.sources import Observations
from gsn.model.transformers import RayTransformer, ViewTransformer


class FeatureHead(nn.Module):
    """Stage II network (GSN, arXiv 2402.04632): learns to carry source features to a new view.

    It needs the teacher's maps of the *source* photos whenever it renders.
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
        token = self.ray_block(token, rendered.used)
        feature: Tensor = self.output(mean_over_ray(self.norm(token), rendered.used))
        return feature.float()
