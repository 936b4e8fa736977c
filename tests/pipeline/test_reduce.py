import json

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gsn.captures.capture import Capture
from gsn.captures.pack import write_pack
from gsn.features.basis import Basis, BasisError
from gsn.features.pca import PcaFit
from gsn.features.prompts import PROMPTS_FILE, Prompts
from gsn.features.store import StoreError, StoreHeader, chunk_path, view_fingerprint
from gsn.features.targets import load_targets
from gsn.features.update import StoreUpdate, store_path
from gsn.geometry.cell_grid import CellGrid
from pipeline.reduce import ReduceConfig, main, reduce

CPU = torch.device("cpu")
GLOBAL = ReduceConfig(dims=4, scope="global")
PER_SCENE = ReduceConfig(dims=4, scope="scene")
MADE_BY = {"name": "fake"}
SCENES = ("s", "t", "u")
TRAIN = ["s", "t"]
SHAPE = (3, 4, 6)  # h, w, C


def image(scene, view):
    rng = np.random.default_rng(list(f"{scene} {view}".encode()))
    return rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)


def map_of(scene, view):
    """Features whose distribution depends on the scene."""
    mixing = np.random.default_rng(list(scene.encode())).standard_normal((6, 6))
    rng = np.random.default_rng(list(f"{scene} {view}".encode()))
    return (rng.standard_normal((*SHAPE[:2], 6)) @ mixing + 3).astype(np.float16)


def write_scene_pack(folder, scene, views="abcd", held_out="a"):
    n_views = len(views)
    capture = Capture(
        name=scene,
        view_names=tuple(views),
        image_sha256=tuple(views),
        images=np.stack([image(scene, view) for view in views]),
        intrinsics=np.tile(np.eye(3), (n_views, 1, 1)),
        cam_to_world=np.tile(np.eye(4), (n_views, 1, 1)),
        near=1.0,
        far=2.0,
    )
    path = folder / f"{scene}.h5"
    write_pack(path, capture, np.array([view in held_out for view in views]))
    return path


def write_features(folder, scene, views="abcd", made_by=MADE_BY, change=None, replace=None):
    maps = [map_of(scene, view) for view in views]
    for k, view in enumerate(views):
        if change is not None:
            change(view, maps[k])
        if replace is not None:
            maps[k] = replace(view, maps[k])
    header = StoreHeader(
        made_by=made_by,
        view_names=tuple(views),
        fingerprints=tuple(view_fingerprint(made_by, image(scene, view)) for view in views),
        map_shape=maps[0].shape,
        cell_grid=CellGrid((1.5, 1.5), (4, 4)),
        image_size=(12, 16),
    )
    update = StoreUpdate(store_path(folder, scene), header)
    update.begin()
    for view in update.missing:
        update.write(view, maps[view])
    update.finish()


@pytest.fixture
def world(tmp_path):
    """Packs and features of three scenes; view a of each is held out."""
    packs = [write_scene_pack(tmp_path, scene) for scene in SCENES]
    for scene in SCENES:
        write_features(tmp_path / "features", scene)
    return packs, TRAIN, tmp_path / "features", tmp_path / "targets"


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def vectors(scenes, views="bcd"):
    maps = [map_of(scene, view).reshape(-1, 6) for scene in scenes for view in views]
    return np.concatenate(maps).astype(np.float64)


def assert_same_basis(basis, expected):
    got = basis.components
    signs = np.sign((got * expected.components_).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(got, signs * expected.components_, atol=1e-9)
    np.testing.assert_allclose(basis.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(basis.explained_variance, expected.explained_variance_, rtol=1e-9)


def test_the_shared_basis_is_that_of_training_views_of_training_scenes(world):
    reduce(*world, GLOBAL, CPU)
    basis = Basis.load(world[3] / "basis.npz")
    assert_same_basis(basis, PCA(4, svd_solver="full").fit(vectors(["s", "t"])))
    assert basis.made_by["views"] == {"s": ["b", "c", "d"], "t": ["b", "c", "d"]}
    assert basis.n_samples == 2 * 3 * 12


def test_held_out_views_and_test_scenes_leave_no_trace_in_the_basis(world, tmp_path):
    reduce(*world, GLOBAL, CPU)
    before = Basis.load(world[3] / "basis.npz")

    def blow_up_held_out(view, values):
        values *= np.float16(9 if view == "a" else 1)

    write_features(tmp_path / "other", "s", change=blow_up_held_out)
    write_features(tmp_path / "other", "t", change=blow_up_held_out)
    write_features(tmp_path / "other", "u", change=lambda view, values: values.fill(7))
    reduce(*world[:2], tmp_path / "other", world[3], GLOBAL, CPU)
    after = Basis.load(world[3] / "basis.npz")
    assert after.sha256 == before.sha256


@pytest.mark.parametrize("cfg", [GLOBAL, PER_SCENE])
def test_targets_are_the_coefficients_of_every_view(world, cfg):
    reduce(*world, cfg, CPU)
    for scene in SCENES:
        targets = load_targets(world[3], scene)
        fitted_on = TRAIN if cfg is GLOBAL else [scene]
        assert_same_basis(targets.basis, PCA(4, svd_solver="full").fit(vectors(fitted_on)))
        assert targets.maps.header.view_names == tuple("abcd")
        for k, view in enumerate("abcd"):
            centred = map_of(scene, view).astype(np.float64) - targets.basis.mean
            expected = np.einsum("hwc,dc->hwd", centred, targets.basis.components)
            np.testing.assert_allclose(targets.maps.read(k), expected, rtol=1e-3, atol=1e-3)


def test_a_change_of_scope_leaves_nothing_of_the_other(world, tmp_path):
    for cfg, files in (
        (GLOBAL, {"basis.npz"}),
        (PER_SCENE, {"s.basis.npz", "t.basis.npz", "u.basis.npz"}),
        (GLOBAL, {"basis.npz"}),
    ):
        reduce(*world, cfg, CPU)
        assert {path.name for path in world[3].glob("*.npz")} == files
    fresh = tmp_path / "fresh"
    reduce(*world[:3], fresh, GLOBAL, CPU)
    assert contents(world[3]) == contents(fresh)


def test_targets_of_an_earlier_basis_are_made_again(world, tmp_path):
    reduce(*world, GLOBAL, CPU)
    packs = [write_scene_pack(tmp_path, scene, held_out="b") for scene in SCENES]
    reduce(packs, *world[1:], GLOBAL, CPU)
    reduce(packs, *world[1:3], tmp_path / "fresh", GLOBAL, CPU)
    assert contents(world[3]) == contents(tmp_path / "fresh")
    load_targets(world[3], "s")


def test_a_second_run_touches_no_map(world):
    reduce(*world, GLOBAL, CPU)
    before = {path: path.stat().st_mtime_ns for path in world[3].glob("*.zarr/*")}
    assert len(before) == 3 * 5
    reduce(*world, GLOBAL, CPU)
    assert {path: path.stat().st_mtime_ns for path in world[3].glob("*.zarr/*")} == before


def test_a_basis_of_another_run_is_refused_on_loading(world, tmp_path):
    reduce(*world, GLOBAL, CPU)
    reduce(*world[:1], ["u"], world[2], tmp_path / "other", GLOBAL, CPU)
    (world[3] / "basis.npz").write_bytes((tmp_path / "other" / "basis.npz").read_bytes())
    with pytest.raises(StoreError, match=r"s\.zarr: made with the basis"):
        load_targets(world[3], "s")


def test_packs_without_features_are_named(world, tmp_path):
    packs = [*world[0], write_scene_pack(tmp_path, "v")]
    with pytest.raises(FileNotFoundError, match=r"v\.zarr.*v\.h5 is prepared.*dvc repro extract"):
        reduce(packs, *world[1:], GLOBAL, CPU)


def test_damaged_maps_stop_the_stage_with_what_to_do(world):
    path = chunk_path(store_path(world[2], "t"), 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"t\.zarr/c\.2\.0\.0\.0.*damaged.*repro -f -s extract"):
        reduce(*world, GLOBAL, CPU)


def test_nan_in_a_map_is_refused_by_name(world):
    def spoil(view, values):
        if view == "c":
            values[1, 2, 3] = np.nan

    write_features(world[2] / "bad", "s", change=spoil)
    with pytest.raises(BasisError, match=r"s\.zarr: view 'c': features hold NaN"):
        reduce(world[0][:1], ["s"], world[2] / "bad", world[3], GLOBAL, CPU)


def test_a_coefficient_beyond_float16_is_refused_by_name(world):
    """The held-out view is far outside what the basis was fitted on."""

    def stretch(view, values):
        values[:] = 60000 if view == "a" else values

    write_features(world[2] / "bad", "s", change=stretch)
    with pytest.raises(BasisError, match=r"s\.zarr: view 'a': a coefficient is NaN or beyond"):
        reduce(world[0][:1], ["s"], world[2] / "bad", world[3], GLOBAL, CPU)


def test_targets_of_coefficients_have_a_basis_that_begins_at_the_teacher(world, tmp_path):
    """Features that were themselves projected when they were made."""
    streamed = tmp_path / "streamed"
    pca = PcaFit(6)
    pca.add(vectors(SCENES))
    inner = pca.solve(5, {})
    inner.save(streamed / "basis.npz")
    by_hand = {"file": "basis.npz", "sha256": inner.sha256}

    def project(view, values):
        return inner.project(values).astype(np.float16)

    for scene in SCENES:
        made_by = {"basis": by_hand, "features": MADE_BY}
        write_features(streamed, scene, made_by=made_by, replace=project)
    reduce(*world[:2], streamed, world[3], GLOBAL, CPU)
    targets = load_targets(world[3], "u")
    assert targets.basis.components.shape == (4, 6)
    for k, view in enumerate("abcd"):
        expected = targets.basis.project(map_of("u", view))
        np.testing.assert_allclose(targets.maps.read(k), expected, rtol=2e-3, atol=1e-2)

    by_hand["sha256"] = "of another basis"
    write_features(streamed, "s", made_by={"basis": by_hand, "features": MADE_BY}, replace=project)
    with pytest.raises(StoreError, match=r"s\.zarr: made with the basis.*repro -f -s extract"):
        reduce(world[0][:1], ["s"], streamed, world[3], GLOBAL, CPU)


def test_prompts_are_those_of_the_features_or_none(world, tmp_path):
    reduce(*world, GLOBAL, CPU)
    assert not (world[3] / PROMPTS_FILE).exists()
    prompts = Prompts(("a",), np.eye(1, 6, dtype=np.float32), {"teacher": MADE_BY})
    prompts.save(world[2] / PROMPTS_FILE)
    reduce(*world, GLOBAL, CPU)
    assert contents(world[3])[PROMPTS_FILE] == contents(world[2])[PROMPTS_FILE]
    (world[2] / PROMPTS_FILE).unlink()
    reduce(*world, GLOBAL, CPU)
    reduce(*world[:3], tmp_path / "fresh", GLOBAL, CPU)
    assert contents(world[3]) == contents(tmp_path / "fresh")


def test_prompts_of_another_teacher_are_refused(world):
    vectors = np.eye(1, 6, dtype=np.float32)
    Prompts(("a",), vectors, {"teacher": {"name": "other"}}).save(world[2] / PROMPTS_FILE)
    with pytest.raises(StoreError, match=r"prompts\.npz and .* different teachers: run `dvc repro"):
        reduce(*world, GLOBAL, CPU)


@pytest.mark.parametrize(("cfg", "n_fit"), [(GLOBAL, 6), (PER_SCENE, 9)])
def test_the_price_is_said_first(world, caplog, cfg, n_fit):
    caplog.set_level("INFO", logger="pipeline.reduce")
    reduce(*world, cfg, CPU)
    first = caplog.messages[0]
    read = (n_fit + 12) * (3 * 4 * 6 * 2 + 4) / 1e6  # float16 and a checksum
    written = 12 * (3 * 4 * 4 * 2 + 4) / 1e6
    assert first == (
        f"{n_fit} maps to fit on, at most 12 to project: {read:.3f} MB to read, "
        f"{written:.3f} MB to write"
    )


@pytest.mark.gpu
def test_a_gpu_writes_the_same_targets(world, tmp_path):
    reduce(*world, GLOBAL, CPU)
    reduce(*world[:3], tmp_path / "gpu", GLOBAL, torch.device("cuda"))
    for scene in SCENES:
        expected, got = (load_targets(out, scene) for out in (world[3], tmp_path / "gpu"))
        np.testing.assert_allclose(got.basis.components, expected.basis.components, atol=1e-9)
        for view in range(4):
            np.testing.assert_allclose(
                got.maps.read(view), expected.maps.read(view), rtol=2**-10, atol=1e-6
            )


def test_more_dimensions_than_channels_or_vectors_are_refused(world, tmp_path):
    with pytest.raises(BasisError, match=r"7 PCA dimensions.*6 channels; lower `dims`"):
        reduce(*world, ReduceConfig(dims=7, scope="global"), CPU)
    packs = [write_scene_pack(tmp_path, scene, held_out="abcd") for scene in SCENES]
    with pytest.raises(BasisError, match=r"scenes \[s, t\]: all are held out"):
        reduce(packs, *world[1:], GLOBAL, CPU)


def test_a_training_scene_without_pack_is_refused(world):
    with pytest.raises(ValueError, match=r"training scenes \['z'\] are not among the packs"):
        reduce(world[0], ["s", "z"], *world[2:], GLOBAL, CPU)


@pytest.mark.parametrize("section", [{"dims": 0, "scope": "global"}, {"dims": 4, "scope": "all"}])
def test_wrong_settings_are_refused(section):
    with pytest.raises(ValueError, match="ReduceConfig"):
        ReduceConfig(**section)


def test_the_command_line_reads_scenes_and_section(world, tmp_path):
    params = tmp_path / "params.yaml"
    sections = {
        "scenes": {"train": TRAIN, "test": ["u"]},
        "reduce": {"dims": 3, "scope": "global"},
    }
    params.write_text(json.dumps(sections))
    main(tmp_path, world[2], world[3], params, device="cpu")
    targets = load_targets(world[3], "u")
    assert targets.maps.header.map_shape == (3, 4, 3)
    assert list(targets.basis.made_by["views"]) == TRAIN
