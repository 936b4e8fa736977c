"""No scene that a model is scored on may be one that it has learnt from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gsn.captures.pack import open_pack


def check_no_leakage(
    prepared: Path,
    test: Iterable[str],
    learnt_from: Iterable[str],
    photographs: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Refuse to go on if a test scene, or a photograph of one, is among those learnt from.

    Args:
        prepared: Folder of packs.
        test: Scenes that the model must not know.
        learnt_from: Training scenes, and those that a checkpoint says its weights have seen.
        photographs: Hashes of photographs that a checkpoint says its weights have seen, by scene.
            Those of packs that are there are added: a capture under a second name is found.

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
    seen = {sha256: name for name in known for sha256 in _photographs(prepared, name)}
    seen |= {sha256: name for name, hashes in (photographs or {}).items() for sha256 in hashes}
    for name in test:
        shared = [seen[sha256] for sha256 in _photographs(prepared, name) if sha256 in seen]
        if shared:
            raise ValueError(
                f"leak: {len(shared)} photographs of the test scene {name!r} are those of "
                f"{', '.join(sorted(set(shared)))}, which the model has learnt from: take one of "
                "the two out of `scenes`"
            )


def _photographs(prepared: Path, name: str) -> tuple[str, ...]:
    """Return the hashes of the photographs of a scene; none if it is not there."""
    path = prepared / f"{name}.h5"
    if not path.is_file():
        return ()
    with open_pack(path) as pack:
        return pack.image_sha256
