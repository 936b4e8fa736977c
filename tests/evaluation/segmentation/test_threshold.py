import logging

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from gsn.evaluation.segmentation import threshold
from gsn.evaluation.segmentation.threshold import (
    cap_by_lead,
    choose_threshold,
    pick_threshold,
    segment,
)

RULES = ["best_iou", "otsu", "log_otsu"]


def iou_by_loop(scores, mask, threshold):
    both = either = 0
    for score, inside in zip(scores.ravel(), mask.ravel(), strict=True):
        both += bool(score >= threshold and inside)
        either += bool(score >= threshold or inside)
    return both / either


def best_threshold_by_loop(scores, mask):
    """Reference: try every score, the highest first."""
    return max(
        sorted(set(scores.ravel()), reverse=True), key=lambda t: iou_by_loop(scores, mask, t)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_threshold_is_the_best_of_all_scores(seed, levels):
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 9)) < 0.3
    scores = -np.round(rng.random((8, 9)) * levels + 0.4 * levels * ~mask) / levels
    assert choose_threshold(scores, mask) == best_threshold_by_loop(scores, mask)


def test_a_known_threshold_and_its_segment():
    scores = np.array([[-0.1, -0.2, -0.3], [-0.4, -0.5, -0.6]])
    mask = np.array([[True, True, False], [True, False, False]])
    # IoU by number of pixels taken: 1/3, 2/3, 2/4, 3/4, 3/5, 3/6.
    assert choose_threshold(scores, mask) == -0.4
    np.testing.assert_array_equal(segment(scores, -0.4), [[True, True, True], [True, False, False]])


def test_of_equally_good_thresholds_the_highest_is_taken():
    # One pixel: IoU 1/2. Four pixels: IoU 2/4.
    scores = np.array([[0.0, -1.0, -2.0, -3.0]])
    assert choose_threshold(scores, np.array([[True, False, False, True]])) == 0.0


def test_a_prompt_view_without_the_object_is_refused():
    with pytest.raises(ValueError, match="not in the prompt view"):
        choose_threshold(np.zeros((2, 3)), np.zeros((2, 3), bool))


def test_scores_with_nan_are_refused():
    with pytest.raises(ValueError, match="scores: expected finite values"):
        choose_threshold(np.full((2, 3), np.nan), np.ones((2, 3), bool))


def two_humps(scale=0.03):
    """Scores of an object around -0.1 and of the rest around -0.8."""
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) < 0.3
    return np.where(mask, -0.1, -0.8) + rng.normal(scale=scale, size=mask.shape), mask


def otsu_by_loop(scores, n_bins=256):
    """Reference: the centre of the bin after which the two classes of a histogram differ most."""
    counts, edges = np.histogram(scores, n_bins)
    centres = (edges[1:] + edges[:-1]) / 2
    best, found = -1.0, None
    for k in range(1, n_bins):
        low, high = counts[:k].sum(), counts[k:].sum()
        if low and high:
            gap = (counts[:k] @ centres[:k]) / low - (counts[k:] @ centres[k:]) / high
            if low * high * gap**2 > best:
                best, found = low * high * gap**2, centres[k - 1]
    return found


def test_each_rule_is_what_it_is_called():
    scores, mask = two_humps(scale=0.2)
    assert pick_threshold(scores, mask, "best_iou") == best_threshold_by_loop(scores, mask)
    assert pick_threshold(scores, mask, "otsu") == threshold_otsu(scores)
    assert pick_threshold(scores, mask, "otsu") == pytest.approx(otsu_by_loop(scores), abs=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_parts_two_far_groups(rule):
    scores, mask = two_humps()
    cut = pick_threshold(scores, mask, rule)
    # Otsu's histograms cut in the middle of a bin, so a pixel or two beside it may go astray.
    assert (segment(scores, cut) != mask).sum() <= (0 if rule == "best_iou" else 2)


@pytest.mark.parametrize("rule", ["otsu", "log_otsu"])
def test_otsu_needs_no_mask_and_reads_none(rule):
    scores, mask = two_humps()
    cuts = {pick_threshold(scores, reference, rule) for reference in (None, mask, ~mask)}
    assert len(cuts) == 1


def test_the_logarithm_finds_a_small_object_where_otsu_parts_the_background():
    # 5 % of the view is the object; the rest is near or far background.
    scores = np.repeat([-0.05, -0.4, -1.0], [60, 540, 600]).reshape(30, 40)
    scores += np.random.default_rng(0).normal(scale=0.005, size=scores.shape)
    found = segment(scores, pick_threshold(scores, None, "log_otsu"))
    np.testing.assert_array_equal(found, scores > -0.2)
    assert segment(scores, pick_threshold(scores, None, "otsu")).sum() == pytest.approx(600, abs=5)


def test_log_otsu_does_not_depend_on_scale_and_offset_of_scores():
    scores, _ = two_humps()
    cut = pick_threshold(scores, None, "log_otsu")
    assert pick_threshold(3 * scores + 5, None, "log_otsu") == pytest.approx(3 * cut + 5)


def test_without_a_reference_log_otsu_stands_in_for_best_iou_and_the_log_says_so_once(caplog):
    threshold._say_what_stands_in.cache_clear()
    scores, _ = two_humps()
    with caplog.at_level(logging.WARNING):
        cuts = {pick_threshold(scores, None, "best_iou", "cup in view 3") for _ in range(3)}
    assert cuts == {pick_threshold(scores, None, "log_otsu")}
    assert [record.getMessage() for record in caplog.records] == [
        "cup in view 3: no reference mask for 'best_iou': cut by 'log_otsu'"
    ]
    pick_threshold(scores, None, "best_iou", "jar in view 3")
    assert len(caplog.records) == 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", [0.0, -0.7])
def test_a_constant_map_is_all_object_up_to_rounding(rule, level):
    scores = np.full((4, 5), level)
    mask = np.eye(4, 5, dtype=bool)
    noise = np.random.default_rng(0).uniform(-1e-12, 1e-12, scores.shape)
    cut = pick_threshold(scores + noise, mask, rule)
    assert cut == pytest.approx(level, abs=1e-8)
    assert segment(scores - 1e-12, cut).all()
    assert not segment(scores - 1e-3, cut).any()


@pytest.mark.parametrize("rule", RULES)
def test_two_values_are_told_apart(rule):
    scores = np.zeros((4, 5))
    scores[1, 2] = 1.0
    cut = pick_threshold(scores, scores == 1, rule)
    np.testing.assert_array_equal(segment(scores, cut), scores == 1)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_takes_scores_that_are_not_finite(rule):
    with pytest.raises(ValueError, match="scores: expected finite values"):
        pick_threshold(np.array([[0.0, np.inf]]), np.array([[True, False]]), rule)


def test_pixels_without_lead_are_outside_for_best_iou_alone():
    scores = np.array([[4.0, 3.0, 2.0, 1.0, 0.0]])
    reference = np.array([[True, False, True, False, False]])
    lead = np.array([[1.0, -1.0, 0.0, 1.0, 1.0]])
    # With the second pixel out of the way the cut at 2 fits wholly; with it 1 of 1 or 2 of 3.
    assert pick_threshold(scores, reference, "best_iou", lead=lead) == 2.0
    assert segment(cap_by_lead(scores, lead, 2.0), 2.0).tolist() == reference.tolist()
    for rule in ("otsu", "log_otsu"):
        cut = pick_threshold(scores, reference, rule)
        assert pick_threshold(scores, reference, rule, lead=lead) == cut


def test_the_lower_of_score_and_lead_counts():
    scores, lead = np.array([[-1.0, -0.2, -0.2]]), np.array([[9.0, 0.3, -0.1]])
    np.testing.assert_allclose(cap_by_lead(scores, lead, -0.5), [[-1.0, -0.2, -0.6]])
    assert cap_by_lead(scores, None, -0.5) is scores
