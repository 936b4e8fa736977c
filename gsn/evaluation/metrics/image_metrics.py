"""How close a rendered picture is to the true photo: PSNR, SSIM and, with its weights, LPIPS."""

import logging
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pickle import UnpicklingError

import torch
from torch import Tensor

from gsn.checks import check_shape
from gsn.teachers.torchvision_ops import import_torchvision

log = logging.getLogger(__name__)

# Distance of two batches of pictures: (1, 3, H, W) in [0, 1], twice → one number.
Lpips = Callable[[Tensor, Tensor], Tensor]

# An exact copy has no PSNR. What float32 cannot tell from it gets 138.5 dB, so that a mean exists.
LEAST_MSE = torch.finfo(torch.float32).eps ** 2

SSIM_WINDOW_PX = 11  # what a Gaussian of sigma 1.5 is cut to
SSIM_SIGMA_PX = 1.5

DOWNLOAD_TIMEOUT_S = 20.0  # for each answer of the server, not for the whole file


def score_image(
    render: Tensor,  # (H, W, 3)
    photo: Tensor,  # (H, W, 3)
    lpips: Lpips | None,
) -> dict[str, float]:
    """Compare a render with the photo, both RGB in [0, 1]; the render is clipped to that first.

    PSNR is -10 log10(MSE) without the 60 dB ceiling of the reference implementation of GSN. SSIM
    (Wang et al. 2004) has an 11 x 11 Gaussian window of sigma 1.5 and is averaged over channels and
    over the pixels whose window lies within the picture (the reference padded with zeros). LPIPS
    is that of Zhang et al. 2018 (arXiv:1801.03924).

    Args:
        render: What the model made of the view.
        photo: The view.
        lpips: From `load_lpips`; without it there is no LPIPS.

    Returns:
        `psnr_db`, `ssim` and, given `lpips`, `lpips`.

    Raises:
        ValueError: Shapes differ, the pictures are smaller than the SSIM window, the photo is
            not in [0, 1], or the render has a value that is not finite.
    """
    size = check_shape("render", render, "H W 3")
    check_shape("photo", photo, "H W 3", size)
    if min(size.values()) < SSIM_WINDOW_PX:
        raise ValueError(
            f"render: expected at least {SSIM_WINDOW_PX} pixels a side for SSIM, got {size}"
        )
    if not (photo.min() >= 0.0 and photo.max() <= 1.0):
        raise ValueError(
            f"photo: expected values in [0, 1], got {photo.min():.3g} to {photo.max():.3g}"
        )
    if not render.isfinite().all():
        raise ValueError("render: expected finite values, got NaN or infinity")
    render, photo = render.float().clamp(0.0, 1.0), photo.float()
    batches = render.permute(2, 0, 1)[None], photo.permute(2, 0, 1)[None]
    scores = {"psnr_db": _psnr_db(render, photo), "ssim": _ssim(*batches)}
    if lpips is not None:
        scores["lpips"] = float(lpips(*batches))
    return scores


def _psnr_db(render: Tensor, photo: Tensor) -> float:
    mse = float(torch.square(render.double() - photo.double()).mean())
    return -10.0 * math.log10(max(mse, LEAST_MSE))


def _ssim(
    render: Tensor,  # (1, 3, H, W)
    photo: Tensor,  # (1, 3, H, W)
) -> float:
    import_torchvision()
    from torchmetrics.functional.image import structural_similarity_index_measure

    # In double: the variances are differences of near-equal numbers, and on a GPU convolutions in
    # float32 may run in TF32, with 10 bits. The map, not torchmetrics' own mean: which pixels that
    # mean takes has changed between its releases.
    _, each_pixel = structural_similarity_index_measure(
        render.double(),
        photo.double(),
        sigma=SSIM_SIGMA_PX,
        data_range=1.0,
        return_full_image=True,
    )
    margin = SSIM_WINDOW_PX // 2
    return float(each_pixel[..., margin:-margin, margin:-margin].mean())


def load_lpips(device: torch.device) -> Lpips | None:
    """Build LPIPS with its AlexNet backbone; without the weights, say why and return None.

    The weights come from torch's hub cache or are downloaded there. Call it once a run: without
    network each call tries again.
    """
    try:
        import_torchvision()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        # `normalize`: pictures in [0, 1] are brought to the [-1, 1] that the network was made for.
        with _network_timeout(DOWNLOAD_TIMEOUT_S):
            metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    except ImportError as error:
        log.warning("no LPIPS: its libraries cannot be imported (%s)", error)
        return None
    # The last two: a file that is not what its hash says, or is no checkpoint.
    except (OSError, HTTPException, RuntimeError, UnpicklingError) as error:
        log.warning("no LPIPS: the AlexNet weights cannot be had (%s)", error)
        return None
    metric = metric.to(device)

    @torch.inference_mode()
    def lpips(render: Tensor, photo: Tensor) -> Tensor:
        value: Tensor = metric(render.to(device), photo.to(device))
        metric.reset()  # else it would keep every score
        return value

    return lpips


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """Let no new connection wait longer than this for an answer; torch's hub sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
