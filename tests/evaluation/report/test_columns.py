import pytest

from gsn.evaluation.report.columns import columns_of


def keys(*given):
    return [column.key for column in columns_of(given)]


def test_columns_are_in_one_order_whatever_came_first():
    assert keys("consistency_pck", "iou", "lpips", "text_iou", "feature_cosine", "psnr_db") == [
        "psnr_db",
        "lpips",
        "feature_cosine",
        "iou",
        "text_iou",
        "consistency_pck",
    ]


def test_a_spread_has_no_column_of_its_own():
    assert keys("iou", "iou_std", "iou") == ["iou"]
    assert keys("iou_std") == ["iou_std"]  # of what, nobody knows


def test_mask_metrics_with_a_prefix_make_a_group_before_what_is_unknown():
    found = columns_of(["n_views", "grown_iou", "grown_average_precision", "psnr_db"])
    assert [(column.key, column.group) for column in found] == [
        ("psnr_db", "images"),
        ("grown_iou", "grown"),
        ("grown_average_precision", "grown"),
        ("n_views", ""),
    ]
    assert [column.higher_is_better for column in found] == [True, True, True, None]
    assert found[1].head == "IoU"


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("psnr_db", 24.126, "24.13"),
        ("iou", 0.8, "0.800"),
        ("feature_mse", 0.00164, "0.0016"),
        ("consistency_cosine", -0.25, "−0.250"),
        ("n_views", 12.0, "12"),
    ],
)
def test_values_have_the_digits_of_their_column(key, value, shown):
    assert columns_of([key])[0].show(value) == shown


@pytest.mark.parametrize("key", ["lpips", "feature_mse"])
def test_errors_are_better_when_low(key):
    assert columns_of([key])[0].higher_is_better is False
