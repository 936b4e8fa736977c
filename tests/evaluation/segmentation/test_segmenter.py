import dataclasses
import inspect

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from gsn.evaluation.prompts.prompt import PixelPrompt
from gsn.evaluation.segmentation.box import find_in_box
from gsn.evaluation.segmentation.centroids import fit_centroids, lead_map, score_map
from gsn.evaluation.segmentation.colour import colour_features
from gsn.evaluation.segmentation.guided_filter import GuidedConfig, guided_filter
from gsn.evaluation.segmentation.region_growing import GrowConfig, grow
from gsn.evaluation.segmentation.segmenter import (
    SegmentationConfig,
    Segmenter,
    fit_segmenter,
)
from gsn.evaluation.segmentation.threshold import choose_threshold

MASK = np.zeros((20, 24), np.uint8)
MASK[2:10, 3:12] = 1
MASK[12:18, 8:20] = 2
COLOURS = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.2, 0.1], [0.1, 0.3, 0.8]])
SETTINGS = {
    "n_clusters": 2,
    "seed": 0,
    "distance": "cosine",
    "threshold": "best_iou",
    "refine": "none",
    "grow": {"feature_sigma": 0.5, "distance_sigma": 5.0, "colour_sigma": 0.05, "rounds": 20},
    "guided": {"radius_px": 1, "epsilon": 0.001},
}


def config(**changes):
    return TypeAdapter(SegmentationConfig).validate_python(SETTINGS | changes, strict=False)


def view_of(mask, noise=0.05, seed=0):
    """Features and colours of a view: each object has its own of both, with a little noise."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.from_numpy(mask).long()
    features = torch.eye(6)[place] + noise * torch.randn(*mask.shape, 6, generator=draw)
    rgb = COLOURS[place] + 0.2 * noise * torch.randn(*mask.shape, 3, generator=draw)
    return features, rgb.clamp(0, 1)


def prompt_of(value=1, negative=False, reference=True):
    positive, other = np.zeros(MASK.shape, bool), np.zeros(MASK.shape, bool)
    positive[4:6, 5:10] = True
    other[14:16, 10:18] = True
    if value == 2:
        positive, other = other, positive
    return PixelPrompt(
        "cup", 0, "3", positive, other if negative else None, MASK == value if reference else None
    )


OTHER = np.roll(MASK, (1, -2), axis=(0, 1))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("refine", ["none", "grow", "guided"])
@pytest.mark.parametrize("threshold", ["best_iou", "otsu", "log_otsu"])
@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_a_prompt_in_one_view_finds_the_object_in_another(distance, threshold, refine, negative):
    settings = config(distance=distance, threshold=threshold, refine=refine)
    for value in (1, 2):
        segmenter = fit_segmenter(*view_of(MASK), prompt_of(value, negative), settings)
        found = segmenter(*view_of(OTHER, seed=1))
        assert found.mask.dtype == bool and found.scores.dtype == np.float64
        assert found.mask.shape == found.scores.shape == MASK.shape
        assert (found.mask != (value == OTHER)).mean() < 0.05


def test_colours_alone_serve_as_features():
    rgb, other = view_of(MASK)[1], view_of(OTHER, seed=1)[1]
    segmenter = fit_segmenter(colour_features(rgb), rgb, prompt_of(), config())
    found = segmenter(colour_features(other), other)
    assert (found.mask != (OTHER == 1)).mean() < 0.01


def test_what_is_fitted_is_that_of_the_parts():
    features, rgb = view_of(MASK, noise=0.5)
    prompt = prompt_of(negative=True)
    segmenter = fit_segmenter(features, rgb, prompt, config())
    expected = fit_centroids(features, prompt.positive, 2, 0, "cosine", prompt.negative)
    torch.testing.assert_close(segmenter.centroids.positive, expected.positive)
    torch.testing.assert_close(segmenter.centroids.negative, expected.negative)
    scores, lead = score_map(features, expected), lead_map(features, expected)
    kept = np.where(lead < 0, scores.min(), scores)
    assert segmenter.threshold == choose_threshold(kept, prompt.reference)
    # The confident level: the middle one of the scores of the segment.
    segment = sorted(scores[(scores >= segmenter.threshold) & (lead >= 0)])
    middle = len(segment) // 2
    median = segment[middle] if len(segment) % 2 else sum(segment[middle - 1 : middle + 1]) / 2
    assert segmenter.confident == pytest.approx(median)


@pytest.mark.parametrize("refine", ["none", "grow", "guided"])
def test_prompt_view_and_target_view_are_refined_alike(refine):
    settings = config(refine=refine)
    prompt = prompt_of()
    segmenter = fit_segmenter(*view_of(MASK, noise=0.5), prompt, settings)
    for features, rgb in (view_of(MASK, noise=0.5), view_of(OTHER, noise=0.5, seed=1)):
        raw = score_map(features, segmenter.centroids)
        expected = {
            "none": raw,
            "grow": grow(raw, features, rgb, segmenter.confident, settings.grow),
            "guided": guided_filter(raw, rgb, settings.guided),
        }[refine]
        assert refine == "none" or not np.allclose(expected, raw)
        found = segmenter(features, rgb)
        np.testing.assert_array_equal(found.scores, expected)
        np.testing.assert_array_equal(found.mask, expected >= segmenter.threshold)
    refined = segmenter(*view_of(MASK, noise=0.5)).scores
    assert segmenter.threshold == choose_threshold(refined, prompt.reference)


def test_the_threshold_is_none_of_the_target_views_business():
    segmenter = fit_segmenter(*view_of(MASK), prompt_of(), config(refine="grow"))
    before = dataclasses.astuple(segmenter)[1:3]
    first = segmenter(*view_of(OTHER, seed=1))
    segmenter(*view_of(np.zeros_like(MASK), noise=0.9, seed=2))
    assert dataclasses.astuple(segmenter)[1:3] == before
    np.testing.assert_array_equal(segmenter(*view_of(OTHER, seed=1)).scores, first.scores)


def test_a_segmenter_takes_and_keeps_no_mask():
    assert list(inspect.signature(Segmenter.__call__).parameters) == ["self", "features", "rgb"]
    segmenter = fit_segmenter(*view_of(MASK), prompt_of(negative=True), config())
    kept = [segmenter, segmenter.centroids]
    values = [getattr(one, field.name) for one in kept for field in dataclasses.fields(one)]
    assert not any(isinstance(value, np.ndarray | PixelPrompt) for value in values)
    shapes = {tuple(value.shape) for value in values if isinstance(value, torch.Tensor)}
    assert shapes == {(2, 6)}


def test_a_view_without_the_object_has_an_empty_mask():
    segmenter = fit_segmenter(*view_of(MASK), prompt_of(), config())
    assert not segmenter(*view_of(np.where(MASK == 1, 0, MASK), seed=1)).mask.any()


def test_a_view_full_of_the_object_has_a_full_mask():
    segmenter = fit_segmenter(*view_of(MASK, noise=0), prompt_of(), config())
    assert segmenter(*view_of(np.ones_like(MASK), noise=0)).mask.all()


@pytest.mark.parametrize("refine", ["none", "grow", "guided"])
@pytest.mark.parametrize("threshold", ["best_iou", "otsu", "log_otsu"])
def test_a_prompt_view_of_one_feature_is_all_object(threshold, refine):
    view = torch.tensor([0.6, 0.8]).expand(20, 24, 2), torch.full((20, 24, 3), 0.3)
    settings = config(threshold=threshold, refine=refine)
    segmenter = fit_segmenter(*view, prompt_of(), settings)
    assert segmenter(*view).mask.all()
    assert not segmenter(-view[0], view[1]).mask.any()


@pytest.mark.parametrize("refine", ["none", "grow", "guided"])
@pytest.mark.parametrize("reference", [False, True])
def test_negative_strokes_take_pixels_out_and_add_none(refine, reference):
    # The third object looks between the first and the ground: strokes on the first find it, too.
    features, rgb = view_of(MASK, noise=0.02)
    features[MASK == 2] += torch.eye(6)[1] * 3
    settings = config(refine=refine)
    found, corrected = (
        fit_segmenter(features, rgb, prompt_of(1, negative, reference), settings)(features, rgb)
        for negative in (False, True)
    )
    if not reference:
        assert found.mask[MASK == 2].all()
        assert not (corrected.mask & ~found.mask).any()
    assert not corrected.mask[MASK == 2].any()
    assert corrected.mask[MASK == 1].mean() > 0.9


def test_negative_strokes_on_the_far_ground_do_no_harm():
    # Most of the view is like neither stroke: a cut of the lead alone would part this rest in two.
    features, rgb = view_of(MASK)
    prompt = prompt_of(reference=False)
    corner = np.zeros_like(prompt.positive)
    corner[18:, 22:] = True
    prompt = dataclasses.replace(prompt, negative=corner)
    found = fit_segmenter(features, rgb, prompt, config())(features, rgb)
    assert (found.mask != (MASK == 1)).mean() < 0.02


def test_scores_with_negative_strokes_are_the_lower_of_score_and_lead():
    features, rgb = view_of(MASK, noise=0.5)
    segmenter = fit_segmenter(features, rgb, prompt_of(negative=True), config())
    score = score_map(features, segmenter.centroids)
    lead = lead_map(features, segmenter.centroids)
    found = segmenter(features, rgb)
    for place, got in np.ndenumerate(found.scores):
        assert got == min(score[place], segmenter.threshold + lead[place])
        inside = score[place] >= segmenter.threshold and lead[place] >= 0
        assert found.mask[place] == inside


def boxed(margin=1, **masks):
    box = np.zeros(MASK.shape, bool)
    box[2 - margin : 10 + margin, 3 - margin : 12 + margin] = True
    return PixelPrompt("cup", 0, "3", masks.pop("positive", None), box=box, **masks)


@pytest.mark.parametrize("threshold", ["best_iou", "log_otsu"])
@pytest.mark.parametrize("margin", [1, 2])
def test_a_box_around_an_object_finds_it_and_not_its_ground(margin, threshold):
    segmenter = fit_segmenter(*view_of(MASK), boxed(margin), config(threshold=threshold))
    found = segmenter(*view_of(OTHER, seed=1))
    assert (found.mask != (OTHER == 1)).mean() < 0.02


def test_what_is_found_in_a_box_is_the_reference_where_none_is_known(caplog):
    view = view_of(MASK, noise=0.3)
    found = find_in_box(view[0], boxed().box, 2, 0, "cosine")
    plain = dataclasses.replace(boxed(), positive=found, box=None, reference=found)
    assert fit_segmenter(*view, boxed(), config()).threshold == (
        fit_segmenter(*view, plain, config()).threshold
    )
    known = dataclasses.replace(plain, reference=MASK == 1)
    assert fit_segmenter(*view, boxed(reference=MASK == 1), config()).threshold == (
        fit_segmenter(*view, known, config()).threshold
    )
    assert "no reference" not in caplog.text


def test_strokes_beside_a_box_are_positive_as_they_are():
    stroke = np.zeros(MASK.shape, bool)
    stroke[13:15, 10:14] = True  # on the other object, whose feature is the third axis
    for positive, known in ((stroke, True), (None, False)):
        prompt = boxed(positive=positive)
        centroids = fit_segmenter(*view_of(MASK), prompt, config()).centroids.positive
        assert (centroids[:, 2].max() > 0.9) == known
        assert centroids[:, 1].max() > 0.9


def test_features_of_no_length_are_never_the_object():
    # Where nothing is known of a pixel, as where a baseline has holes.
    segmenter = fit_segmenter(*view_of(MASK), prompt_of(), config())
    features, rgb = view_of(MASK)
    features[:, :7] = 0
    assert not segmenter(features, rgb).mask[:, :7].any()


def test_the_reference_is_read_by_best_iou_alone():
    for rule, same in (("best_iou", False), ("otsu", True), ("log_otsu", True)):
        half = dataclasses.replace(prompt_of(), reference=prompt_of().positive)
        thresholds = {
            fit_segmenter(*view_of(MASK, 0.3), prompt, config(threshold=rule)).threshold
            for prompt in (prompt_of(), half)
        }
        assert (len(thresholds) == 1) == same


def test_without_a_reference_best_iou_is_log_otsu():
    view, prompt = view_of(MASK), prompt_of(reference=False)
    found = fit_segmenter(*view, prompt, config())
    assert found.threshold == fit_segmenter(*view, prompt, config(threshold="log_otsu")).threshold


def test_equal_settings_give_equal_segmenters_and_the_seed_counts():
    features, rgb = view_of(MASK, noise=0.5)
    first, again, other = (
        fit_segmenter(features, rgb, prompt_of(), config(n_clusters=5, seed=seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.centroids.positive, again.centroids.positive)
    assert first.threshold == again.threshold
    assert not torch.equal(first.centroids.positive, other.centroids.positive)


def test_a_prompt_that_is_not_on_the_grid_is_refused():
    features, rgb = view_of(MASK[::2, ::2])
    with pytest.raises(ValueError, match=r"prompt: expected shape \(10 12\), got \(20, 24\)"):
        fit_segmenter(features, rgb, prompt_of(), config())
    assert fit_segmenter(features, rgb, prompt_of().on_grid(2), config())(features, rgb).mask.any()


def test_colours_of_another_size_are_refused():
    features, rgb = view_of(MASK)
    segmenter = fit_segmenter(features, rgb, prompt_of(), config())
    with pytest.raises(ValueError, match=r"rgb: expected shape \(20 24 3\)"):
        segmenter(features, rgb[:, 1:])


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_clusters", 0), ("distance", "manhattan"), ("threshold", "by_eye"), ("refine", "crf")],
)
def test_settings_without_meaning_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        config(**{key: value})


def test_no_setting_has_a_default():
    with pytest.raises(ValidationError) as error:
        TypeAdapter(SegmentationConfig).validate_json("{}")
    assert {problem["loc"][0] for problem in error.value.errors()} == set(SETTINGS)
    for part in (GrowConfig, GuidedConfig):
        assert all(f.default is dataclasses.MISSING for f in dataclasses.fields(part))
