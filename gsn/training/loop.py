"""The one training loop of both stages: resumable, a function of its settings and its data."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gsn.model.checkpoint import Checkpoint, load_checkpoint
from gsn.model.network import GsnModel, count_parameters, pick_autocast
from gsn.model.scene import Scene
from gsn.training.batches import draw_batch
from gsn.training.config import TrainingConfig
from gsn.training.losses import total_loss
from gsn.training.optimiser import build_optimiser, set_rates
from gsn.training.origin import Origin

log = logging.getLogger(__name__)
MOST_BATCHES = 10  # drawn for one step before it is given up
Row = dict[str, float]
OnRow = Callable[[int, Row], None]


class Trainer:
    """A training run at some step: everything that changes from step to step."""

    def __init__(
        self, model: GsnModel, scenes: list[Scene], config: TrainingConfig, origin: Origin
    ) -> None:
        self.model = model.train()
        self.scenes = scenes
        self.config = config
        self.origin = origin
        self.optimiser = build_optimiser(model, config.optimiser)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = 0
        self.history: list[tuple[int, Row]] = []
        self.sums: dict[str, Tensor] = {}  # of the steps since the last point of the curves
        torch.manual_seed(config.seed)  # dropout draws from the global generator

    def take_step(self) -> tuple[dict[str, Tensor], int]:
        """Take one optimiser step; return the parts of the loss and the number of rays.

        A batch whose gradient is not finite is left out and another is drawn: Adam's running means
        would never forget it.

        Raises:
            ValueError: Batch after batch has no finite gradient.
        """
        set_rates(self.optimiser, self.config.optimiser, self.step)
        for _ in range(MOST_BATCHES):
            batch = draw_batch(self.scenes, self.model, self.config.batch, self.generator)
            with pick_autocast(batch.depths.device):
                sources = batch.scene.encode(self.model, batch.source_views)
                rendering = self.model(sources, batch.rays, batch.depths)
                loss, parts = total_loss(rendering, batch.rgb, batch.feature, self.config.loss)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            if torch.nn.utils.get_total_norm(gradients).isfinite():
                self.optimiser.step()
                self.step += 1
                return parts, len(batch.rays)
            log.warning(
                "step %d: a batch of %s has no finite gradient; another is drawn",
                *(self.step + 1, batch.scene.name),
            )
        raise ValueError(
            f"step {self.step + 1}: {MOST_BATCHES} batches in a row had no finite gradient: the "
            "weights have diverged. Lower the rates of the optimiser; the last checkpoint is sound"
        )

    def snapshot(self) -> Checkpoint:
        """Gather everything that a later process needs to go on."""
        training: dict[str, Any] = {
            "fingerprint": self.origin.fingerprint,
            "config": asdict(self.config),
            "history": list(self.history),
            "sums": {key: value.cpu() for key, value in self.sums.items()},
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        names = [scene.name for scene in self.scenes]
        return Checkpoint(
            model_config=self.model.config,
            weights={key: value.cpu() for key, value in self.model.state_dict().items()},
            step=self.step,
            train_scenes=sorted({*names, *self.origin.earlier_scenes}),
            feature_channels=self.model.feature_channels,
            basis_sha256=self.origin.basis_sha256,
            training=training,
            photographs=self.origin.photographs,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go to where the checkpoint was taken, random states included."""
        self.model.load_state_dict(checkpoint.weights)
        self.optimiser.load_state_dict(checkpoint.training["optimiser"])
        self.generator.set_state(checkpoint.training["generator"])
        torch.set_rng_state(checkpoint.training["torch_rng"])
        if checkpoint.training["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(checkpoint.training["cuda_rng"])
        self.step = checkpoint.step
        self.history = list(checkpoint.training["history"])
        self.sums = dict(checkpoint.training["sums"])


def train(trainer: Trainer, path: Path, on_row: OnRow, unseen: Sequence[str] = ()) -> None:
    """Train until `max_steps`; the checkpoint is then at `path`.

    If `path` holds a run of the same origin, that run goes on, and ends as if it had never
    stopped. Any other file there is replaced at the first checkpoint.

    Args:
        trainer: Run at step 0.
        path: Checkpoint file, written atomically.
        on_row: Called with step and values of each point of the curves, those of before a resume
            included.
        unseen: Scenes that the weights must not have learnt from.

    Raises:
        ValueError: The run that would go on has learnt from a scene that must stay unseen.
    """
    config = trainer.config
    resumed = _find_earlier(path, trainer)
    if resumed is not None:
        if leaked := sorted(set(resumed.train_scenes) & set(unseen)):
            raise ValueError(
                f"{path}: has learnt from {', '.join(leaked)}, which must stay unseen: move the "
                "file away, or take these scenes out of those to test on"
            )
        trainer.restore(resumed)
        log.info("%s: continued at step %d of %d", path, trainer.step, config.max_steps)
    log.info(
        "%s: steps %d to %d of %d rays on %d scenes, %d parameters, on %s",
        *(path, trainer.step, config.max_steps, config.batch.rays, len(trainer.scenes)),
        *(count_parameters(trainer.model), trainer.scenes[0].images.device),
    )
    for step, row in trainer.history:
        on_row(step, row)
    n_rays = 0
    with tqdm(total=config.max_steps, initial=trainer.step, unit="step", desc=path.stem) as bar:
        while trainer.step < config.max_steps:
            parts, batch_rays = trainer.take_step()
            n_rays += batch_rays
            sums = {key: value + trainer.sums.get(key, 0) for key, value in parts.items()}
            trainer.sums = sums
            bar.update()
            if trainer.step % config.log_every == 0:
                row = {key: float(value) / config.log_every for key, value in sums.items()}
                trainer.sums = {}
                trainer.history.append((trainer.step, row))
                on_row(trainer.step, row)
                rate = n_rays / max(bar.format_dict["elapsed"], 1e-9)
                bar.set_postfix({key: f"{row[key]:.4g}" for key in row} | {"rays/s": f"{rate:.0f}"})
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.max_steps:
                trainer.snapshot().save(path)


def _find_earlier(path: Path, trainer: Trainer) -> Checkpoint | None:
    """Return the checkpoint at `path` if it belongs to this very run."""
    if not path.is_file():
        return None
    try:
        found = load_checkpoint(path)
    except ValueError as error:
        log.warning("%s; it is replaced", error)
        return None
    if found.training.get("fingerprint") != trainer.origin.fingerprint:
        log.info("%s: made by other settings, data or code; training starts anew", path)
        return None
    if found.step > trainer.config.max_steps:
        log.info("%s: already beyond max_steps; training starts anew", path)
        return None
    return found
