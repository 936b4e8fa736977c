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
from gsn.model.scene import Scene, unit_maps
from gsn.training.batch_queue import BatchQueue
from gsn.training.batches import Batch
from gsn.training.captured_steps import CapturedSteps
from gsn.training.config import TrainingConfig
from gsn.training.cuda_graphs import CudaGraphs
from gsn.training.finite_steps import FiniteSteps
from gsn.training.generators import Generators
from gsn.training.losses import LossConfig, total_loss
from gsn.training.optimiser import build_optimiser, restore_optimiser, set_rates
from gsn.training.origin import Origin

log = logging.getLogger(__name__)
TAKEN = "taken"  # among the sums: the number of steps that were not left out
Row = dict[str, float]
OnRow = Callable[[int, Row], None]


class Trainer:
    """A training run at some step: everything that changes from step to step."""

    def __init__(
        self, model: GsnModel, scenes: list[Scene], config: TrainingConfig, origin: Origin
    ) -> None:
        device = scenes[0].device
        self.model = model.train()
        self.scenes = scenes
        self.config = config
        self.origin = origin
        self.optimiser = build_optimiser(model, config.optimiser)
        self.finite = FiniteSteps(self.optimiser, device)
        # Only steps of the kernels are recorded: the readable modules may ask the device things.
        with pick_autocast(device):
            recorder = CudaGraphs(device) if model.runs_kernels_on(device) else None
        self.steps = CapturedSteps(self.optimiser, recorder)
        generators = Generators.seeded(config.seed, device)
        self.batches = BatchQueue(scenes, model, config.batch, generators)
        self.step = 0
        self.history: list[tuple[int, Row]] = []
        self.sums: dict[str, Tensor] = {}  # over the steps since the last point of the curves
        torch.manual_seed(config.seed)  # dropout draws from the global generator

    def take_step(self) -> tuple[dict[str, Tensor], int]:
        """Queue one optimiser step; return the parts of the loss and the number of rays.

        A step whose gradient is not finite changes nothing, see `gsn.training.finite_steps`. On a
        GPU nothing here waits for it, and the next batch is drawn while it computes.
        """
        set_rates(self.optimiser, self.config.optimiser, self.step)
        batch = self.batches.take()
        fast = self.model.use_kernels
        parts = self.steps.take(self.learn, batch) if fast else self.learn(batch)
        self.batches.draw_ahead()
        for name, value in (parts | {TAKEN: torch.ones_like(parts["loss"])}).items():
            self.sums[name] = self.finite.masked(value) + self.sums.get(name, 0)
        self.step += 1
        return parts, len(batch.rays)

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimiser step on a batch; tensors in, tensors out, and no look at them."""
        loss, parts = batch_loss(self.model, batch, self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.finite.judge(self.model.parameters())
        self.optimiser.step()
        return parts

    def read_row(self) -> Row | None:
        """Read the means since the last point of the curves; None if no step was taken since.

        Raises:
            ValueError: Step after step has no finite gradient.
        """
        sums = {name: float(value) for name, value in self.sums.items()}
        self.sums = {}
        taken, n_steps = sums.pop(TAKEN), self.config.log_every
        if taken < n_steps:
            log.warning(
                "steps %d to %d: %d of %d had no finite gradient and were left out",
                *(self.step - n_steps + 1, self.step, n_steps - taken, n_steps),
            )
        self.finite.check(self.step)
        if not taken:
            return None
        row = {name: value / taken for name, value in sums.items()}
        self.history.append((self.step, row))
        return row

    def snapshot(self) -> Checkpoint:
        """Gather everything that a later process needs to go on."""
        training: dict[str, Any] = {
            "fingerprint": self.origin.fingerprint,
            "config": asdict(self.config),
            "history": list(self.history),
            "sums": {key: value.cpu() for key, value in self.sums.items()},
            "optimiser": self.optimiser.state_dict(),
            "in_a_row": self.finite.in_a_row.cpu(),
            "generators": self.batches.state(),
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
        restore_optimiser(self.optimiser, checkpoint.training["optimiser"])
        self.steps.forget()
        self.finite.in_a_row.copy_(checkpoint.training["in_a_row"])
        self.batches.restore(checkpoint.training["generators"])
        torch.set_rng_state(checkpoint.training["torch_rng"])
        if checkpoint.training["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(checkpoint.training["cuda_rng"])
        self.step = checkpoint.step
        self.history = list(checkpoint.training["history"])
        device = self.scenes[0].device
        self.sums = {key: value.to(device) for key, value in checkpoint.training["sums"].items()}


def batch_loss(
    model: GsnModel, batch: Batch, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a batch and its parts."""
    with pick_autocast(batch.depths.device):
        sources = model.encode(
            batch.cameras, batch.images.float() / 255, batch.teacher and unit_maps(batch.teacher)
        )
        rendering = model(sources, batch.rays, batch.depths)
        return total_loss(rendering, batch.rgb, batch.feature, config)


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
        ValueError: The run that would go on has learnt from a scene that must stay unseen, or step
            after step has no finite gradient.
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
        *(count_parameters(trainer.model), trainer.scenes[0].device),
    )
    for point in trainer.history:
        on_row(*point)
    if trainer.step < config.max_steps:
        trainer.steps.log_cost()
    n_rays = 0
    with tqdm(total=config.max_steps, initial=trainer.step, unit="step", desc=path.stem) as bar:
        while trainer.step < config.max_steps:
            n_rays += trainer.take_step()[1]
            bar.update()
            if trainer.step % config.log_every == 0 and (row := trainer.read_row()):
                on_row(trainer.step, row)
                rate = n_rays / max(bar.format_dict["elapsed"], 1e-9)
                bar.set_postfix({key: f"{row[key]:.4g}" for key in row} | {"rays/s": f"{rate:.0f}"})
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.max_steps:
                trainer.finite.check(trainer.step)
                trainer.snapshot().save(path)
    trainer.steps.log_summary()


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
