"""The attention of a view block, forward: see `gsn.model.kernels.merge`.

The softmax over the views runs while they are read (Milakov and Gimelshein, arXiv 1805.02867), in
powers of 2, which is what a GPU computes.
"""

import triton
import triton.language as tl

from gsn.model.kernels.common import (
    UNIT,
    keep,
    load_cells,
    relu,
    rows_of,
    seed_of,
    sees,
    store_cells,
)


@triton.jit
def load_view(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, visible_ptr: tl.tensor,
    at: tl.tensor, rows: tl.tensor, there: tl.tensor, f: tl.tensor, d: tl.tensor, r: tl.tensor,
    F: tl.constexpr, D: tl.constexpr, R: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return observation, teacher feature, ray difference, and whether the view sees the sample."""
    h = load_cells(h_ptr, at, rows, there, f, F, F)
    t = h
    if D > 0:
        t = load_cells(t_ptr, at, rows, there, d, D, D)
    difference = load_difference(difference_ptr, at, rows, there, r, R, DT)
    return h, t, difference, sees(visible_ptr, at, rows, there)


@triton.jit
def load_difference(
    difference_ptr: tl.tensor, at: tl.tensor, rows: tl.tensor, there: tl.tensor, r: tl.tensor,
    R: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return ray differences with a 1 behind each, which a bias is the weight of."""
    difference = load_cells(difference_ptr, at, rows, there, r, R, R)
    return tl.where(r[None, :] == R, 1.0, difference).to(DT)


@triton.jit
def place_of(
    difference: tl.tensor, position: tl.tensor, DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the hidden layer of the position of a view."""
    return relu(tl.dot(difference, tl.trans(position), input_precision=IP)).to(DT)


@triton.jit
def load_weights(
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
def from_view(
    h: tl.tensor, t: tl.tensor, place: tl.tensor, of_h: tl.tensor, of_t: tl.tensor,
    of_place: tl.tensor, D: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return some channels of what observation, teacher feature and position make together."""
    y = tl.dot(h, tl.trans(of_h), input_precision=IP)
    if D > 0:
        y = tl.dot(t, tl.trans(of_t), y, input_precision=IP)
    return tl.dot(place, tl.trans(of_place), y, input_precision=IP)


@triton.jit
def hidden_of(
    h: tl.tensor, t: tl.tensor, place: tl.tensor, seen: tl.tensor, query: tl.tensor,
    score_h: tl.tensor, score_t: tl.tensor, score_place: tl.tensor, D: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the hidden layer of the score of a view; zero where it does not see the sample."""
    before = from_view(h, t, place, score_h, score_t, score_place, D, IP) - query
    return tl.where(seen[:, None], relu(before), 0.0).to(DT)


@triton.jit
def merge_forward(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, visible_ptr: tl.tensor,
    query_ptr: tl.tensor, position_ptr: tl.tensor, value_h_ptr: tl.tensor, score_h_ptr: tl.tensor,
    value_t_ptr: tl.tensor, score_t_ptr: tl.tensor, value_place_ptr: tl.tensor,
    score_place_ptr: tl.tensor, weight_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    seeing_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, n_views: tl.tensor,
    C: tl.constexpr, E: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
    R: tl.constexpr, BE: tl.constexpr, BF: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
    BR: tl.constexpr, BN: tl.constexpr, B: tl.constexpr, SAVE: tl.constexpr, LOW: tl.constexpr,
    P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Merge the views of a tile of samples, for some of the channels: they do not mix."""
    first, rows, there = rows_of(tl.program_id(0), n_rows, B)
    e, f, d = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD)
    k, r = tl.arange(0, BK), tl.arange(0, BR)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    position = load_cells(position_ptr, 0, k, k < K, r, R + 1, R + 1).to(DT)
    score_h, score_t, score_place = load_weights(
        score_h_ptr, score_t_ptr, score_place_ptr, e, f, d, k, E, F, D, K, DT
    )
    value_h, value_t, value_place = load_weights(
        value_h_ptr, value_t_ptr, value_place_ptr, n, f, d, k, C, F, D, K, DT
    )
    of_inner = load_cells(weight_ptr, 0, n, n < C, e, E, E).to(DT)
    query = load_cells(query_ptr, first, rows, there, e, E, E).to(tl.float32)
    highest = tl.full([B, BN], LOW, tl.float32)
    total = tl.zeros([B, BN], tl.float32)
    merged = tl.zeros([B, BN], tl.float32)
    unseen = tl.load(seeing_ptr + first + rows, mask=there, other=0.0) == 0
    hidden = tl.where(unseen, 0.0, LOW)  # a sample that no view sees gets the mean of all of them
    seed = seed_of(seed_ptr, P)
    at = first
    for _view in range(n_views):
        h, t, difference, seen = load_view(
            h_ptr, t_ptr, difference_ptr, visible_ptr, at, rows, there, f, d, r, F, D, R, DT
        )
        place = place_of(difference, position, DT, IP)
        inner = hidden_of(h, t, place, seen, query, score_h, score_t, score_place, D, DT, IP)
        score = tl.dot(inner, tl.trans(of_inner), input_precision=IP)
        value = from_view(h, t, place, value_h, value_t, value_place, D, IP)
        score = tl.where(seen[:, None], score, hidden[:, None])
        # Of the new view and those before it, the one with the higher score has the factor 1.
        ahead = score - highest
        other = tl.exp2(-tl.abs(ahead))
        rescale = tl.where(ahead > 0, other, 1.0)
        weight = tl.where(ahead > 0, 1.0, other)
        highest = tl.maximum(highest, score)
        total = total * rescale + weight
        if P > 0:
            weight = tl.where(keep(seed, at, rows, n, P), weight, 0.0)
        merged = merged * rescale + weight * value
        at += n_rows
    total *= 1.0 - P * UNIT  # what dropout keeps is enlarged, here and in the backward pass
    store_cells(y_ptr, first, rows, there, n, C, merged / total, C)
    if SAVE:
        store_cells(lse_ptr, first, rows, there, n, C, highest + tl.log2(total), C)
