"""Stage `prepare`: check every capture and pack its views at working size.

in   data/raw/<scene>/          captures (`gsn.captures.readers.formats`)
out  data/prepared/<scene>.h5   photographs, cameras, depth range, split, masks, depth
"""

import logging
from pathlib import Path

from pydantic.dataclasses import dataclass
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gsn.atomic import remove
from gsn.captures.capture import CaptureError
from gsn.captures.origin import OriginError, check_unchanged
from gsn.captures.pack import write_pack
from gsn.captures.read_config import ReadConfig
from gsn.captures.readers.formats import read_capture
from gsn.captures.split import hold_out
from pipeline.command import mend, run_stage
from pipeline.config import STRICT, ScenesConfig, load_section

log = logging.getLogger(__name__)


@dataclass(frozen=True, config=STRICT)
class PrepareConfig(ReadConfig):
    """Section `prepare` of params.yaml: what a reader takes, and the split."""

    hold: int  # every so many-th view is held out, starting with the first in name order

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hold < 2:
            raise ValueError(f"'hold' is {self.hold}: expected at least 2, as 1 holds out all")


def prepare(raw: Path, out: Path, scenes: list[str], cfg: PrepareConfig) -> None:
    """Write `out/<scene>.h5` for each scene, and remove packs of other scenes.

    All scenes are checked before the first fault ends the stage; a scene with a fault has no pack.

    Raises:
        CaptureError: One or more captures are damaged; the message names each.
    """
    out.mkdir(parents=True, exist_ok=True)
    _remove_all_but(out, scenes)
    faults = []
    with logging_redirect_tqdm():
        for scene in tqdm(scenes, desc="prepare", unit="scene"):
            try:
                _prepare_scene(raw / scene, out / f"{scene}.h5", cfg)
            except (CaptureError, OriginError) as error:
                faults.append(f"scene {scene!r}: {error}")
    if faults:
        raise CaptureError(
            f"{len(faults)} of {len(scenes)} scenes cannot be used\n" + "\n".join(faults)
        )
    size = sum((out / f"{scene}.h5").stat().st_size for scene in scenes)
    log.info("%d scenes, %.1f MB, in %s", len(scenes), size / 1e6, out)


def _prepare_scene(folder: Path, pack: Path, cfg: PrepareConfig) -> None:
    remove(pack)  # an older one must not outlive a fault
    with mend("fetch", OriginError):
        check_unchanged(folder)
    capture = read_capture(folder, cfg)
    held_out = hold_out(capture, cfg.hold)
    write_pack(pack, capture, held_out)
    n_views, rows, columns, _ = capture.images.shape
    n_masks = 0 if capture.masks is None else int(capture.masks.present.sum())
    log.info(
        "%s: %d views of %d×%d px, %d held out, %d with masks, depth %.2f to %.2f",
        *(capture.name, n_views, columns, rows, held_out.sum(), n_masks),
        *(capture.near, capture.far),
    )


def _remove_all_but(out: Path, scenes: list[str]) -> None:
    """Remove packs of scenes no longer asked for, and what a killed run left."""
    wanted = {f"{scene}.h5" for scene in scenes}
    for path in sorted(out.iterdir()):
        if path.name.endswith((".h5", ".h5.partial")) and path.name not in wanted:
            log.info("%s: removed, not a scene of params.yaml", path)
            remove(path)


def main(raw: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Command line of the stage."""
    scenes = load_section(params, "scenes", ScenesConfig).all_scenes
    prepare(raw, out, scenes, load_section(params, "prepare", PrepareConfig))


if __name__ == "__main__":
    run_stage(main)
