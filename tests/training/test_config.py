import pytest
from pydantic import ValidationError


def test_checkpoints_are_written_where_a_point_of_the_curves_is(make_training):
    assert make_training(log_every=5, checkpoint_every=10).checkpoint_every == 10
    with pytest.raises(ValidationError, match=r"checkpoint_every \(12\) must be a multiple of log"):
        make_training(log_every=5, checkpoint_every=12)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_steps": 0}, "max_steps"),
        ({"seed": -1}, "seed"),
        ({"speed": 3}, "speed"),
        ({"batch": {"rays": 0}}, "rays"),
        ({"batch": {"target_among_sources": 1.5}}, "target_among_sources"),
        ({"batch": {"source_views": 2.5}}, "source_views"),
    ],
)
def test_wrong_settings_are_refused(make_training, changes, named):
    with pytest.raises(ValidationError, match=named):
        make_training(**changes)
