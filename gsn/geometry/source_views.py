"""Which source views a target view is rendered from."""

import torch
from torch import Tensor


def nearest_views(
    target_centre: Tensor,  # (3,)
    centres: Tensor,  # (P, 3)
    n_views: int,
) -> Tensor:  # (min(n_views, P),)
    """Return the indices of the cameras closest to the target camera, closest first."""
    distance: Tensor = (centres - target_centre).norm(dim=-1)
    return distance.argsort(stable=True)[:n_views]


def draw_source_views(
    target_centre: Tensor,  # (3,)
    centres: Tensor,  # (P, 3), without the target view
    n_views: int,
    spread: int,
    neighbourhood_max: int,
    generator: torch.Generator,
) -> Tensor:  # (n,), n within n_views ± spread
    """Draw source views for a training step: a random number of them from a random neighbourhood.

    The neighbourhood is the 1, 2 or 3 times `n_views` nearest cameras (probabilities 0.2, 0.45 and
    0.35, as IBRNet draws them), so that the network learns with close and with distant sources.
    """
    shares = torch.tensor([0.2, 0.45, 0.35])
    factor = 1 + int(torch.multinomial(shares, 1, generator=generator))
    pool = nearest_views(target_centre, centres, min(n_views * factor, neighbourhood_max))
    fewest, most = max(1, n_views - spread), n_views + spread
    count = int(torch.randint(fewest, most + 1, (1,), generator=generator))
    chosen = torch.randperm(len(pool), generator=generator)[:count]
    return pool[chosen.to(pool.device)]
