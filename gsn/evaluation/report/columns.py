"""The metrics as columns of a table: heads, groups, digits, and which end is the good one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gsn.evaluation.views.comparators import COLOUR

SPREAD = "_std"  # `iou_std` is the standard deviation of `iou` over seeds
GROUPS = ("images", "features", "objects from strokes", "objects from texts", "consistency")


@dataclass(frozen=True)
class Column:
    """One metric."""

    key: str
    head: str
    group: str
    digits: int | None = 3  # behind the point; None: as many as the value needs, up to 4 in all
    higher_is_better: bool | None = True  # None: nothing is said to be the best
    unit: str = ""
    apart: tuple[str, ...] = ()  # methods whose values are of another kind: they do not compete

    def show(self, value: float) -> str:
        """Write a value with the digits of the column and a true minus sign."""
        shown = f"{value:.4g}" if self.digits is None else f"{value:.{self.digits}f}"
        return shown.replace("-", "−")


_IMAGES, _FEATURES, _STROKES, _TEXTS, _CONSISTENCY = GROUPS
_KNOWN = (
    Column("psnr_db", "PSNR", _IMAGES, digits=2, unit="dB"),
    Column("ssim", "SSIM", _IMAGES),
    Column("lpips", "LPIPS", _IMAGES, higher_is_better=False),
    Column("feature_cosine", "cosine", _FEATURES),
    Column("feature_mse", "squared error", _FEATURES, digits=4, higher_is_better=False),
    Column("iou", "IoU", _STROKES),
    Column("accuracy", "accuracy", _STROKES),
    Column("boundary_f", "boundary F", _STROKES),
    Column("average_precision", "average precision", _STROKES),
    Column("text_iou", "IoU", _TEXTS),
    Column("text_accuracy", "accuracy", _TEXTS),
    Column("text_boundary_f", "boundary F", _TEXTS),
    Column("text_average_precision", "average precision", _TEXTS),
    # A cosine between colours says nothing beside one between features; PCK counts matches.
    Column("consistency_cosine", "cosine", _CONSISTENCY, apart=(COLOUR,)),
    Column("consistency_pck", "PCK", _CONSISTENCY),
    Column("consistency_points", "points seen", _CONSISTENCY, digits=2, higher_is_better=None),
)
_BY_KEY = {column.key: column for column in _KNOWN}
_OF_MASKS = ("average_precision", "boundary_f", "accuracy", "iou")


def columns_of(keys: Iterable[str]) -> list[Column]:
    """Return the columns for some metrics, those of one group side by side.

    A mean and its spread share a column. A mask metric with a prefix (`grown_iou`) makes a group of
    that name; what is not known at all stands last, and no value of it is called the best.
    """
    found = list(dict.fromkeys(keys))
    columns = [_column(key) for key in found if not _is_spread(key, found)]
    places = {key: place for place, key in enumerate(_BY_KEY)}
    columns.sort(key=lambda column: places.get(column.key, len(places)))
    groups = dict.fromkeys([*GROUPS, *(column.group for column in columns if column.group)])
    order = {group: place for place, group in enumerate([*groups, ""])}
    return sorted(columns, key=lambda column: order[column.group])


def _is_spread(key: str, keys: list[str]) -> bool:
    return key.endswith(SPREAD) and key.removesuffix(SPREAD) in keys


def _column(key: str) -> Column:
    if key in _BY_KEY:
        return _BY_KEY[key]
    for metric in _OF_MASKS:
        if key.endswith(f"_{metric}"):
            group = key.removesuffix(f"_{metric}").replace("_", " ")
            return replace(_BY_KEY[metric], key=key, group=group)
    return Column(key, key.replace("_", " "), group="", digits=None, higher_is_better=None)
