import functools

import numpy as np
import pytest
import torch
from torch import nn

from gsn.fingerprint import sha256_of_settings
from gsn.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsn.teachers.teacher import VitConfig
from gsn.teachers.vision_transformer import VisionTransformerTeacher, import_timm

CPU = torch.device("cpu")
import_timm()
from timm.layers import resample_abs_pos_embed  # noqa: E402
from timm.models.eva import Eva  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

SMALL = {"img_size": 40, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
SMALL |= {"num_classes": 0, "dynamic_img_size": True}
# As DINOv3: rotary positions, registers, a final norm.
ROTARY = SMALL | {"rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True}
ROTARY |= {"use_rot_pos_emb": True, "use_abs_pos_emb": False, "num_reg_tokens": 4}
ROTARY |= {"use_fc_norm": False, "init_values": 1.0}

NETWORKS = {
    "dino": lambda: VisionTransformer(**SMALL),
    "registers": lambda: VisionTransformer(
        **SMALL, reg_tokens=4, no_embed_class=True, init_values=1.0
    ),
    "no biases, normed heads": lambda: VisionTransformer(**SMALL, qkv_bias=False, qk_norm=True),
    "rotary": lambda: Eva(**ROTARY, qkv_bias=False),
    "rotary, biases apart": lambda: Eva(**ROTARY, qkv_bias=True),
    "rotary, projections apart": lambda: Eva(**ROTARY, qkv_fused=False, qk_norm=True),
}


@pytest.fixture(params=NETWORKS)
def network(request, randomise):
    return randomise(NETWORKS[request.param]())


@pytest.fixture
def vit(randomise):
    return randomise(NETWORKS["dino"]())


def wrap(network, long_side_px=None, mean=IMAGENET_MEAN, std=IMAGENET_STD, **options):
    options = {"layers": [-1], "facet": "token", "stride_px": None} | options
    preprocessing = Preprocessing(mean, std, long_side_px)
    return VisionTransformerTeacher(
        "small", network, {"trained": True}, CPU, {}, preprocessing, VitConfig(**options)
    )


def as_rows(maps):
    return maps.flatten(1, 2)


@pytest.mark.parametrize("layers", [[-1], [0], [2, 0, -2]])
def test_layers_are_those_of_the_public_forward_in_the_order_asked_for(
    network, photographs, normalised, layers
):
    images = photographs(35, 50)
    got = wrap(network, layers=layers)(images)
    assert got.shape == (2, 4, 6, 24 * len(layers))
    for image, rows in zip(images, as_rows(got), strict=True):
        after = network.forward_intermediates(
            normalised(image[:32, :48]), norm=True, output_fmt="NLC", intermediates_only=True
        )
        expected = torch.cat([after[layer] for layer in layers], dim=-1)
        torch.testing.assert_close(rows[None], expected, rtol=1e-4, atol=1e-4)


def parts_of_attention(attention):
    """Weights and biases of queries, keys and values, as numpy arrays."""
    if attention.qkv is None:
        linear = [attention.q_proj, attention.k_proj, attention.v_proj]
        weights, biases = [part.weight for part in linear], [part.bias for part in linear]
    else:
        weights = [attention.qkv.weight[24 * i : 24 * (i + 1)] for i in range(3)]
        biases = [None] * 3
        if getattr(attention, "q_bias", None) is not None:
            biases = [attention.q_bias, None, attention.v_bias]  # a key has none
        elif attention.qkv.bias is not None:
            biases = [attention.qkv.bias[24 * i : 24 * (i + 1)] for i in range(3)]
    biases = [torch.zeros(24) if bias is None else bias for bias in biases]
    return {
        facet: (weight.detach().numpy(), bias.detach().numpy())
        for facet, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True)
    }


@pytest.mark.parametrize("facet", ["query", "key", "value"])
def test_facets_are_the_normed_input_times_their_slice_of_the_weights(
    network, photographs, normalised, facet
):
    images = photographs(32, 40)
    inputs = {}
    for layer in (0, 2):
        network.blocks[layer].attn.register_forward_pre_hook(
            lambda _, args, layer=layer: inputs.update({layer: args[0]})
        )
    network.forward_features(normalised(images[1]))
    expected = []
    for layer in (2, 0):
        weight, bias = parts_of_attention(network.blocks[layer].attn)[facet]
        patches = inputs[layer][0, network.num_prefix_tokens :].detach().numpy()
        expected.append(patches @ weight.T + bias)
    got = wrap(network, layers=[2, 0], facet=facet)(images)
    expected = np.concatenate(expected, axis=1)
    np.testing.assert_allclose(as_rows(got)[1].numpy(), expected, rtol=1e-3, atol=1e-3)


def embed_each_patch_alone(network, pixels, stride, size):
    """Cells (1, h, w, C): cut every patch out and multiply it with the flat kernel."""
    kernel, bias = network.patch_embed.proj.weight.flatten(1), network.patch_embed.proj.bias
    cells = torch.zeros(1, *size, 24)
    for i in range(size[0]):
        for j in range(size[1]):
            patch = pixels[0, :, i * stride : i * stride + 8, j * stride : j * stride + 8]
            cells[0, i, j] = kernel @ patch.flatten() + bias
    return cells


@torch.no_grad()
def run_on_cells(network, cells):
    """Add positions of this grid, run all blocks and the norm; patch tokens (h·w, C)."""
    size = cells.shape[1:3]
    tokens, extra = cells.flatten(1, 2), {}
    first = [network.cls_token] + ([] if network.reg_token is None else [network.reg_token])
    if network.pos_embed is None:
        extra = {"rope": network.rope.get_embed(shape=size)}
        tokens = torch.cat([*first, tokens], dim=1)
    elif network.no_embed_class:
        table = resample_abs_pos_embed(network.pos_embed, size, (5, 5), num_prefix_tokens=0)
        tokens = torch.cat([*first, tokens + table], dim=1)
    else:
        table = resample_abs_pos_embed(network.pos_embed, size, (5, 5), num_prefix_tokens=1)
        tokens = torch.cat([*first, tokens], dim=1) + table
    for block in network.blocks:
        tokens = block(tokens, **extra)
    return network.norm(tokens)[0, network.num_prefix_tokens :]


@pytest.mark.parametrize(("stride", "size"), [(3, (6, 9)), (5, (4, 6)), (8, (3, 4))])
def test_overlapping_patches_match_cutting_each_one_out(
    network, photographs, normalised, stride, size
):
    images = photographs(25, 34)  # 25 = 5 · 3 + 8 + 2, 34 = 8 · 3 + 8 + 2
    cells = embed_each_patch_alone(network, normalised(images[0]), stride, size)
    expected = run_on_cells(network, cells)
    teacher = wrap(network, stride_px=stride)
    got = teacher(images)
    assert got.shape[1:3] == teacher.grid_size(25, 34) == size
    torch.testing.assert_close(as_rows(got)[0], expected, rtol=1e-4, atol=1e-4)


def test_pixels_beyond_the_last_patch_change_nothing(vit, photographs):
    images = photographs(25, 34)
    changed = images.clone()
    changed[:, 23:], changed[:, :, 32:] = 0, 255
    teacher = wrap(vit, stride_px=3)
    assert torch.equal(teacher(images), teacher(changed))


@pytest.fixture
def colour_means():
    """Return a network whose tokens are mean colours: a ViT that adds nothing to its patches."""
    network = VisionTransformer(**SMALL | {"embed_dim": 3, "num_heads": 1, "depth": 1})
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        for colour in range(3):
            network.patch_embed.proj.weight[colour, colour] = 255 / 64
    network.norm = nn.Identity()
    return network


@pytest.mark.parametrize(
    ("stride_px", "long_side_px", "margin"),
    # Resizing bends a ramp at the border of the photograph, so those cells are left out.
    [(None, None, 0), (3, None, 0), (None, 127, 1), (None, 50, 1), (5, 111, 2), (3, 60, 3)],
)
def test_cells_lie_where_the_grid_says(
    colour_means, position_image, assert_marks_positions, stride_px, long_side_px, margin
):
    teacher = wrap(
        colour_means, long_side_px, (0.0,) * 3, (1.0,) * 3, stride_px=stride_px, layers=[0]
    )
    cells = teacher(position_image(61, 83))[0].numpy()  # 61 = 7 · 8 + 5, 83 = 10 · 8 + 3
    assert cells.shape[:2] == teacher.grid_size(61, 83)
    assert_marks_positions(cells, teacher.grid(61, 83), (margin, margin))


def test_cell_centres_are_the_mean_pixel_of_each_patch(vit):
    grid = wrap(vit, stride_px=3).grid(61, 83)
    assert (grid.first_px, grid.step_px) == ((3.5, 3.5), (3, 3))  # pixels 0 to 7, then 3 to 10


def test_a_doubled_photograph_halves_the_cells(vit):
    teacher = wrap(vit, long_side_px=80)
    assert teacher.grid_size(30, 40) == (7, 10)
    grid = teacher.grid(30, 40)
    assert (grid.first_px, grid.step_px) == ((1.5, 1.5), (4, 4))  # pixels 0 to 3 of the original


def test_strides_beyond_the_patch_are_refused(vit):
    with pytest.raises(ValueError, match="small: stride_px is 9; expected 1 to 8, the patch size"):
        wrap(vit, stride_px=9)
    with pytest.raises(ValueError, match="greater than 0"):
        VitConfig(layers=[-1], facet="token", stride_px=0)


@pytest.mark.parametrize("layers", [[3], [0, -4]])
def test_layers_that_are_not_there_are_refused(vit, layers):
    with pytest.raises(ValueError, match=r"expected blocks 0 to 2, or -3 to -1"):
        wrap(vit, layers=layers)


def test_a_layer_named_twice_is_refused(vit):
    with pytest.raises(ValueError, match=r"layers are \[2, -1\]: one of them is named twice"):
        wrap(vit, layers=[2, -1])


def test_images_that_are_not_bytes_or_too_small_are_refused(vit):
    teacher = wrap(vit)
    with pytest.raises(ValueError, match="expected uint8"):
        teacher(torch.zeros(1, 8, 8, 3))
    with pytest.raises(ValueError, match="7×9 pixels is smaller than one patch of 8×8"):
        teacher(torch.zeros(1, 7, 9, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"30×90 pixels \(resized: 7×20\) is smaller"):
        wrap(vit, long_side_px=20).grid_size(30, 90)
    with pytest.raises(ValueError, match="expected shape"):
        teacher(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_every_option_is_in_the_fingerprint_and_equal_ones_agree(vit):
    plain = sha256_of_settings(wrap(vit).fingerprint)
    changes = [{"layers": [1]}, {"layers": [1, 2]}, {"layers": [2, 1]}, {"facet": "key"}]
    changes += [{"facet": "query"}, {"stride_px": 4}, {"long_side_px": 64}, {"std": (1.0,) * 3}]
    others = [sha256_of_settings(wrap(vit, **change).fingerprint) for change in changes]
    assert len({plain, *others}) == 1 + len(changes)
    for same in ({"layers": [2]}, {"stride_px": 8}, {}):
        assert sha256_of_settings(wrap(vit, **same).fingerprint) == plain


def test_the_network_is_frozen():
    network = VisionTransformer(**SMALL, proj_drop_rate=0.5)
    wrap(network)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("name", "facet"), [("registers", "token"), ("rotary", "key")])
def test_compiling_takes_the_whole_pass_as_one_graph_and_changes_no_map(
    randomise, photographs, monkeypatch, name, facet
):
    network = randomise(NETWORKS[name]())
    torch.compiler.reset()  # forget the traces of the other cases
    graphs = []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    # The tracing is real; only the generation of code, which takes a minute, is left out.
    compile_whole = functools.partial(torch.compile, backend=count, fullgraph=True)
    monkeypatch.setattr(torch, "compile", compile_whole)
    teacher = wrap(network, stride_px=5, facet=facet)
    expected = teacher(photographs(25, 34))
    teacher.compile()
    torch.testing.assert_close(teacher(photographs(25, 34)), expected)
    assert len(graphs) == 1


@pytest.mark.gpu
def test_cuda_maps_compiled_or_not_agree_with_the_cpu(randomise, photographs):
    images = photographs(65, 82)
    for make in NETWORKS.values():
        on_cpu, weights = wrap(randomise(make()), stride_px=5), {"trained": True}
        options = VitConfig(layers=[-1], facet="token", stride_px=5)
        on_cuda = VisionTransformerTeacher(
            "small", randomise(make()), weights, torch.device("cuda"), {},
            Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None), options,
        )  # fmt: skip
        for _ in range(2):
            cosine = nn.functional.cosine_similarity(on_cpu(images), on_cuda(images).cpu(), dim=-1)
            assert cosine.mean() > 0.99
            on_cuda.compile()
        assert on_cpu.fingerprint["precision"] != on_cuda.fingerprint["precision"]
