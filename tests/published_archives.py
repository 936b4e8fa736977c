"""Archives of tiny scenes in the layout of the published ones."""

import io
import zipfile

import numpy as np

from gsn.captures.archives.catalogue import EXCLUDED, NERF, SEGMENTATION


def poses(n_rows):
    stream = io.BytesIO()
    np.save(stream, np.zeros((n_rows, 17)))
    return stream.getvalue()


def scene_files(folder, n_views=3, images="images"):
    """Files of one scene by name: photographs, cameras and what no reader wants."""
    files = {f"{folder}/{images}/{i}.jpg": f"{folder} {i}".encode() for i in range(n_views)}
    files[f"{folder}/poses_bounds.npy"] = poses(n_views)
    files[f"{folder}/DiNOFeats/0.pt"] = b"pickle"
    files[f"{folder}/.DS_Store"] = b"junk"
    return files


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


PUBLISHED = {
    "nerf_llff_data": [f"nerf_llff_data/{name}" for name in sorted(NERF)],
    "real_iconic_noface": [
        f"real_iconic_noface/{name}" for name in ["data1_one", *sorted(EXCLUDED | SEGMENTATION)]
    ],
    "ibrnet_collected": [
        *("ibrnet_collected_1/qq1", "ibrnet_collected_1/a b"),
        *("ibrnet_collected_2/qq1", "ibrnet_collected_2/zc2"),
    ],
}


def publish_archive(folder, name, changes=None):
    """Write `<name>.zip` of the catalogue; `changes` replace or add files, None takes one away."""
    files = {}
    for scene in PUBLISHED[name]:
        files |= scene_files(scene)
    files |= changes or {}
    folder.mkdir(parents=True, exist_ok=True)
    kept = {file: content for file, content in files.items() if content is not None}
    return make_zip(folder / f"{name}.zip", kept)
