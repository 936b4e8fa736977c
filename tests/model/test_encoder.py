import pytest
import torch
from torch import nn

from gsn.model.encoder import ENCODER_STRIDE_PX, DecoderLayer, Encoder
from gsn.model.network import count_parameters

PUBLISHED = (64, (3, 4, 6), 32)
SIZES = [(378, 504), (756, 1008), (96, 128), (97, 113), (33, 34), (31, 47)]


def shape_of_map(height, width, parity):
    with torch.device("meta"):  # shapes alone, nothing is computed
        return tuple(Encoder(*PUBLISHED, parity)(torch.empty(2, 3, height, width)).shape)


def tiny(parity=False):
    torch.manual_seed(0)
    return Encoder(4, (1, 1, 1), 5, parity).double().eval()


def photos(height, width, n_views=1):
    draw = torch.Generator().manual_seed(1)
    return torch.rand(n_views, 3, height, width, generator=draw, dtype=torch.float64)


def test_the_published_encoder_has_as_many_weights_as_counted():
    with torch.device("meta"):
        encoder = Encoder(*PUBLISHED, parity=True)
    assert count_parameters(encoder) == 8_877_056
    parts = {name: count_parameters(part) for name, part in encoder.named_children()}
    assert parts["stem"] + parts["stem_norm"] == 9_408 + 128
    assert [parts[f"stage{i}"] for i in (1, 2, 3)] == [226_176, 1_116_416, 6_822_400]
    assert [parts[p] for p in ("up3", "merge3", "up2", "merge2", "out")] == [
        *(295_296, 295_296, 73_920, 36_960, 1_056)
    ]


def test_in_parity_mode_the_map_is_as_large_as_the_published_one():
    assert shape_of_map(378, 504, parity=True) == (2, 32, 96, 128)
    assert shape_of_map(756, 1008, parity=True) == (2, 32, 192, 252)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_otherwise_the_map_is_a_quarter_of_the_photo_rounded_up(height, width):
    assert shape_of_map(height, width, parity=False) == (2, 32, -(-height // 4), -(-width // 4))


def test_upsampling_keeps_old_cells_and_puts_means_between():
    old = torch.tensor([[1.0, 3.0, 9.0], [5.0, 5.0, -1.0]])
    new = tiny()._upsample(old[None, None])[0, 0]
    by_hand = [[1, 2, 3, 6, 9], [3, 3.5, 4, 4, 4], [5, 5, 5, 2, -1]]
    torch.testing.assert_close(new, torch.tensor(by_hand))


def test_what_upsampling_does_not_reach_repeats_the_last_cell():
    joined = tiny()._join(torch.tensor([[[[1.0, 2.0]]]]), torch.full((1, 1, 2, 3), 7.0))
    assert joined[0, 0].tolist() == [[1, 2, 2], [1, 2, 2]]
    assert joined[0, 1].tolist() == [[7, 7, 7], [7, 7, 7]]


def test_in_parity_mode_the_skip_is_padded_with_zeros_at_its_right_and_bottom():
    joined = tiny(parity=True)._join(torch.ones(1, 1, 2, 4), torch.full((1, 1, 1, 3), 7.0))
    assert joined[0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert joined[0, 1].tolist() == [[7, 7, 7, 0], [0, 0, 0, 0]]


def make_mirror_symmetric(encoder):
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data + layer.weight.data.flip(-1)


@pytest.mark.parametrize("parity", [False, True])
def test_cells_sit_at_every_fourth_pixel_and_drift_as_published_in_parity_mode(parity):
    """A network that knows no left and right gives the mirrored map for the mirrored photo.

    Cells at 0, 4, …, 64 of 65 columns are mirrored onto themselves; cells that drift are not.
    """
    encoder = tiny(parity)
    make_mirror_symmetric(encoder)
    image = photos(33, 65)
    with torch.no_grad():
        there, back = encoder(image), encoder(image.flip(-1)).flip(-1)
    assert there.shape[-1] == (17 if not parity else 20)
    assert torch.allclose(there, back, atol=1e-9) is not parity


def without_norms(encoder):
    """Statistics over the whole photo would hide what a shift does."""
    for module in encoder.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d):
                setattr(module, name, nn.Identity())


def shifted(encoder, pixels):
    image = photos(33, 320 + pixels)
    with torch.no_grad():
        return encoder(image[..., :320]), encoder(image[..., pixels:])


def test_a_photo_moved_by_sixteen_pixels_moves_the_map_by_four_cells():
    encoder = tiny()
    without_norms(encoder)
    before, after = shifted(encoder, 16)
    inside = slice(24, 80 - 24 - 4)  # cells that no border reaches
    moved = before[..., slice(inside.start + 4, inside.stop + 4)]
    torch.testing.assert_close(after[..., inside], moved, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(after[..., inside], before[..., inside], rtol=1e-3)


def test_the_finest_features_move_by_one_cell_for_four_pixels():
    encoder = tiny()
    without_norms(encoder)
    # Only what comes from the quarter-size skip: the coarser levels see 16 pixels at a time.
    encoder.merge2.conv.weight.data[:, :4] = 0
    before, after = shifted(encoder, ENCODER_STRIDE_PX)
    inside = slice(24, 80 - 24)
    moved = before[..., slice(inside.start + 1, inside.stop + 1)]
    torch.testing.assert_close(after[..., inside], moved, rtol=1e-9, atol=1e-12)


def test_the_photos_of_a_batch_do_not_see_one_another():
    encoder, images = tiny(), photos(33, 40, n_views=3)
    with torch.no_grad():
        together, alone = encoder(images), encoder(images[1:2])
    torch.testing.assert_close(together[1:2], alone)


def test_every_weight_takes_part():
    encoder = tiny()
    encoder(photos(33, 40)).square().sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias in front of an instance norm is taken out again with the mean.
    assert all(name.endswith("conv.bias") for name in idle)


def test_a_decoder_layer_is_convolution_norm_and_elu():
    layer = DecoderLayer(3, 2).double()
    x = photos(6, 7)
    with torch.no_grad():
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        y = nn.functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
        flat = y.flatten(2)
        y = (y - flat.mean(2)[..., None, None]) / (
            flat.var(2, unbiased=False)[..., None, None] + 1e-5
        ).sqrt()
        by_hand = torch.where(y > 0, y, y.exp() - 1)
        torch.testing.assert_close(layer(x), by_hand)


def test_photos_too_small_for_the_encoder_are_refused():
    encoder = Encoder(8, (1, 1, 1), 4, parity=False)
    with pytest.raises(ValueError, match="photos of 40×16 px"):
        encoder(torch.zeros(1, 3, 16, 40))
