import numpy as np
import pytest
import torch

from gsn.checks import check_shape, composed, find_twins


def test_names_are_bound_to_the_sizes_found():
    assert check_shape("x", torch.zeros(2, 3, 5), "R S C") == {"R": 2, "S": 3, "C": 5}


def test_numpy_arrays_and_scalars_are_checked_too():
    assert check_shape("x", np.zeros((4, 3)), "N 3") == {"N": 4}
    assert check_shape("x", torch.tensor(1.0), "") == {}


def test_a_name_means_one_size():
    assert check_shape("x", torch.zeros(3, 3), "N N") == {"N": 3}
    with pytest.raises(ValueError, match=r"x: expected shape \(N N\), got \(3, 4\)"):
        check_shape("x", torch.zeros(3, 4), "N N")


def test_a_name_of_an_earlier_check_must_match_and_is_shown_as_its_size():
    sizes = check_shape("x", torch.zeros(2, 3), "R S")
    assert check_shape("y", torch.zeros(2, 7), "R D", sizes) == {"R": 2, "S": 3, "D": 7}
    with pytest.raises(ValueError, match=r"y: expected shape \(2 D\), got \(5, 7\)"):
        check_shape("y", torch.zeros(5, 7), "R D", sizes)


def test_the_sizes_handed_in_stay_as_they_were():
    sizes = {"R": 2}
    check_shape("x", torch.zeros(2, 3), "R S", sizes)
    assert sizes == {"R": 2}


def test_a_blank_matches_anything_and_binds_nothing():
    assert check_shape("x", torch.zeros(2, 9, 4), "V _ _") == {"V": 2}


@pytest.mark.parametrize("shape", [(2, 4), (2,), (2, 3, 1), (0, 2)])
def test_another_number_or_rank_is_refused(shape):
    with pytest.raises(ValueError, match=r"points: expected shape \(N 3\), got"):
        check_shape("points", torch.zeros(shape), "N 3")


@pytest.mark.parametrize(
    ("names", "twins"),
    [
        (["a", "b"], []),
        (["a", "b", "a"], ["a"]),
        (["Fern", "fern", "horns"], ["Fern", "fern"]),
        (["\u00e9", "e\u0301", "e"], ["e\u0301", "\u00e9"]),
        (["stra\u00dfe", "STRASSE"], ["STRASSE", "stra\u00dfe"]),
        ([], []),
    ],
)
def test_names_that_some_disk_takes_for_one_are_twins(names, twins):
    assert find_twins(names) == twins


def test_both_codings_of_a_letter_become_one():
    assert composed("e\u0301.png") == composed("\u00e9.png") == "\u00e9.png"
