import numpy as np
import pytest
import torch

from demo_teachers.held_out import STRIDE, LabelledScene
from demo_teachers.text_queries import BACKGROUND_TEXTS, text_miou

TRUTH = [[1, 1, 0], [2, 2, 0]]
NAMES = ["a red box", "a blue egg", *BACKGROUND_TEXTS]


def large(labels):  # every label a pixel that is scored
    return np.kron(np.asarray(labels), np.ones((STRIDE, STRIDE))).astype(np.uint8)


def scene_of(found, truth):
    """A picture whose red is the number of the text, from 0, that its pixels are nearest to."""
    image = np.repeat(large(found)[..., None], 3, axis=2)
    return LabelledScene([image], [large(truth)], ("red box", "blue egg"))


def features(image):
    return torch.eye(4)[torch.from_numpy(image[..., 0]).long()]


def embed(texts):
    """Texts are axes; their order is that of the scene's objects, then the background."""
    assert texts == NAMES
    return torch.eye(4)


def test_the_measure_matches_hand_calculation():
    found = [[0, 1, 3], [1, 2, 0]]
    # Box: right at one pixel, of its two and one more. Egg: right at one, of its two and one more.
    assert text_miou([scene_of(found, TRUTH)], features, embed) == pytest.approx(
        (1 / 3 + 1 / 3) / 2
    )
    found = [[0, 0, 0], [3, 1, 2]]
    assert text_miou([scene_of(found, TRUTH)], features, embed) == pytest.approx(
        (2 / 3 + 1 / 2) / 2
    )


def test_both_texts_of_the_background_leave_the_objects_whole():
    found = [[0, 0, 2], [1, 1, 3]]
    assert text_miou([scene_of(found, TRUTH)], features, embed) == 1


def test_objects_that_a_view_does_not_show_do_not_count_there():
    truth = [[1, 1, 0], [0, 0, 0]]
    found = [[0, 2, 1], [1, 2, 3]]
    assert text_miou([scene_of(found, truth)], features, embed) == 0.5


def test_objects_of_all_views_and_scenes_count_alike():
    # One object at 1/2 in the first scene, two at 1 in the second.
    one = scene_of([[0, 2, 2], [2, 2, 2]], [[1, 1, 0], [0, 0, 0]])
    two = scene_of([[0, 0, 2], [1, 1, 3]], TRUTH)
    assert text_miou([one, two], features, embed) == pytest.approx((0.5 + 1 + 1) / 3)
