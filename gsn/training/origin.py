"""What a training run comes from: a hash that decides whether a checkpoint may be continued."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import gsn.geometry
import gsn.model
import gsn.training
from gsn.captures.pack import open_pack
from gsn.fingerprint import sha256_of_code, sha256_of_file, sha256_of_settings
from gsn.training.config import TrainingConfig


@dataclass(frozen=True)
class Origin:
    """Where a run started, as far as its result depends on it."""

    fingerprint: str  # settings less the number of steps, data, initial weights, code
    basis_sha256: dict[str, str] = field(default_factory=dict)  # by file name, of the targets
    earlier_scenes: list[str] = field(default_factory=list)  # that the initial weights have seen
    photographs: dict[str, list[str]] = field(default_factory=dict)  # hashes, by scene seen so far

    @staticmethod
    def describe(
        training: TrainingConfig,
        packs: list[Path],
        start: Mapping[str, object],
        basis_sha256: Mapping[str, str] | None = None,
        earlier_scenes: list[str] | None = None,
        earlier_photographs: Mapping[str, list[str]] | None = None,
    ) -> "Origin":
        """Hash all that a run depends on.

        `max_steps` is left out: raising it continues a finished run, which is possible since no
        rate depends on it.

        Args:
            training: Settings.
            packs: Data; hashed by content.
            start: Whatever else decides the result: model settings, initial weights, targets.
            basis_sha256: PCA bases of the targets.
            earlier_scenes: Scenes the initial weights were trained on.
            earlier_photographs: Hashes of their photographs, by scene.
        """
        settings = {
            "training": asdict(training) | {"max_steps": None},
            # In order: scenes are drawn by their number.
            "packs": [(pack.stem, sha256_of_file(pack)) for pack in packs],
            "start": dict(start),
            "code": sha256_of_code(gsn.geometry, gsn.model, gsn.training),
        }
        return Origin(
            sha256_of_settings(settings),
            dict(basis_sha256 or {}),
            list(earlier_scenes or []),
            {**(earlier_photographs or {}), **{pack.stem: _photographs(pack) for pack in packs}},
        )


def _photographs(path: Path) -> list[str]:
    with open_pack(path) as pack:
        return sorted(pack.image_sha256)
