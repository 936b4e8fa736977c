import numpy as np
import pytest
import torch
from torch.nn import functional

from gsn.teachers.clip_dense import stretch_table

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


@pytest.fixture(scope="module")
def clip(make_clip):
    return make_clip()


@pytest.fixture(scope="module")
def siglip(make_siglip):
    return make_siglip()


def noise(*size, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=draw)


def normalised(images):
    return ((images / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def tokens_by_mask(network, rgb):
    """Run open_clip's last block with a mask that hides from every token all but itself."""
    visual = network.visual
    n_blocks = len(visual.transformer.resblocks)
    found = visual.forward_intermediates(
        rgb,
        indices=[n_blocks - 2],
        intermediates_only=True,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    patches, first = found["image_intermediates"][0], found["image_intermediates_prefix"][0]
    x = torch.cat([first, patches], dim=1)
    mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).fill_diagonal_(0)
    x = visual.transformer.resblocks[-1](x, attn_mask=mask)
    return functional.normalize(visual.ln_post(x)[:, 1:] @ visual.proj, dim=-1)


def tokens_through_the_pool(network, rgb):
    """Give the attention pool one token at a time."""
    trunk = network.visual.trunk
    rows = []
    for token in trunk.forward_features(rgb).flatten(0, 1):
        rows.append(network.visual.head(trunk.forward_head(token[None, None])))
    return functional.normalize(torch.cat(rows), dim=-1)


@pytest.mark.parametrize("changes", [{}, {"ls_init_value": 0.3}, {"no_ln_pre": True}])
def test_clip_tokens_are_those_of_a_last_block_where_each_sees_itself_alone(
    make_clip, wrap_clip, changes
):
    network = make_clip(**changes)
    images = noise(2, 32, 32)
    got = wrap_clip(network)(images)
    expected = tokens_by_mask(network, normalised(images))
    assert got.shape == (2, 4, 4, 24)
    torch.testing.assert_close(got, expected.reshape(2, 4, 4, 24), atol=1e-5, rtol=0)


@pytest.mark.parametrize("projection", ["none", "linear"])
def test_siglip_tokens_are_those_that_go_through_the_pool_alone(make_siglip, wrap_clip, projection):
    network = make_siglip(projection)
    images = noise(2, 32, 32)
    teacher = wrap_clip(network)
    expected = tokens_through_the_pool(network, normalised(images))
    got = teacher(images)
    assert got.shape == (2, 4, 4, teacher.channels) == (2, 4, 4, 48 if projection == "none" else 24)
    torch.testing.assert_close(got, expected.reshape(got.shape), atol=1e-5, rtol=0)


def bicubic_by_loop(old, new):
    """Interpolation weights (new, old) of Keys 1981 with a = -0.75, edges repeated."""

    def kernel(t, a=-0.75):
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    weights = np.zeros((new, old))
    for i in range(new):
        position = (i + 0.5) * old / new - 0.5
        for tap in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
            weights[i, min(max(tap, 0), old - 1)] += kernel(position - tap)
    return torch.from_numpy(weights).float()


def test_a_position_table_grows_by_bicubic_weights():
    table = torch.randn(4 * 4, 5, generator=torch.Generator().manual_seed(0))
    rows, columns = bicubic_by_loop(4, 6), bicubic_by_loop(4, 7)
    expected = torch.einsum("iy,jx,yxc->ijc", rows, columns, table.reshape(4, 4, 5))
    got = stretch_table(table, (4, 4), (6, 7))
    torch.testing.assert_close(got.reshape(6, 7, 5), expected, atol=1e-5, rtol=0)
    assert stretch_table(table, (4, 4), (4, 4)) is table


def test_a_position_table_is_low_passed_where_it_shrinks():
    checks = torch.tensor([1.0, -1.0]).repeat(8)[:, None].repeat(1, 16).reshape(256, 1)
    low_passed = stretch_table(checks, (16, 16), (5, 5))  # else every third row, of full contrast
    assert low_passed.abs().max() < 0.2


@pytest.mark.parametrize("size", [(48, 56), (40, 24)])
def test_at_other_sizes_a_network_built_for_them_gives_the_same(clip, make_clip, wrap_clip, size):
    grid = (size[0] // 8, size[1] // 8)
    other = make_clip(image_size=size)
    weights = clip.state_dict()
    name = "visual.positional_embedding"
    table = weights[name]
    stretched = functional.interpolate(
        table[1:].T.reshape(1, -1, 4, 4), grid, mode="bicubic", antialias=min(grid) < 4
    )
    weights[name] = torch.cat([table[:1], stretched[0].flatten(1).T])
    other.load_state_dict(weights)
    images = noise(1, *size)
    expected = tokens_by_mask(other, normalised(images))
    got = wrap_clip(clip)(images)
    torch.testing.assert_close(got, expected.reshape(1, *grid, 24), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_rest_pixels_change_nothing(kind, wrap_clip, request):
    teacher = wrap_clip(request.getfixturevalue(kind))
    images = noise(1, 45, 58)
    changed = images.clone()
    changed[:, 40:], changed[:, :, 56:] = 0, 255
    assert teacher.grid_size(45, 58) == (5, 7)
    assert torch.equal(teacher(images), teacher(changed))
    torch.testing.assert_close(teacher(images), teacher(images[:, :40, :56]))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("long_side_px", [None, 96])
def test_cells_lie_in_the_middle_of_the_pixels_they_see(
    kind, long_side_px, wrap_clip, make_clip, make_siglip
):
    # With its first block alone a CLIP mixes no patches; SigLIP does so without blocks.
    network = make_clip(layers=1) if kind == "clip" else make_siglip()
    if kind == "siglip":
        network.visual.trunk.blocks = torch.nn.Sequential()
    teacher = wrap_clip(network, long_side_px=long_side_px)
    size = (32, 48)
    grid = teacher.grid(*size)
    for axis in (0, 1):
        images = torch.full((size[axis] + 1, *size, 3), 128, dtype=torch.uint8)
        for k in range(size[axis]):  # one row or column brighter, in the last image none
            images[k].select(axis, k).fill_(255)
        maps = teacher(images)
        changes = (maps[:-1] - maps[-1:]).norm(dim=-1).amax(dim=2 - axis)  # (pixels, cells)
        assert changes.shape[1] == teacher.grid_size(*size)[axis]
        for cell in range(1, changes.shape[1] - 1):
            seen = torch.nonzero(changes[:, cell] > 1e-4)[:, 0].float()
            centre = grid.first_px[axis] + cell * grid.step_px[axis]
            assert abs((seen.min() + seen.max()) / 2 - centre) < 0.1


def test_a_photograph_below_one_patch_is_refused(clip, wrap_clip):
    with pytest.raises(ValueError, match="7×40 pixels is smaller than one patch of 8×8"):
        wrap_clip(clip)(noise(1, 7, 40))


def test_towers_without_a_value_path_are_refused(make_clip, make_siglip, wrap_clip):
    with pytest.raises(ValueError, match=r"without attention pool.*use `clip.mode: windows`"):
        wrap_clip(make_clip(attentional_pool=True, attn_pooler_heads=2))
    siglip = make_siglip()
    siglip.visual.trunk.attn_pool = None
    with pytest.raises(ValueError, match=r"attention pool of one query.*`clip.mode: windows`"):
        wrap_clip(siglip)
    resnet = make_clip(layers=[1, 1, 1, 1], width=8)
    with pytest.raises(ValueError, match="need a ViT, found ModifiedResNet"):
        wrap_clip(resnet)
