import pytest
import torch
from torch import nn

from gsn.fingerprint import sha256_of_settings
from gsn.teachers import load_teacher, sam
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from gsn.teachers.sam import SamTeacher, create_sam, to_timm
from gsn.teachers.vision_transformer import import_timm
from gsn.teachers.weights import load_strictly

CPU = torch.device("cpu")
# The same network, thinner and of three blocks: windows, windows, the whole photograph.
THIN = {"embed_dim": 24, "num_heads": 2, "depth": 3, "global_attn_indexes": [2]}


def thin(**changes):
    return import_timm().create_model("samvit_base_patch16", num_classes=0, **THIN | changes)


def wrap(network, long_side_px=None):
    return SamTeacher("thin", network, {"trained": True}, CPU, long_side_px)


def reference(network, normalised, photograph, side):
    """The public forward on one photograph, padded by hand to a square."""
    height, width = photograph.shape[:2]
    square = torch.zeros(1, 3, side, side)
    square[:, :, :height, :width] = normalised(photograph)
    return network.forward_features(square)[0].permute(1, 2, 0)


def test_maps_are_those_of_the_public_forward_on_photographs_padded_by_hand(
    randomise, photographs, normalised
):
    network, images = randomise(thin()), photographs(120, 256)
    got = wrap(network, 256)(images)
    # Rows 0 to 6 are centred on 7.5 to 103.5; the next on 119.5, half a pixel below the last one.
    assert got.shape == (2, 8, 16, 256) == (2, *wrap(network, 256).grid_size(120, 256), 256)
    for image, cells in zip(images, got, strict=True):
        expected = reference(network, normalised, image, 256)
        torch.testing.assert_close(cells, expected[:8], rtol=1e-3, atol=1e-3)


def test_null_is_the_published_size(randomise, photographs, normalised):
    network = randomise(thin(depth=1, global_attn_indexes=[]))
    images = photographs(600, 1024, n=1)
    got = wrap(network)(images)
    assert got.shape == (1, 38, 64, 256)  # 37 · 16 + 8 = 600
    expected = reference(network, normalised, images[0], 1024)
    torch.testing.assert_close(got[0], expected[:38], rtol=1e-3, atol=1e-3)


def test_photographs_are_resized_bilinearly_as_published(randomise):
    network = randomise(thin(depth=1, global_attn_indexes=[]))
    draw = torch.Generator().manual_seed(4)
    image = torch.randint(256, (50, 100, 3), generator=draw, dtype=torch.uint8)
    rgb = image.permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(c).view(3, 1, 1) for c in (IMAGENET_MEAN, IMAGENET_STD))
    square = torch.zeros(1, 3, 128, 128)
    resized = nn.functional.interpolate(rgb, (64, 128), mode="bilinear", antialias=True)
    square[:, :, :64] = (resized - mean) / std
    expected = network.forward_features(square)[0].permute(1, 2, 0)
    got = wrap(network, 128)(image[None])[0]
    torch.testing.assert_close(got, expected[:4], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "cells"),
    [((128, 87), (8, 5)), ((128, 88), (8, 6)), ((7, 128), None), ((8, 128), (1, 8))],
)
def test_cells_are_kept_whose_centre_lies_in_the_photograph(size, cells):
    teacher = wrap(thin(), 128)
    if cells is None:
        with pytest.raises(ValueError, match=r"7×128 pixels.*narrower than half a patch of 16"):
            teacher.grid_size(*size)
    else:
        assert teacher.grid_size(*size) == cells


@pytest.mark.parametrize(
    ("size", "long_side_px"), [((112, 128), 128), ((61, 83), 128), ((97, 64), 96), ((128, 100), 64)]
)
def test_cells_lie_where_the_grid_says(position_image, assert_marks_positions, size, long_side_px):
    network = thin(embed_dim=3, num_heads=1, depth=1, neck_chans=None)
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        for colour in range(3):
            network.patch_embed.proj.weight[colour, colour] = 255 / 256
    network.neck = nn.Identity()
    teacher = wrap(network, long_side_px)
    settings = network.pretrained_cfg
    mean, std = (255 * torch.tensor(settings[name]) for name in ("mean", "std"))
    cells = (teacher(position_image(*size))[0] / 255 * std + mean).numpy()
    # Cells beside the border hold padding, or a ramp bent by resizing.
    assert cells[1:-1, 1:-1].size
    assert_marks_positions(cells, teacher.grid(*size), (1, 1))


def test_long_sides_that_the_patch_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="thin: long_side_px is 500; expected a multiple of the"):
        wrap(thin(), 500)


def test_an_original_file_gives_the_encoder_alone(randomise, tmp_path):
    network, other = randomise(thin()), randomise(thin(), seed=1)
    original = {
        f"image_encoder.{name.replace('mlp.fc', 'mlp.lin')}": value
        for name, value in network.state_dict().items()
    } | {"mask_decoder.iou_token.weight": torch.zeros(1, 256)}
    assert "image_encoder.blocks.2.mlp.lin1.weight" in original
    for layout in (original, network.state_dict()):
        load_strictly(other, to_timm(layout, other), tmp_path)
        for name, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)


def test_the_registered_network_runs(photographs, teacher_config):
    teacher = load_teacher(teacher_config("sam_vitb16", long_side_px=64), CPU)
    assert teacher.channels == 256
    assert teacher(photographs(30, 40)).shape == (2, 3, 4, 256)
    assert not teacher.trained


def test_only_its_own_options_are_in_the_fingerprint(monkeypatch, teacher_config):
    monkeypatch.setattr(sam, "create_sam", lambda from_hub: thin())

    def fingerprint(**changes):
        config = teacher_config("sam_vitb16", **changes)
        return sha256_of_settings(load_teacher(config, CPU).fingerprint)

    plain = fingerprint()
    assert fingerprint(layers=(3,), facet="key", stride_px=4, mode="windows") == plain
    assert fingerprint(long_side_px=1024) == plain  # what null means
    assert len({plain, fingerprint(long_side_px=512), fingerprint(seed=1)}) == 3


def test_norms_have_the_eps_of_training():
    with torch.device("meta"):
        network = create_sam(from_hub=False)
    norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * 12 + 2  # two a block, two in the neck
    assert {module.eps for module in norms} == {1e-6}


@pytest.mark.gpu
def test_cuda_maps_compiled_or_not_agree_with_the_cpu(randomise, photographs):
    network, images = randomise(thin()), photographs(120, 256)
    on_cpu = wrap(network, 256)(images)
    teacher = SamTeacher("thin", network, {"trained": True}, torch.device("cuda"), 256)
    for _ in range(2):
        cosine = nn.functional.cosine_similarity(on_cpu, teacher(images).cpu(), dim=-1)
        assert cosine.mean() > 0.99
        teacher.compile()
