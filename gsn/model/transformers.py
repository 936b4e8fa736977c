"""The two transformer blocks of GNT (arXiv 2207.13298): across source views and along the ray."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_NORM_EPS = 1e-6
_MASKED = -1e9  # finite, so that a sample that no view sees gives a finite (content-free) result


class FeedForward(nn.Module):
    """Two linear layers with four times the width between them."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.grow = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C)."""
        y = self.dropout(torch.relu(self.grow(x)))
        return self.dropout(self.shrink(y))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """What both blocks have: layers of an attention, and what follows it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.feed_norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.feed = FeedForward(width, dropout)

    def add_to(
        self,
        token: Tensor,  # (R, S, C)
        merged: Tensor,  # (R, S, C)
    ) -> Tensor:  # (R, S, C)
        """Add what attention has merged to the token, then what the feed-forward makes of it."""
        token = token + self.dropout(self.output(merged))
        return token + self.feed(self.feed_norm(token))  # type: ignore[no-any-return]


class ViewTransformer(AttentionBlock):
    """Merges what V source views say about a sample into the token of that sample.

    Attention by subtraction, with a weight for each channel (GNT, section 3.2). The published
    network makes the value from the key, not from the input of the key.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(width, dropout)
        self.position = _mlp(4, width // 8, width)
        self.score = _mlp(width, width // 8, width)

    def forward(
        self,
        token: Tensor,  # (R, S, C)
        observations: Tensor,  # (R, S, V, C)
        ray_difference: Tensor,  # (R, S, V, 4)
        visible: Tensor,  # (R, S, V), bool
    ) -> Tensor:  # (R, S, C)
        """Update the token of every sample."""
        query = self.query(self.attention_norm(token))[:, :, None]
        key = self.key(observations)
        position = self.position(ray_difference)
        score = self.score(key - query + position)
        score = score.masked_fill(~visible[..., None], _MASKED)
        weights = self.dropout(score.softmax(dim=2))
        merged = (weights * (self.value(key) + position)).sum(dim=2)
        return self.add_to(token, merged)


class RayTransformer(AttentionBlock):
    """Ordinary multi-head attention among the samples of a ray."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__(width, dropout)
        self.n_heads = n_heads

    def forward(
        self,
        token: Tensor,  # (R, S, C)
        used: Tensor,  # (R, S), bool: samples that others may look at
    ) -> Tensor:  # (R, S, C)
        """Update the token of every sample."""
        query, key, value = self._heads(token)
        merged = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=used[:, None, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return self.add_to(token, merged.transpose(1, 2).flatten(2))

    def attention(
        self,
        token: Tensor,  # (R, S, C), as given to `forward`
        used: Tensor,  # (R, S), bool
    ) -> Tensor:  # (R, S, S)
        """Return how much sample i (row) looks at sample j (column), averaged over the heads."""
        query, key, _ = self._heads(token)
        score: Tensor = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5
        score = score.masked_fill(~used[:, None, None], float("-inf"))
        return score.softmax(dim=-1).mean(dim=1)

    def _heads(self, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each (R, heads, S, C / heads)."""
        x = self.attention_norm(token)
        query, key, value = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return query, key, value


def _mlp(width_in: int, hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, width))
