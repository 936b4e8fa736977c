"""Import torchvision also where its compiled operators do not load.

torchvision built for CUDA beside a CPU build of torch cannot load them, and then fails to import
because it describes two of them (`operator torchvision::nms does not exist`). timm and open_clip
import torchvision but call neither, so their schemas are enough. Where the operators load, nothing
is done.
"""

import importlib
import sys

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a schema goes when its library object does


def import_torchvision() -> bool:
    """Import torchvision, before timm or open_clip does; return whether schemas were added.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    importlib.import_module("torchvision")
    return True
