"""Which archives the paper's data come in, and which of their scenes serve for what.

GSN (arXiv:2402.04632) learns from IBRNet's collected scenes (arXiv:2102.13090) and from those of
LLFF's authors (arXiv:1905.00889) less the ones that resemble a test scene, and is tested on the
eight scenes of NeRF (arXiv:2003.08934) and on four that are taken out of LLFF's.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

GB = 10**9
# Near-doubles of NeRF's test scenes: neither learnt from nor scored.
EXCLUDED = frozenset(
    "data2_fernvlsb data2_hugetrike data2_trexsanta data3_orchid data5_leafscene data5_lotr "
    "data5_redflower".split()
)
SEGMENTATION = frozenset("data2_chesstable data2_colorfountain data4_shoerack data4_stove".split())
NERF = frozenset("fern flower fortress horns leaves orchids room trex".split())

# Name of each archive, less `.zip`, with its size as published: to tell a user, not to check by.
ARCHIVES: dict[str, float] = {
    "ibrnet_collected": 4.1 * GB,
    "real_iconic_noface": 6.6 * GB,
    "nerf_llff_data": 1.8 * GB,
}


@dataclass(frozen=True)
class SceneSet:
    """Scenes that serve for one thing, all in one folder of an archive."""

    archive: str
    folder: str  # its name in the archive
    prefix: str = ""  # before the names of its scenes, which are then unlike those of other sets
    only: frozenset[str] | None = None  # its folders; None: all that hold a capture
    less: Collection[str] = ()  # of these

    def takes(self, folder: str) -> bool:
        """Whether the scene in a folder of this name is in the set."""
        return folder not in self.less if self.only is None else folder in self.only

    def scene_name(self, folder: str) -> str:
        """Return how the scene is called here: letters, digits, `.`, `_` and `-`, as in a path."""
        return self.prefix + re.sub(r"[^A-Za-z0-9._-]+", "_", folder).strip("._-")


SETS: dict[str, SceneSet] = {
    "ibrnet_collected_1": SceneSet("ibrnet_collected", "ibrnet_collected_1", prefix="ibrnet1_"),
    "ibrnet_collected_2": SceneSet("ibrnet_collected", "ibrnet_collected_2", prefix="ibrnet2_"),
    "real_iconic_noface": SceneSet(
        "real_iconic_noface", "real_iconic_noface", less=EXCLUDED | SEGMENTATION
    ),
    "test_data": SceneSet("real_iconic_noface", "real_iconic_noface", only=SEGMENTATION),
    "nerf_llff_data": SceneSet("nerf_llff_data", "nerf_llff_data", only=NERF),
}


def sets_of(archive: str) -> dict[str, SceneSet]:
    """Return the sets whose scenes lie in an archive."""
    return {name: scenes for name, scenes in SETS.items() if scenes.archive == archive}


def archive_of_known_scene(scene: str) -> str | None:
    """Return the archive of a scene whose name is published; None for any other."""
    holders = [scenes.archive for scenes in SETS.values() if scene in (scenes.only or ())]
    return holders[0] if holders else None
