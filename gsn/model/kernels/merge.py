"""The attention of a view block: what V views say about a sample becomes one token.

Twin of the middle of `gsn.model.transformers.ViewTransformer`. Of its chain of linear layers only
products of weights are left (value of key: W_value W_key; the first layer of the score: 64 → 8), so
that keys, values, scores and positions of a view exist in registers alone, and the softmax over the
views runs while they are read (Milakov and Gimelshein, arXiv 1805.02867). The backward pass makes
them again.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsn.model.kernels.common import (
    MASKED,
    cells,
    dot_precision,
    drop,
    keep,
    kernel_dtype,
    load_cells,
    n_programs,
    padded,
    rows_of,
    store_cells,
    threshold,
    transposed,
    within,
    zeros_like,
)


@dataclass(frozen=True)
class MergeWeights:
    """Products of the weights of a view block; E is the width of its inner layers, C / 8.

    The hidden layer of the position has one more channel, which is 1: biases are weights of it.
    Others, which are 0, make it a power of two, K, so that rows are loaded in few pieces.
    """

    value: Tensor  # (C, F), from an observation
    score: Tensor  # (E, F), from an observation to the hidden layer of the score
    teacher_value: Tensor | None  # (C, D), from a teacher feature
    teacher_score: Tensor | None  # (E, D)
    place_value: Tensor  # (C, K), from the hidden layer of the position to the value
    place_score: Tensor  # (E, K), from there to the hidden layer of the score
    weight: Tensor  # (C, E), from the hidden layer of the score to the logarithm of the weights


@triton.jit
def _load_view(
    h_ptr: tl.tensor, t_ptr: tl.tensor, place_ptr: tl.tensor, colour_ptr: tl.tensor, at: tl.tensor,
    rows: tl.tensor, there: tl.tensor, f: tl.tensor, d: tl.tensor, k: tl.tensor, F: tl.constexpr,
    D: tl.constexpr, K: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return observation, teacher feature, position, and whether the view sees the sample."""
    h = load_cells(h_ptr, at, rows, there, f, F, F)
    t = h
    if D > 0:
        t = load_cells(t_ptr, at, rows, there, d, D, D)
    place = load_cells(place_ptr, at, rows, there, k, K, K)
    seen = tl.load(colour_ptr + at * 4 + 3 + rows * 4, mask=there, other=0.0) > 0
    return h, t, tl.maximum(place, 0.0).to(DT), seen


@triton.jit
def _load_weights(
    of_h_ptr: tl.tensor, of_t_ptr: tl.tensor, of_place_ptr: tl.tensor, n: tl.tensor, f: tl.tensor,
    d: tl.tensor, k: tl.tensor, N: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
    DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load what makes some of N channels from observation, teacher feature and position."""
    of_h = load_cells(of_h_ptr, 0, n, n < N, f, F, F).to(DT)
    of_t = of_h
    if D > 0:
        of_t = load_cells(of_t_ptr, 0, n, n < N, d, D, D).to(DT)
    return of_h, of_t, load_cells(of_place_ptr, 0, n, n < N, k, K, K).to(DT)


@triton.jit
def _from_view(
    h: tl.tensor, t: tl.tensor, place: tl.tensor, of_h: tl.tensor, of_t: tl.tensor,
    of_place: tl.tensor, D: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    y = tl.dot(h, tl.trans(of_h), input_precision=IP)
    if D > 0:
        y = tl.dot(t, tl.trans(of_t), y, input_precision=IP)
    return tl.dot(place, tl.trans(of_place), y, input_precision=IP)


@triton.jit
def _merge_forward(
    h_ptr: tl.tensor, t_ptr: tl.tensor, place_ptr: tl.tensor, colour_ptr: tl.tensor,
    query_ptr: tl.tensor, value_h_ptr: tl.tensor, score_h_ptr: tl.tensor, value_t_ptr: tl.tensor,
    score_t_ptr: tl.tensor, value_place_ptr: tl.tensor, score_place_ptr: tl.tensor,
    weight_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor, unseen_ptr: tl.tensor,
    seed_ptr: tl.tensor, n_rows: tl.tensor, n_views: tl.tensor, C: tl.constexpr, E: tl.constexpr,
    F: tl.constexpr, D: tl.constexpr, K: tl.constexpr, BE: tl.constexpr, BF: tl.constexpr,
    BD: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, B: tl.constexpr, SAVE: tl.constexpr,
    LOW: tl.constexpr, P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Merge the views of a tile of samples, for some of the channels: they do not mix."""
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    e, f, d, k = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD), tl.arange(0, BK)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    score_h, score_t, score_place = _load_weights(
        score_h_ptr, score_t_ptr, score_place_ptr, e, f, d, k, E, F, D, K, DT
    )
    value_h, value_t, value_place = _load_weights(
        value_h_ptr, value_t_ptr, value_place_ptr, n, f, d, k, C, F, D, K, DT
    )
    of_inner = load_cells(weight_ptr, 0, n, n < C, e, E, E).to(DT)
    query = load_cells(query_ptr, first, rows, there, e, E, E).to(tl.float32)
    highest = tl.full([B, BN], LOW, tl.float32)
    total = tl.zeros([B, BN], tl.float32)
    merged = tl.zeros([B, BN], tl.float32)
    unseen = tl.load(unseen_ptr + first + rows, mask=there, other=0.0) > 0
    hidden = tl.where(unseen, 0.0, LOW)  # a sample that no view sees gets the mean of all of them
    at = first
    for _view in range(n_views):
        h, t, place, seen = _load_view(
            h_ptr, t_ptr, place_ptr, colour_ptr, at, rows, there, f, d, k, F, D, K, DT
        )
        inner = _from_view(h, t, place, score_h, score_t, score_place, D, IP) - query
        inner = tl.maximum(inner, 0.0).to(DT)
        score = tl.dot(inner, tl.trans(of_inner), input_precision=IP)
        value = _from_view(h, t, place, value_h, value_t, value_place, D, IP)
        score = tl.where(seen[:, None], score, hidden[:, None])
        # Of the new view and those before it, the one with the higher score has the factor 1.
        ahead = score - highest
        other = tl.exp(-tl.abs(ahead))
        rescale = tl.where(ahead > 0, other, 1.0)
        weight = tl.where(ahead > 0, 1.0, other)
        highest = tl.maximum(highest, score)
        total = total * rescale + weight
        if P > 0:
            weight = tl.where(keep(seed_ptr, at, rows, n, C, P), weight, 0.0)
        merged = merged * rescale + weight * value
        at += n_rows
    merged = merged / (total * (1.0 - P * 2.3283064365386963e-10))
    store_cells(y_ptr, first, rows, there, n, C, merged, C)
    if SAVE:
        store_cells(lse_ptr, first, rows, there, n, C, highest + tl.log(total), C)


@triton.jit
def _channel_gradients(
    score: tl.tensor, value: tl.tensor, seen: tl.tensor, unseen: tl.tensor, y_ptr: tl.tensor,
    lse_ptr: tl.tensor, dy_ptr: tl.tensor, seed_ptr: tl.tensor, first: tl.tensor, at: tl.tensor,
    rows: tl.tensor, there: tl.tensor, n: tl.tensor, C: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradients of value and score of a view, for some of the channels."""
    score = tl.where(seen[:, None], score, 0.0)
    lse = load_cells(lse_ptr, first, rows, there, n, C, C)
    # Of a view that does not count the score may be far above lse: no exponential of that.
    weight = tl.exp(tl.minimum(score - lse, 0.0))
    weight = tl.where((seen | unseen)[:, None], weight, 0.0)
    dy = load_cells(dy_ptr, first, rows, there, n, C, C).to(tl.float32)
    along = dy * load_cells(y_ptr, first, rows, there, n, C, C).to(tl.float32)
    if P > 0:
        dy = drop(dy, seed_ptr, at, rows, n, C, P)
    dvalue = weight * dy
    dscore = tl.where(seen[:, None], dvalue * value - weight * along, 0.0)
    return dvalue.to(DT), dscore.to(DT)


@triton.jit
def _merge_backward_input(
    h_ptr: tl.tensor, t_ptr: tl.tensor, place_ptr: tl.tensor, colour_ptr: tl.tensor,
    query_ptr: tl.tensor, value_h_ptr: tl.tensor, score_h_ptr: tl.tensor, value_t_ptr: tl.tensor,
    score_t_ptr: tl.tensor, value_place_ptr: tl.tensor, score_place_ptr: tl.tensor,
    weight_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor, unseen_ptr: tl.tensor,
    dy_ptr: tl.tensor, later_ptr: tl.tensor, dh_ptr: tl.tensor, dplace_ptr: tl.tensor,
    dquery_ptr: tl.tensor, inner_ptr: tl.tensor, dinner_ptr: tl.tensor, dvalue_ptr: tl.tensor,
    dscore_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, n_views: tl.tensor,
    C: tl.constexpr, E: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
    BC: tl.constexpr, BE: tl.constexpr, BF: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
    BN: tl.constexpr, B: tl.constexpr, LATER: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
    IP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradients of the inputs, and what those of the weights are products of.

    Channels are taken some at a time: for all of them there are not enough registers.
    """
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    e, f, d, k = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD), tl.arange(0, BK)
    score_h, score_t, score_place = _load_weights(
        score_h_ptr, score_t_ptr, score_place_ptr, e, f, d, k, E, F, D, K, DT
    )
    query = load_cells(query_ptr, first, rows, there, e, E, E).to(tl.float32)
    unseen = tl.load(unseen_ptr + first + rows, mask=there, other=0.0) > 0
    dquery = tl.zeros([B, BE], tl.float32)
    at = first
    for _view in range(n_views):
        h, t, place, seen = _load_view(
            h_ptr, t_ptr, place_ptr, colour_ptr, at, rows, there, f, d, k, F, D, K, DT
        )
        inner = _from_view(h, t, place, score_h, score_t, score_place, D, IP) - query
        inner = tl.maximum(inner, 0.0).to(DT)
        store_cells(inner_ptr, at, rows, there, e, E, inner, E)
        dinner = tl.zeros([B, BE], tl.float32)
        dh = tl.zeros([B, BF], tl.float32)
        dplace = tl.zeros([B, BK], tl.float32)
        for start in tl.static_range(0, BC, BN):
            n = start + tl.arange(0, BN)
            value_h, value_t, value_place = _load_weights(
                value_h_ptr, value_t_ptr, value_place_ptr, n, f, d, k, C, F, D, K, DT
            )
            of_inner = load_cells(weight_ptr, 0, n, n < C, e, E, E).to(DT)
            score = tl.dot(inner, tl.trans(of_inner), input_precision=IP)
            value = _from_view(h, t, place, value_h, value_t, value_place, D, IP)
            dvalue, dscore = _channel_gradients(
                score, value, seen, unseen, y_ptr, lse_ptr, dy_ptr, seed_ptr, first, at, rows,
                there, n, C, P, DT,
            )  # fmt: skip
            store_cells(dvalue_ptr, at, rows, there, n, C, dvalue, C)
            store_cells(dscore_ptr, at, rows, there, n, C, dscore, C)
            dinner = tl.dot(dscore, of_inner, dinner, input_precision=IP)
            dh = tl.dot(dvalue, value_h, dh, input_precision=IP)
            dplace = tl.dot(dvalue, value_place, dplace, input_precision=IP)
        dinner = tl.where(inner > 0, dinner, 0.0)
        dquery -= dinner
        dinner = dinner.to(DT)
        store_cells(dinner_ptr, at, rows, there, e, E, dinner, E)
        dh = tl.dot(dinner, score_h, dh, input_precision=IP)
        if LATER:
            dh += load_cells(later_ptr, at, rows, there, f, F, F).to(tl.float32)
        store_cells(dh_ptr, at, rows, there, f, F, dh, F)
        dplace = tl.dot(dinner, score_place, dplace, input_precision=IP)
        dplace = tl.where(place > 0, dplace, 0.0)
        store_cells(dplace_ptr, at, rows, there, k, K, dplace, K)
        at += n_rows
    store_cells(dquery_ptr, first, rows, there, e, E, dquery, E)


@triton.jit
def _merge_backward_weight(
    h_ptr: tl.tensor, t_ptr: tl.tensor, place_ptr: tl.tensor, inner_ptr: tl.tensor,
    dinner_ptr: tl.tensor, dvalue_ptr: tl.tensor, dscore_ptr: tl.tensor, dvalue_h_ptr: tl.tensor,
    dscore_h_ptr: tl.tensor, dvalue_t_ptr: tl.tensor, dscore_t_ptr: tl.tensor,
    dvalue_place_ptr: tl.tensor, dscore_place_ptr: tl.tensor, dweight_ptr: tl.tensor,
    n_rows: tl.tensor, C: tl.constexpr, E: tl.constexpr, F: tl.constexpr, D: tl.constexpr,
    K: tl.constexpr, BE: tl.constexpr, BF: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
    BN: tl.constexpr, B: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the gradients of the weights over a share of the rows of all views."""
    e, f, d, k = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD), tl.arange(0, BK)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    # Transposed, all but the small ones: matrix units want the long side first.
    dvalue_h = tl.zeros([BF, BN], tl.float32)
    dscore_h = tl.zeros([BF, BE], tl.float32)
    dvalue_t = tl.zeros([BD, BN], tl.float32)
    dscore_t = tl.zeros([BD, BE], tl.float32)
    dvalue_place = tl.zeros([BN, BK], tl.float32)
    dscore_place = tl.zeros([BE, BK], tl.float32)
    dweight = tl.zeros([BN, BE], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        h = load_cells(h_ptr, first, rows, there, f, F, F)
        place = tl.maximum(load_cells(place_ptr, first, rows, there, k, K, K), 0.0).to(DT)
        inner = load_cells(inner_ptr, first, rows, there, e, E, E)
        dinner = load_cells(dinner_ptr, first, rows, there, e, E, E)
        dvalue = load_cells(dvalue_ptr, first, rows, there, n, C, C)
        dscore = load_cells(dscore_ptr, first, rows, there, n, C, C)
        dvalue_h = tl.dot(tl.trans(h), dvalue, dvalue_h, input_precision=IP)
        dscore_h = tl.dot(tl.trans(h), dinner, dscore_h, input_precision=IP)
        if D > 0:
            t = load_cells(t_ptr, first, rows, there, d, D, D)
            dvalue_t = tl.dot(tl.trans(t), dvalue, dvalue_t, input_precision=IP)
            dscore_t = tl.dot(tl.trans(t), dinner, dscore_t, input_precision=IP)
        dvalue_place = tl.dot(tl.trans(dvalue), place, dvalue_place, input_precision=IP)
        dscore_place = tl.dot(tl.trans(dinner), place, dscore_place, input_precision=IP)
        dweight = tl.dot(tl.trans(dscore), inner, dweight, input_precision=IP)
    tl.atomic_add(cells(dvalue_place_ptr, 0, n, k, K), dvalue_place, mask=within(n, k, C, K))
    tl.atomic_add(cells(dweight_ptr, 0, n, e, E), dweight, mask=within(n, e, C, E))
    tl.atomic_add(transposed(dvalue_h_ptr, f, n, F), dvalue_h, mask=within(f, n, F, C))
    if D > 0:
        tl.atomic_add(transposed(dvalue_t_ptr, d, n, D), dvalue_t, mask=within(d, n, D, C))
    if tl.program_id(1) == 0:  # what follows is the same for all channels
        tl.atomic_add(cells(dscore_place_ptr, 0, e, k, K), dscore_place, mask=within(e, k, E, K))
        tl.atomic_add(transposed(dscore_h_ptr, f, e, F), dscore_h, mask=within(f, e, F, E))
        if D > 0:
            tl.atomic_add(transposed(dscore_t_ptr, d, e, D), dscore_t, mask=within(d, e, D, E))


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, observations: Tensor, teacher: Tensor | None, place: Tensor, colour: Tensor,
        unseen: Tensor, query: Tensor, dropout: float, seed: Tensor | None,
        *weights: Tensor | None,
    ) -> Any:  # fmt: skip
        n_views, n_rows, width = observations.shape
        save = any(ctx.needs_input_grad)
        query, place = query.contiguous(), place.contiguous()
        weights = tuple(None if weight is None else weight.contiguous() for weight in weights)
        channels = 0 if teacher is None else teacher.shape[-1]
        merged = observations.new_empty(n_rows, width + channels)
        lse = torch.empty(n_rows if save else 1, width + channels, device=merged.device)
        sizes = _sizes(query.shape[-1], width, channels, place.shape[-1], dropout, merged.dtype)
        launch = _launch(merged.dtype, min(64, padded(width + channels)), stages=3)
        blocks = triton.cdiv(width + channels, launch["BN"])
        given = (observations, teacher, place, colour, query, *weights, merged, lse, unseen)
        _merge_forward[(triton.cdiv(n_rows, launch["B"]), blocks)](
            *(*given, seed, n_rows, n_views), **sizes, **launch, SAVE=save, LOW=MASKED
        )
        ctx.save_for_backward(*given, seed)
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return merged, observations

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, later: Tensor | None) -> Any:  # type: ignore[override]
        *given, seed = ctx.saved_tensors
        if dy is None:
            return later, *([None] * 14)
        observations, teacher, place, _, query, *weights, _, _, _ = given
        n_views, n_rows, _ = observations.shape
        width, inner_width = dy.shape[-1], query.shape[-1]
        dh, dplace, dquery = (torch.empty_like(x) for x in (observations, place, query))
        inner, dinner = query.new_empty(2, n_views, n_rows, inner_width)
        dvalue, dscore = query.new_empty(2, n_views, n_rows, width)
        later = None if later is None else later.contiguous()
        block = padded(width)
        launch = _launch(dh.dtype, min(32, block), stages=2)
        _merge_backward_input[(triton.cdiv(n_rows, launch["B"]),)](
            *(*given, dy.contiguous(), later, dh, dplace, dquery, inner, dinner, dvalue, dscore),
            *(seed, n_rows, n_views),
            **ctx.sizes,
            **launch,
            BC=block,
            LATER=later is not None,
        )
        of_weights = zeros_like(*weights)
        launch = _launch(dh.dtype, min(64, block), stages=2)
        blocks, tiles = triton.cdiv(width, launch["BN"]), triton.cdiv(dvalue[..., 0].numel(), 64)
        sizes = {name: size for name, size in ctx.sizes.items() if name != "P"}
        _merge_backward_weight[(n_programs(tiles, dy.device, blocks), blocks)](
            *(observations, teacher, place, inner, dinner, dvalue, dscore, *of_weights),
            n_views * n_rows,
            **sizes,
            **launch,
        )
        return dh, None, dplace, None, None, dquery, None, None, *of_weights


def _sizes(
    inner: int, width: int, channels: int, place: int, dropout: float, dtype: torch.dtype
) -> dict[str, Any]:
    sizes: dict[str, Any] = {"E": inner, "F": width, "D": channels, "K": place}
    sizes |= {f"B{name}": padded(size) for name, size in sizes.items()}
    sizes |= {"C": width + channels, "P": threshold(dropout)}
    return sizes | {"DT": kernel_dtype(dtype), "IP": dot_precision(dtype)}


def _launch(dtype: torch.dtype, channels: int, stages: int) -> dict[str, int]:
    """Return rows and channels of a tile, and how a program is run, as measured on an H100."""
    if dtype == torch.float32:
        return {"B": 16, "BN": 16, "num_warps": 4, "num_stages": 1}
    return {"B": 64, "BN": channels, "num_warps": 4, "num_stages": stages}


def merge(
    observations: Tensor,  # (V, N, F)
    teacher: Tensor | None,  # (V, N, D), without gradient; C = F + D
    place: Tensor,  # (V, N, K), hidden layer of the position, before its ReLU
    colour: Tensor,  # (V, N, 4), the last one tells whether the view sees the sample
    unseen: Tensor,  # (N,), 1 where no view does, else 0
    query: Tensor,  # (N, E), in the hidden layer of the score
    weights: MergeWeights,
    dropout: float = 0.0,
    seed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # (N, C), (V, N, F)
    """Return what attention makes of the views, and the observations, to be used from here on."""
    merged, passed = _Merge.apply(
        *(observations, teacher, place, colour, unseen, query, dropout, seed),
        *(getattr(weights, name) for name in weights.__dataclass_fields__),
    )  # type: ignore[no-untyped-call]
    return merged, passed
