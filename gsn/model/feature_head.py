"""The feature head: one more pair of transformers, which renders the teacher's feature of a ray."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsn.model.renderer import RayTokens, mean_over_ray, pool_views
from gsn.model.sources import Observations
from gsn.model.transformers import RayTransformer, ViewTransformer


class FeatureHead(nn.Module):
    """Stage II network (GSN, arXiv 2402.04632): learns to carry source features to a new view.

    It needs the teacher's maps of the *source* photos whenever it renders. The published head has
    to learn the identity: its output is a linear map of tokens, which fits the features of the
    training scenes and fails on others. Without `parity` it learns where the surface is and what
    to add to the source features there, and begins with adding nothing.
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
        if not parity:
            self.surface = nn.Linear(total, 1)
            for layer in (self.output, self.surface):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

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
        if self.parity:
            return feature
        score = self.surface(token)[..., 0].float().masked_fill(~rendered.used, -torch.inf)
        return feature + carried_feature(seen.teacher, seen.visible, score.softmax(dim=1))


def carried_feature(
    teacher: Tensor,  # (R, S, V, D)
    visible: Tensor,  # (R, S, V), bool
    share: Tensor,  # (R, S), of each sample in its ray
) -> Tensor:  # (R, D), unit length
    """Return what the source views say of the samples of a ray, the mean of those that see them."""
    counted = visible[..., None]
    of_samples = (teacher.float() * counted).sum(dim=2) / counted.sum(dim=2).clamp(min=1)
    return functional.normalize((of_samples * share[..., None]).sum(dim=1), dim=-1)
