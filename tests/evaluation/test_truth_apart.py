"""True masks of views: who may read them, who may import those who do."""

import ast
from pathlib import Path

import pytest
from source_tree import imported_names, tree_of

ROOT = Path(__file__).parents[2]
EVALUATION = ROOT / "gsn" / "evaluation"
FILES = sorted(EVALUATION.rglob("*.py"))
# Everything that a method is made of: what it sees, what it is asked, how it answers.
METHODS = [
    EVALUATION / "object_search.py",
    *sorted((EVALUATION / "views").glob("*.py")),
    *sorted((EVALUATION / "segmentation").glob("*.py")),
    EVALUATION / "prompts" / "prompt.py",
]
TRUTH = ("gsn.captures.pack", "gsn.evaluation.metrics.true_masks", "gsn.evaluation.metrics")


def named(path):
    return path.relative_to(ROOT / "gsn").as_posix()


def all_run_by(paths):
    """Files of gsn.evaluation that run when these do."""
    found, todo = set(), list(paths)
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            places = [ROOT.joinpath(*name.split(".")) for name in imported_names(path)]
            files = {p.with_suffix(".py") for place in places for p in (place, place.parent)}
            todo.extend(files & set(FILES))
    return found


def attributes(path, *names):
    """What of these names a file asks of any object."""
    nodes = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute))
    return {node.attr for node in nodes if node.attr in names}


def importers(name):
    return {
        named(path) for path in FILES if any(one.startswith(name) for one in imported_names(path))
    }


def test_there_is_something_to_check():
    assert all(path.is_file() for path in METHODS)
    run = {named(path) for path in all_run_by(METHODS)}
    assert {"evaluation/object_search.py", "evaluation/segmentation/threshold.py"} <= run
    scoring = {named(path) for path in all_run_by([EVALUATION / "scene_scores.py"])}
    assert {"evaluation/metrics/true_masks.py", "evaluation/metrics/mask_metrics.py"} <= scoring


def test_no_method_imports_a_pack_a_true_mask_or_a_score_even_at_second_hand():
    faults = [
        f"{named(path)} imports {name}"
        for path in all_run_by(METHODS)
        for name in imported_names(path)
        if name.startswith(TRUTH)
    ]
    assert faults == []


def test_packs_are_opened_by_the_task_alone():
    assert importers("gsn.captures.pack") == {"evaluation/scene_task.py"}
    assert importers("h5py") == set()


def test_masks_of_views_are_read_by_the_task_alone():
    readers = {named(path): attributes(path, "mask_present", "has_depth") for path in FILES}
    assert {name for name, found in readers.items() if found} == {"evaluation/scene_task.py"}
    called = {
        named(path)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "mask"
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "torch"))
    }
    assert called == {"evaluation/scene_task.py"}


def test_objects_are_cut_out_of_masks_for_prompts_and_for_the_truth_alone():
    assert importers("gsn.evaluation.prompts.draw_prompts.object_mask") == {
        "evaluation/prompts/scene_prompts.py",
        "evaluation/metrics/true_masks.py",
    }
    assert importers("gsn.evaluation.prompts.draw_prompts.draw_prompts") == {
        "evaluation/prompts/scene_prompts.py"
    }


def test_the_truth_is_known_to_scores_and_pictures_alone():
    assert importers("gsn.evaluation.metrics.true_masks.TrueMasks") == {
        "evaluation/report/scene_pages.py",
        "evaluation/scene_scores.py",
        "evaluation/scene_task.py",
    }


def calls_in(path, name):
    """Of a function or method: what it calls, in the order of the lines, as it is written."""
    (function,) = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in sorted(calls, key=lambda call: call.lineno)]


@pytest.mark.parametrize("kind", ["objects", "texts"])
def test_objects_are_searched_with_nothing_but_the_views(kind):
    calls = calls_in(EVALUATION / "scene_scores.py", "score")
    assert [call for call in calls if call.startswith(f"self._{kind}.")] == [
        f"self._{kind}.find(views)"
    ]
