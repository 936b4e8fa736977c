"""The laboratory finds what is wrong with bad stages, and nothing wrong with a good one."""

import signal

import pytest

from reliability.child import Run
from reliability.faults import KINDS, Fault
from reliability.lab import FAILED, IDENTICAL, STOPPED, Try
from reliability.plan import FULL, KILLED, SHORT, carry_out, plan, thin, try_named
from reliability.states import FRESH


def tries_of(lab, fault, stage):
    return plan(lab.states, False, [stage], [fault], FULL, 0)


def outcomes(lab, fault, stage):
    return {carry_out(lab, one).outcome for one in tries_of(lab, fault, stage)}


def test_events_of_python_are_counted(make_lab):
    lab = make_lab("careless")
    ended = lab.states.of(lab.states.graph.by_name["careless"]).ended
    assert ended.n_events == 2  # the folder is made, the file is opened
    assert not ended.fault_came


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_comes_at_its_event(make_lab, kind):
    lab = make_lab("careful")
    stage = lab.states.graph.by_name["careful"]
    for event in range(1, lab.states.of(stage).ended.n_events + 1):
        lab.begin(Try(kind, "careful", FRESH, ""))
        ended = Run(lab.place, stage, Fault(kind, event, piece=100)).wait()
        assert ended.fault_came
        if kind == "killed before a write":
            assert ended.status == -signal.SIGKILL
            assert ended.n_events == event
        if kind == "no space at a write":
            assert ended.finished or "No space left" in ended.said


def test_a_write_is_cut_within_a_file(make_lab):
    lab = make_lab("careless")
    stage = lab.states.graph.by_name["careless"]
    lab.begin(Try("killed within a write", "careless", FRESH, ""))
    ended = Run(lab.place, stage, Fault("killed within a write", 1, piece=100)).wait()
    assert ended.status == -signal.SIGXFSZ
    assert (lab.place / "data/out.txt").stat().st_size == 100


@pytest.mark.parametrize("kind", [*KINDS, "killed at a random moment"])
def test_a_careful_stage_ends_identical_after_every_fault(make_lab, kind):
    lab = make_lab("careful", "reader")
    assert outcomes(lab, kind, "careful") == {IDENTICAL}


def test_a_stage_that_keeps_half_a_file_is_found(make_lab):
    lab = make_lab("careless")
    assert FAILED in outcomes(lab, "killed within a write", "careless")


def test_a_traceback_is_found(make_lab):
    lab = make_lab("careless")
    verdicts = [carry_out(lab, one) for one in tries_of(lab, "no space at a write", "careless")]
    assert any("traceback" in verdict.reason for verdict in verdicts)


def test_a_crash_is_found(make_lab):
    lab = make_lab("crashing")
    verdicts = [carry_out(lab, one) for one in tries_of(lab, "no space at a write", "crashing")]
    assert {verdict.reason for verdict in verdicts} == {"it crashed: SIGTERM"}


def test_a_later_stage_that_takes_half_a_file_is_found(make_lab):
    lab = make_lab("careless", "trusting")
    verdicts = [carry_out(lab, one) for one in tries_of(lab, "killed within a write", "careless")]
    assert any("trusting takes what is left for finished" in v.reason for v in verdicts)


def test_a_traceback_for_a_folder_that_is_not_writable_is_found(make_lab):
    lab = make_lab("careful", "reader")
    one = Try("folder not writable", "reader", FRESH, "data")
    verdict = carry_out(lab, one)
    assert verdict.outcome == FAILED  # `reader` lets the error through
    assert "traceback" in verdict.reason and "Permission denied" in verdict.reason


def test_a_flipped_input_is_mended_by_the_command_of_the_message(make_lab):
    lab = make_lab("careful", "reader")
    assert outcomes(lab, "flipped bit in input", "reader") == {STOPPED}


@pytest.mark.parametrize(
    ("reader", "fault"),
    [("trusting", "takes it for good"), ("silent", "does not name data/out.txt")],
)
def test_a_flipped_input_that_nobody_names_is_found(make_lab, reader, fault):
    lab = make_lab("careful", reader)
    verdicts = [carry_out(lab, one) for one in tries_of(lab, "flipped bit in input", reader)]
    assert all(verdict.outcome == FAILED and fault in verdict.reason for verdict in verdicts)


def test_a_flipped_output_that_is_kept_is_found(make_lab):
    lab = make_lab("careless")
    assert outcomes(lab, "flipped bit in output", "careless") == {FAILED}


def test_equal_seeds_give_equal_tries(make_lab):
    lab = make_lab("careful", "reader")
    faults, stages = ["killed before a write", "flipped bit in input"], ["careful", "reader"]
    first = plan(lab.states, True, stages, faults, SHORT, 3)
    assert plan(lab.states, True, stages, faults, SHORT, 3) == first
    assert plan(lab.states, True, stages, faults, SHORT, 4) != first


def test_a_try_is_found_by_its_name(make_lab):
    lab = make_lab("careful", "reader")
    for one in tries_of(lab, "flipped bit in input", "reader"):
        assert try_named(one.name, lab.states.graph) == one


@pytest.mark.parametrize("name", ["", "rain/reader/fresh/1", "disk full/bake/fresh/1", "a/b"])
def test_a_name_of_no_try_is_refused(make_lab, name):
    with pytest.raises(ValueError, match="no try"):
        try_named(name, make_lab("careful").states.graph)


def test_a_share_of_the_tries_has_all_kills_and_one_of_each_kind_at_least():
    tries = [Try("no space at a write", "fetch", "fresh", str(k)) for k in range(40)]
    tries += [Try("no space at a write", "reduce", "fresh", "0")]
    kills = [Try(KILLED, "fetch", "fresh", str(k)) for k in range(9)]
    drawn = thin([*tries, *kills], 0.1, 0)
    assert len(drawn) == 4 + 1 + 9
    assert set(drawn) >= {tries[-1], *kills}
    assert drawn == [one for one in [*tries, *kills] if one in drawn]
    assert thin(tries, 1.0, 0) == tries
    with pytest.raises(ValueError, match=r"share 0\.0"):
        thin(tries, 0.0, 0)
