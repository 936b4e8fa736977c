"""Settings of a training run of a few steps."""

import pytest

from gsn.training.batches import BatchConfig
from gsn.training.config import TrainingConfig
from gsn.training.losses import LossConfig
from gsn.training.optimiser import OptimiserConfig


@pytest.fixture(scope="session")
def make_training():
    """Return training settings with changes; `batch` is a dict of changes of its own."""

    def build(batch=None, **changes):
        batch_settings = {"rays": 12, "source_views": 3, "source_views_spread": 1}
        batch_settings |= {"neighbourhood_max": 5, "target_among_sources": 0.0} | (batch or {})
        rates = {"encoder_rate": 1e-3, "renderer_rate": 1e-3, "head_rate": 1e-3}
        settings = {"max_steps": 6, "seed": 0, "log_every": 1, "checkpoint_every": 2}
        settings |= {
            "batch": BatchConfig(**batch_settings),
            "optimiser": OptimiserConfig(**rates, warmup_steps=2, decay_steps=3, decay_factor=0.5),
            "loss": LossConfig(rgb_weight=1.0, feature_weight=0.1, feature_loss="cosine"),
        }
        return TrainingConfig(**(settings | changes))

    return build
