"""Blending: what the source views show at the surface that a ray meets."""

import torch
from torch import Tensor, nn

KEY_SIZE = 16


class SurfaceBlend(nn.Module):
    """Learns where the surface is and which source views to believe there.

    It begins with all samples of a ray, and all views that see a sample, weighing the same.
    """

    def __init__(self, token_width: int, observation_width: int) -> None:
        super().__init__()
        self.surface = nn.Linear(token_width, 1)
        self.query = nn.Linear(token_width, KEY_SIZE)
        self.key = nn.Linear(observation_width + 4, KEY_SIZE)
        for layer in (self.surface, self.query):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        values: Tensor,  # (R, S, V, D), of the source views; zero where a view does not see
        token: Tensor,  # (R, S, C)
        observations: Tensor,  # (R, S, V, F)
        ray_difference: Tensor,  # (R, S, V, 4)
        visible: Tensor,  # (R, S, V), bool
        used: Tensor,  # (R, S), bool
    ) -> tuple[Tensor, Tensor]:  # (R, D), and the share of each sample in its ray, (R, S)
        """Average the values of the source views over views, then over samples."""
        along = self.surface(token)[..., 0].float().masked_fill(~used, -torch.inf)
        share = along.softmax(dim=1)
        keys = self.key(torch.cat([observations, ray_difference.to(observations)], dim=-1))
        score = (keys * self.query(token)[:, :, None]).sum(dim=-1).float()
        lowest = torch.finfo(score.dtype).min
        # A sample that no view sees is one of zeros, whatever its views weigh.
        of_views = score.masked_fill(~visible, lowest).softmax(dim=2)
        weights = share[..., None] * of_views
        return torch.einsum("rsv,rsvd->rd", weights, values.float()), share
