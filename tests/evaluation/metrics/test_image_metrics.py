import logging
import math
import socket
from pickle import UnpicklingError
from urllib.error import URLError

import pytest
import torch

from gsn.evaluation.metrics.image_metrics import load_lpips, score_image

CPU = torch.device("cpu")


def random_picture(seed: int, height: int = 16, width: int = 20) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


def ssim_by_loop(first: torch.Tensor, second: torch.Tensor) -> float:
    """Reference: one window at a time, only those within the picture."""
    offsets = [i - 5 for i in range(11)]
    bell = [math.exp(-(o**2) / (2 * 1.5**2)) for o in offsets]
    window = torch.tensor([[a * b for b in bell] for a in bell], dtype=torch.float64)
    window /= window.sum()
    values = []
    for channel in range(3):
        for row in range(5, first.shape[0] - 5):
            for column in range(5, first.shape[1] - 5):
                place = (slice(row - 5, row + 6), slice(column - 5, column + 6), channel)
                a, b = first[place].double(), second[place].double()
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a = (window * (a - mean_a) ** 2).sum()
                var_b = (window * (b - mean_b) ** 2).sum()
                cov = (window * (a - mean_a) * (b - mean_b)).sum()
                light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
                shape = (2 * cov + 0.03**2) / (var_a + var_b + 0.03**2)
                values.append(float(light * shape))
    return sum(values) / len(values)


def test_a_constant_offset_of_a_tenth_has_20_db():
    photo = torch.full((12, 12, 3), 0.5)
    assert score_image(photo + 0.1, photo, None)["psnr_db"] == pytest.approx(20.0, abs=1e-4)


def test_psnr_goes_beyond_the_60_db_of_the_reference_implementation():
    photo = torch.full((12, 12, 3), 0.5)
    assert score_image(photo + 1e-4, photo, None)["psnr_db"] == pytest.approx(80.0, abs=0.02)


def test_an_exact_copy_has_ssim_1_and_a_finite_psnr():
    photo = random_picture(0)
    scores = score_image(photo, photo, None)
    assert scores["ssim"] == pytest.approx(1.0, abs=1e-9)
    assert scores["psnr_db"] == pytest.approx(20 * math.log10(2**23), abs=1e-6)


def test_ssim_of_two_flat_pictures_is_its_luminance_term():
    a, b = 0.25, 0.75
    got = score_image(torch.full((12, 12, 3), a), torch.full((12, 12, 3), b), None)["ssim"]
    assert got == pytest.approx((2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4), abs=1e-6)


def test_ssim_matches_a_loop_over_windows():
    photo = random_picture(1, 13, 15)
    render = (photo + 0.2 * random_picture(2, 13, 15)).clamp(0, 1)
    got = score_image(render, photo, None)["ssim"]
    assert got == pytest.approx(ssim_by_loop(render, photo), abs=1e-9)
    assert 0.1 < got < 0.99


def test_a_render_beyond_the_range_is_clipped():
    photo = random_picture(3)
    render = photo + 0.4 * random_picture(4) - 0.2
    assert render.max() > 1 and render.min() < 0
    assert score_image(render, photo, None) == score_image(render.clamp(0, 1), photo, None)


def test_a_photo_in_bytes_is_refused():
    with pytest.raises(ValueError, match=r"photo: expected values in \[0, 1\], got 0 to 255"):
        score_image(random_picture(5), 255 * (random_picture(5) > 0.5).float(), None)


def test_a_render_with_nan_is_refused():
    render = random_picture(5)
    render[3, 4, 1] = float("nan")
    with pytest.raises(ValueError, match="render: expected finite values"):
        score_image(render, random_picture(5), None)


def test_a_picture_smaller_than_the_ssim_window_is_refused():
    with pytest.raises(ValueError, match="at least 11 pixels a side"):
        score_image(random_picture(6, 10, 20), random_picture(6, 10, 20), None)


def test_lpips_gets_channels_first_pictures_in_0_to_1_and_its_number_is_reported():
    seen = []

    def fake(render, photo):
        seen.extend([render, photo])
        return torch.tensor(0.125)

    photo = random_picture(7)
    scores = score_image(3 * photo - 1, photo, fake)
    assert scores["lpips"] == 0.125
    torch.testing.assert_close(seen[0][0].permute(1, 2, 0), (3 * photo - 1).clamp(0, 1))
    torch.testing.assert_close(seen[1][0].permute(1, 2, 0), photo)
    assert seen[0].shape == (1, 3, 16, 20)
    assert seen[0].min() == 0 and seen[0].max() == 1


def test_without_lpips_its_key_is_absent():
    assert set(score_image(random_picture(8), random_picture(9), None)) == {"psnr_db", "ssim"}


def test_lpips_network_sees_minus_1_to_1(monkeypatch):
    score_image(random_picture(8), random_picture(9), None)  # makes torchmetrics importable
    import torchmetrics.image.lpip

    class FakeNetwork(torch.nn.Module):
        """In place of the backbone: tells the range it was given."""

        def __init__(self, net):
            super().__init__()
            assert net == "alex"

        def forward(self, first, second, normalize):
            scale = (lambda x: 2 * x - 1) if normalize else (lambda x: x)
            return (scale(first).amin() * 100 + scale(second).amax()).reshape(1, 1, 1, 1)

    monkeypatch.setattr(torchmetrics.image.lpip, "_NoTrainLpips", FakeNetwork)
    lpips = load_lpips(CPU)
    first, second = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    assert float(lpips(first, second)) == -100 + 1
    # A second pair is scored by itself, not averaged with the first.
    assert float(lpips(second, second)) == 100 + 1


@pytest.mark.parametrize(
    "error",
    [
        URLError("name not known"),
        TimeoutError("timed out"),
        RuntimeError("invalid hash value"),
        UnpicklingError("invalid load key"),
        ModuleNotFoundError("no torchvision"),
    ],
)
def test_without_weights_there_is_no_lpips_but_one_logged_reason(monkeypatch, caplog, error):
    score_image(random_picture(8), random_picture(9), None)
    import torchmetrics.image.lpip

    timeouts = []

    def no_network(net):
        timeouts.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr(torchmetrics.image.lpip, "_NoTrainLpips", no_network)
    before = socket.getdefaulttimeout()
    with caplog.at_level(logging.WARNING):
        assert load_lpips(CPU) is None
    assert [str(error) in record.message for record in caplog.records] == [True]
    assert timeouts[0] is not None and timeouts[0] <= 30
    assert socket.getdefaulttimeout() == before
