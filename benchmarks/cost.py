"""What the arithmetic of the network needs: products, bytes, and the least time of one H100.

Products of matrices and convolutions only, a multiplication with its addition being two FLOP. The
backward pass takes twice the forward one, less gradients of what nothing is learnt from.
"""

import math
from dataclasses import dataclass

import torch

from gsn.model.network import GsnModel, ModelConfig, count_parameters
from gsn.model.renderer import ENCODED_SIZE
from gsn.model.surface_blend import KEY_SIZE

PEAK_FLOPS = 800e12  # of one H100, bfloat16, large products of matrices as measured
PEAK_BYTES = 3e12  # of its memory, in a second, as measured
ADAM_BYTES = 32  # of a weight, in float32: it and two moments read and written, gradient both ways
HALF, FULL = 2, 4  # bytes of a number


@dataclass(frozen=True)
class Cost:
    """The least that some work takes."""

    flop: float  # every product once
    bytes: float  # to and from the device's memory
    again: float = 0.0  # FLOP of the forward pass that a fused backward pass does a second time

    @property
    def floor_s(self) -> float:
        """Seconds that no program on the device can beat."""
        return max((self.flop + self.again) / PEAK_FLOPS, self.bytes / PEAK_BYTES)


@dataclass(frozen=True)
class Work:
    """Sizes of what is computed, besides those of the network."""

    rays: int
    views: int  # source views of a ray
    height: int  # of a photograph
    width: int
    teacher: tuple[int, int, int] | None = None  # (D, h, w): with a feature head


@dataclass(frozen=True)
class Products:
    """Multiplications of one pass, and those whose input needs no gradient."""

    forward: float
    first: float  # of layers that read given values: their backward pass is a forward one shorter

    @property
    def backward(self) -> float:
        """Multiplications of the backward pass."""
        return 2 * self.forward - self.first


@dataclass(frozen=True)
class Convolution:
    """One layer of the encoder, for one photograph."""

    products: int
    values: int  # read and written


def convolutions(config: ModelConfig, height: int, width: int) -> list[Convolution]:
    """List the layers of the encoder in order; the first is the stem."""
    layers: list[Convolution] = []

    def add(
        size: tuple[int, int], channels_in: int, channels: int, kernel: int, stride: int = 1
    ) -> tuple[int, int]:
        out = (-(-size[0] // stride), -(-size[1] // stride))
        cells_in, cells = size[0] * size[1], out[0] * out[1]
        products = kernel**2 * channels_in * channels * cells
        layers.append(Convolution(products, channels_in * cells_in + channels * cells))
        return out

    c, size = config.encoder_width, (height, width)
    size = add(size, 3, c, 7, 2)
    maps, last = [], c
    for channels, n_blocks in zip((c, 2 * c, 4 * c), config.encoder_blocks, strict=True):
        before, size = size, add(size, last, channels, 3, 2)
        add(before, last, channels, 1, 2)
        for _ in range(2 * n_blocks - 1):
            add(size, channels, channels, 3)
        maps.append(size)
        last = channels
    for skip, channels, merged in ((maps[1], 2 * c, 2 * c), (maps[0], c, config.encoder_channels)):
        doubled = (2 * size[0], 2 * size[1])
        if not config.parity:
            doubled = (doubled[0] - 1, doubled[1] - 1)
        add(doubled, 2 * channels, channels, 3)
        size = doubled if config.parity else skip
        add(size, 2 * channels, merged, 3)
    add(size, config.encoder_channels, config.encoder_channels, 1)
    return layers


def encoder_products(config: ModelConfig, height: int, width: int) -> Products:
    """Count for one photograph."""
    layers = convolutions(config, height, width)
    return Products(sum(layer.products for layer in layers), layers[0].products)


def renderer_products(config: ModelConfig, views: int) -> Products:
    """Count for one sample, colour alone; what is done for each ray is shared by its samples."""
    c, appearance = config.width, 3 + config.encoder_channels
    place = (c + ENCODED_SIZE) * c + c**2
    embed = views * (appearance * c + c**2)
    pair = _view_block(c, views) + _ray_block(c, config.samples)
    n_places = len(range(0, config.depth, 2))
    forward = embed + config.depth * pair + (n_places + 1) * place + 3 * c / config.samples
    if not config.parity:
        forward += _blend(c, c, views, 3)
    return Products(forward, config.depth * _position_input(c, views))


def head_products(config: ModelConfig, views: int, channels: int) -> Products:
    """Count for one sample: what the feature head adds."""
    c = config.width + channels
    output = c * channels / config.samples
    forward = _view_block(c, views) + _ray_block(c, config.samples) + output
    first = _position_input(c, views)
    if not config.parity:
        forward += _blend(c, c, views, channels)
        first += views * channels  # the teacher's features, which are blended, are given
    return Products(forward, first)


def _view_block(c: int, views: int) -> int:
    hidden = c // 8
    of_view = 2 * c**2 + (4 * hidden + hidden * c) + 2 * c * hidden
    return views * of_view + 2 * c**2 + 8 * c**2


def _position_input(c: int, views: int) -> int:
    return views * 4 * (c // 8)


def _ray_block(c: int, samples: int) -> int:
    return 4 * c**2 + 2 * samples * c + 8 * c**2


def _blend(token: int, observation: int, views: int, values: int) -> int:
    return token + KEY_SIZE * token + views * ((observation + 4) * KEY_SIZE + values)


def step_cost(config: ModelConfig, work: Work) -> Cost:
    """Return the cost of a training step: all source views encoded, all weights learnt.

    A fused renderer keeps no activations, so that its forward pass comes again in the backward
    pass; the encoder's maps are kept. Every convolution reads its input and writes its output once,
    in bfloat16, and twice as much in the backward pass.
    """
    encoder = encoder_products(config, work.height, work.width)
    of_sample = _sample_products(config, work)
    samples = work.rays * config.samples
    products = work.views * (encoder.forward + encoder.backward)
    products += samples * sum(part.forward + part.backward for part in of_sample)
    again = 2 * samples * sum(part.forward for part in of_sample)
    n_bytes: float = 3 * _encoder_bytes(config, work) + ADAM_BYTES * _n_weights(config, work)
    # The renderer reads maps and targets, and sums up the gradient of the encoder's map.
    n_bytes += _read_by_renderer(config, work) + 2 * FULL * _map_values(config, work)
    return Cost(2 * products, n_bytes + FULL * work.rays * _outputs(work), again)


def render_cost(config: ModelConfig, work: Work, with_encoder: bool) -> Cost:
    """Return the cost of rendering rays, and of encoding their source views if they are not."""
    samples = work.rays * config.samples
    products = samples * sum(part.forward for part in _sample_products(config, work))
    cost = Cost(2 * products, _read_by_renderer(config, work) + FULL * work.rays * _outputs(work))
    if not with_encoder:
        return cost
    encoder = 2 * work.views * encoder_products(config, work.height, work.width).forward
    return Cost(cost.flop + encoder, cost.bytes + _encoder_bytes(config, work))


def _sample_products(config: ModelConfig, work: Work) -> list[Products]:
    parts = [renderer_products(config, work.views)]
    if work.teacher is not None:
        parts.append(head_products(config, work.views, work.teacher[0]))
    return parts


def _encoder_bytes(config: ModelConfig, work: Work) -> int:
    layers = convolutions(config, work.height, work.width)
    return HALF * work.views * sum(layer.values for layer in layers)


def _read_by_renderer(config: ModelConfig, work: Work) -> int:
    """Return the bytes of photographs (uint8), maps (bfloat16, float16) and weights, each once."""
    photographs = work.views * 3 * work.height * work.width
    teacher = work.views * HALF * math.prod(work.teacher or (0,))
    weights = HALF * _n_weights(config, work)
    return photographs + HALF * _map_values(config, work) + teacher + weights


def _map_values(config: ModelConfig, work: Work) -> int:
    last = convolutions(config, work.height, work.width)[-1]
    return work.views * last.values // 2  # as many are read as are written


def _outputs(work: Work) -> int:
    return 3 + (work.teacher[0] if work.teacher else 0)


def _n_weights(config: ModelConfig, work: Work) -> int:
    with torch.device("meta"):
        return count_parameters(GsnModel(config, work.teacher and work.teacher[0]))
