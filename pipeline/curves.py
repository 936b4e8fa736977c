"""Training curves as DVC plots, through DVCLive where it is installed."""

import importlib.util
import logging
from pathlib import Path

from gsn.atomic import naming, remove
from gsn.training.loop import Row

log = logging.getLogger(__name__)


class Curves:
    """Writes one point after the other into `folder`.

    The training loop hands over the points of before a resume once more, so the folder is begun
    anew by every process and a killed run leaves no point twice. Without DVCLive (a GPU machine
    without DVC) nothing is written; the checkpoint holds the curves all the same.
    """

    def __init__(self, folder: Path) -> None:
        self._live = None
        self._folder = folder
        if importlib.util.find_spec("dvclive") is None:
            log.warning("dvclive is not installed: no curves in %s", folder)
            return
        from dvclive import Live

        remove(folder)  # an older point that stayed would be followed by the new ones
        self._live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)

    def add(self, step: int, row: Row) -> None:
        """Add a point to every curve."""
        if self._live is None:
            return
        with naming(self._folder):
            self._live.step = step
            for name, value in row.items():
                self._live.log_metric(name, value, timestamp=False)
            self._live.make_summary()

    def __enter__(self) -> "Curves":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live is not None:
            with naming(self._folder):
                self._live.end()
