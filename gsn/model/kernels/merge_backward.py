"""The attention of a view block, backward: see `gsn.model.kernels.merge`.

Channels are taken some at a time: for all of them there are not enough registers. The gradients of
most weights are sums of products of what the first kernel writes.
"""

import triton
import triton.language as tl

from gsn.model.kernels.common import (
    UNIT,
    add_cells,
    add_transposed,
    keep,
    load_cells,
    rows_of,
    seed_of,
    store_cells,
)
from gsn.model.kernels.merge_forward import (
    from_view,
    hidden_of,
    load_difference,
    load_view,
    load_weights,
    place_of,
)

_LN2 = tl.constexpr(0.6931471805599453)  # weights of views are powers of 2


@triton.jit
def _channel_gradients(
    score: tl.tensor, value: tl.tensor, counts: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    dy_ptr: tl.tensor, seed: tl.tensor, first: tl.tensor, at: tl.tensor, rows: tl.tensor,
    there: tl.tensor, n: tl.tensor, C: tl.constexpr, P: tl.constexpr, DT: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradients of value and score of a view, for some of the channels.

    That of the score lacks the factor ln 2: the callers multiply by it. Where no view sees a sample
    it should be zero, and is not; but there the hidden layer that it goes on to is.
    """
    lse = load_cells(lse_ptr, first, rows, there, n, C, C)
    weight = tl.where(counts[:, None], tl.exp2(score - lse), 0.0)
    dy = load_cells(dy_ptr, first, rows, there, n, C, C).to(tl.float32)
    y = load_cells(y_ptr, first, rows, there, n, C, C).to(tl.float32)
    weighted = weight * dy
    dvalue = weighted
    if P > 0:
        dvalue = tl.where(keep(seed, at, rows, n, P), weighted, 0.0)
    return dvalue.to(DT), (dvalue * value - weighted * ((1.0 - P * UNIT) * y)).to(DT)


@triton.jit
def _load_channels(
    value_h_ptr: tl.tensor, value_t_ptr: tl.tensor, value_place_ptr: tl.tensor,
    weight_ptr: tl.tensor, e: tl.tensor, f: tl.tensor, d: tl.tensor, k: tl.tensor, C: tl.constexpr,
    E: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K: tl.constexpr, BC: tl.constexpr,
    BE: tl.constexpr, BN: tl.constexpr, DT: tl.constexpr,
) -> tl.tuple:  # fmt: skip
    """Return what makes some channels at a time, and where gradients of that are summed."""
    of_channels: tl.tuple = ()
    dweights: tl.tuple = ()
    for start in tl.static_range(0, BC, BN):
        n = start + tl.arange(0, BN)
        value_h, value_t, value_place = load_weights(
            value_h_ptr, value_t_ptr, value_place_ptr, n, f, d, k, C, F, D, K, DT
        )
        of_inner = load_cells(weight_ptr, 0, n, n < C, e, E, E).to(DT)
        of_channels += ((of_inner, value_h, value_t, value_place),)
        dweights += (tl.zeros([BN, BE], tl.float32),)
    return of_channels, dweights


@triton.jit
def _gradients_of_view(
    h: tl.tensor, t: tl.tensor, place: tl.tensor, inner: tl.tensor, counts: tl.tensor,
    of_channels: tl.tuple, dweights: tl.tuple, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    dy_ptr: tl.tensor, dvalue_ptr: tl.tensor, seed: tl.tensor, first: tl.tensor, at: tl.tensor,
    rows: tl.tensor, there: tl.tensor, C: tl.constexpr, D: tl.constexpr, BC: tl.constexpr,
    BE: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, B: tl.constexpr,
    P: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the gradients of both hidden layers and of the observation, and sum the weights'.

    What goes through the hidden layer of the score is not in those of the other two yet.
    """
    dinner = tl.zeros([B, BE], tl.float32)
    dh = tl.zeros([B, BF], tl.float32)
    dplace = tl.zeros([B, BK], tl.float32)
    summed: tl.tuple = ()
    for part in tl.static_range(BC // BN):
        n = part * BN + tl.arange(0, BN)
        of_inner, value_h, value_t, value_place = of_channels[part]
        score = tl.dot(inner, tl.trans(of_inner), input_precision=IP)
        value = from_view(h, t, place, value_h, value_t, value_place, D, IP)
        dvalue, dscore = _channel_gradients(
            score, value, counts, y_ptr, lse_ptr, dy_ptr, seed, first, at, rows, there, n, C, P, DT
        )
        store_cells(dvalue_ptr, at, rows, there, n, C, dvalue, C)
        summed += (tl.dot(tl.trans(dscore), inner, dweights[part], input_precision=IP),)
        dinner = tl.dot(dscore, of_inner, dinner, input_precision=IP)
        dh = tl.dot(dvalue, value_h, dh, input_precision=IP)
        dplace = tl.dot(dvalue, value_place, dplace, input_precision=IP)
    return tl.where(inner > 0, dinner * _LN2, 0.0), dh, dplace, summed


@triton.jit
def _add_channels(
    dweight_ptr: tl.tensor, dweights: tl.tuple, e: tl.tensor, C: tl.constexpr, E: tl.constexpr,
    BC: tl.constexpr, BN: tl.constexpr,
) -> None:  # fmt: skip
    for part in tl.static_range(BC // BN):
        n = part * BN + tl.arange(0, BN)
        add_cells(dweight_ptr, n, e, dweights[part] * _LN2, C, E)


@triton.jit
def merge_backward_input(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, visible_ptr: tl.tensor,
    query_ptr: tl.tensor, position_ptr: tl.tensor, value_h_ptr: tl.tensor, score_h_ptr: tl.tensor,
    value_t_ptr: tl.tensor, score_t_ptr: tl.tensor, value_place_ptr: tl.tensor,
    score_place_ptr: tl.tensor, weight_ptr: tl.tensor, y_ptr: tl.tensor, lse_ptr: tl.tensor,
    seeing_ptr: tl.tensor, dy_ptr: tl.tensor, later_ptr: tl.tensor, dh_ptr: tl.tensor,
    dquery_ptr: tl.tensor, dinner_ptr: tl.tensor, dvalue_ptr: tl.tensor, dposition_ptr: tl.tensor,
    dweight_ptr: tl.tensor, seed_ptr: tl.tensor, n_rows: tl.tensor, n_views: tl.tensor,
    C: tl.constexpr, E: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
    R: tl.constexpr, BC: tl.constexpr, BE: tl.constexpr, BF: tl.constexpr, BD: tl.constexpr,
    BK: tl.constexpr, BR: tl.constexpr, BN: tl.constexpr, B: tl.constexpr, P: tl.constexpr,
    DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradients of the inputs, and what those of most weights are products of.

    Those of the first layer of the position and the last one of the score are summed here: their
    factors, dplace and dscore, would be written for this alone.
    """
    e, f, d = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD)
    k, r = tl.arange(0, BK), tl.arange(0, BR)
    position = load_cells(position_ptr, 0, k, k < K, r, R + 1, R + 1).to(DT)
    score_h, score_t, score_place = load_weights(
        score_h_ptr, score_t_ptr, score_place_ptr, e, f, d, k, E, F, D, K, DT
    )
    of_channels, dweights = _load_channels(
        value_h_ptr, value_t_ptr, value_place_ptr, weight_ptr, e, f, d, k, C, E, F, D, K, BC, BE,
        BN, DT,
    )  # fmt: skip
    seed = seed_of(seed_ptr, P)
    dposition = tl.zeros([BR, BK], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        query = load_cells(query_ptr, first, rows, there, e, E, E).to(tl.float32)
        unseen = tl.load(seeing_ptr + first + rows, mask=there, other=0.0) == 0
        dquery = tl.zeros([B, BE], tl.float32)
        at = first
        for _view in range(n_views):
            h, t, difference, seen = load_view(
                h_ptr, t_ptr, difference_ptr, visible_ptr, at, rows, there, f, d, r, F, D, R, DT
            )
            place = place_of(difference, position, DT, IP)
            inner = hidden_of(h, t, place, seen, query, score_h, score_t, score_place, D, DT, IP)
            dinner, dh, dplace, dweights = _gradients_of_view(
                h, t, place, inner, seen | unseen, of_channels, dweights, y_ptr, lse_ptr, dy_ptr,
                dvalue_ptr, seed, first, at, rows, there, C, D, BC, BE, BF, BK, BN, B, P, DT, IP,
            )  # fmt: skip
            dquery -= dinner
            dinner = dinner.to(DT)
            store_cells(dinner_ptr, at, rows, there, e, E, dinner, E)
            dh = tl.dot(dinner, score_h, dh, input_precision=IP)
            if later_ptr is not None:
                dh += load_cells(later_ptr, at, rows, there, f, F, F).to(tl.float32)
            store_cells(dh_ptr, at, rows, there, f, F, dh, F)
            dplace = tl.dot(dinner, score_place, dplace, input_precision=IP)
            dplace = tl.where(place > 0, dplace, 0.0).to(DT)
            dposition = tl.dot(tl.trans(difference), dplace, dposition, input_precision=IP)
            at += n_rows
        store_cells(dquery_ptr, first, rows, there, e, E, dquery, E)
    add_cells(dposition_ptr, k, r, tl.trans(dposition), K, R + 1)
    _add_channels(dweight_ptr, dweights, e, C, E, BC, BN)


@triton.jit
def merge_backward_weight(
    h_ptr: tl.tensor, t_ptr: tl.tensor, difference_ptr: tl.tensor, position_ptr: tl.tensor,
    dinner_ptr: tl.tensor, dvalue_ptr: tl.tensor, dvalue_h_ptr: tl.tensor, dscore_h_ptr: tl.tensor,
    dvalue_t_ptr: tl.tensor, dscore_t_ptr: tl.tensor, dvalue_place_ptr: tl.tensor,
    dscore_place_ptr: tl.tensor, n_rows: tl.tensor, C: tl.constexpr, E: tl.constexpr,
    F: tl.constexpr, D: tl.constexpr, K: tl.constexpr, R: tl.constexpr, BE: tl.constexpr,
    BF: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr, BN: tl.constexpr,
    B: tl.constexpr, DT: tl.constexpr, IP: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the gradients of all other weights over a share of the rows of all views."""
    e, f, d = tl.arange(0, BE), tl.arange(0, BF), tl.arange(0, BD)
    k, r = tl.arange(0, BK), tl.arange(0, BR)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    position = load_cells(position_ptr, 0, k, k < K, r, R + 1, R + 1).to(DT)
    # Transposed, all but the small ones: matrix units want the long side first.
    dvalue_h = tl.zeros([BF, BN], tl.float32)
    dscore_h = tl.zeros([BF, BE], tl.float32)
    dvalue_t = tl.zeros([BD, BN], tl.float32)
    dscore_t = tl.zeros([BD, BE], tl.float32)
    dvalue_place = tl.zeros([BN, BK], tl.float32)
    dscore_place = tl.zeros([BE, BK], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, B), tl.num_programs(0)):
        first, rows, there = rows_of(tile, n_rows, B)
        h = load_cells(h_ptr, first, rows, there, f, F, F)
        difference = load_difference(difference_ptr, first, rows, there, r, R, DT)
        place = place_of(difference, position, DT, IP)
        dinner = load_cells(dinner_ptr, first, rows, there, e, E, E)
        dvalue = load_cells(dvalue_ptr, first, rows, there, n, C, C)
        dvalue_h = tl.dot(tl.trans(h), dvalue, dvalue_h, input_precision=IP)
        dscore_h = tl.dot(tl.trans(h), dinner, dscore_h, input_precision=IP)
        if D > 0:
            t = load_cells(t_ptr, first, rows, there, d, D, D)
            dvalue_t = tl.dot(tl.trans(t), dvalue, dvalue_t, input_precision=IP)
            dscore_t = tl.dot(tl.trans(t), dinner, dscore_t, input_precision=IP)
        dvalue_place = tl.dot(tl.trans(dvalue), place, dvalue_place, input_precision=IP)
        dscore_place = tl.dot(tl.trans(dinner), place, dscore_place, input_precision=IP)
    add_cells(dvalue_place_ptr, n, k, dvalue_place, C, K)
    add_transposed(dvalue_h_ptr, f, n, dvalue_h, F, C)
    if D > 0:
        add_transposed(dvalue_t_ptr, d, n, dvalue_t, D, C)
    if tl.program_id(1) == 0:  # what follows is the same for all channels
        add_cells(dscore_place_ptr, e, k, dscore_place, E, K)
        add_transposed(dscore_h_ptr, f, e, dscore_h, F, E)
        if D > 0:
            add_transposed(dscore_t_ptr, d, e, dscore_t, D, E)
