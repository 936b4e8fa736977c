"""No scene that a model is scored on may be one that it has learnt from."""

from collections.abc import Iterable
from pathlib import Path

from gsn.captures.pack import open_pack


def check_no_leakage(prepared: Path, test: Iterable[str], learnt_from: Iterable[str]) -> None:
    """Refuse to go on if a test scene, or a photograph of one, is among those learnt from.

    Names are compared, and the photographs of all scenes that are there: a capture under a second
    name is found as well.

    Args:
        prepared: Folder of packs.
        test: Scenes that the model must not know.
        learnt_from: Training scenes, and those that a checkpoint says its weights have seen.

    Raises:
        ValueError: There is a leak.
    """
    test, known = list(test), sorted(set(learnt_from))
    if leaked := sorted(set(test) & set(known)):
        raise ValueError(
            f"leak: scenes.test names {', '.join(leaked)}, which the model has learnt from: take "
            "them out of scenes.test, or train without them (scenes.train; weights of an earlier "
            "training remember theirs: delete that model file)"
        )
    photographs = {
        sha256: name for name in known for sha256 in _photographs(prepared / f"{name}.h5")
    }
    for name in test:
        shared = [
            photographs[one] for one in _photographs(prepared / f"{name}.h5") if one in photographs
        ]
        if shared:
            raise ValueError(
                f"leak: {len(shared)} photographs of the test scene {name!r} are those of "
                f"{', '.join(sorted(set(shared)))}, which the model has learnt from: take one of "
                "the two out of `scenes`"
            )


def _photographs(pack: Path) -> tuple[str, ...]:
    """Return the hashes of the photographs of a scene; none if it is not there."""
    if not pack.is_file():
        return ()
    with open_pack(pack) as file:
        return file.image_sha256
