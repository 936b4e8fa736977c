"""No method of segmentation can see the true mask of a target view."""

import ast
from pathlib import Path

import pytest
from source_tree import imported_names, tree_of

ROOT = Path(__file__).parents[3]
SEGMENTATION = sorted((ROOT / "gsn" / "evaluation" / "segmentation").glob("*.py"))
FILES = [*SEGMENTATION, ROOT / "gsn" / "evaluation" / "prompts" / "prompt.py"]
# Where masks are read from files, and where predictions meet them.
SOURCES_OF_TRUTH = ("gsn.captures", "gsn.evaluation.metrics", "gsn.model.scene", "h5py")
# All that may be given a mask: what is fitted, on the prompt's own view.
FITTING = {"fit_centroids", "fit_segmenter", "find_in_box", "pick_threshold", "choose_threshold"}
# Seeds of a region are a mask that the scores made.
PREDICTED = {"grow_region": {"seeds"}}
MASK_TYPES = ("Mask", "bool_", "uint8", "PixelPrompt", "Labels")
MASK_WORDS = ("mask", "truth", "reference", "stroke", "label")


def first_party(path):
    for name in imported_names(path):
        place = ROOT.joinpath(*name.split("."))
        for file in (place.with_suffix(".py"), place.parent.with_suffix(".py")):
            if name.startswith("gsn.") and file.is_file():
                yield file


def all_files_run_by(paths):
    found, todo = set(), list(paths)
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo.extend(first_party(path))
    return sorted(found)


def functions(tree):
    """Functions and methods, less those within a function."""
    scopes = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    return [node for scope in scopes for node in scope.body if isinstance(node, ast.FunctionDef)]


def takes_mask(function):
    """Names of the parameters of a function that are masks, by type or by name."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    given += [one for one in (function.args.vararg, function.args.kwarg) if one]
    return {
        one.arg
        for one in given
        if (one.annotation and any(t in ast.unparse(one.annotation) for t in MASK_TYPES))
        or any(word in one.arg.lower() for word in MASK_WORDS)
    }


def is_public(function):
    return not function.name.startswith("_") or function.name == "__call__"


def mask_takers(tree):
    """Public functions that take a mask which is not their own prediction."""
    return {
        function.name: taken
        for function in functions(tree)
        if is_public(function)
        and (taken := takes_mask(function) - PREDICTED.get(function.name, set()))
    }


def test_there_is_something_to_check():
    assert {"segmenter.py", "relevancy.py", "prompt.py"} <= {path.name for path in FILES}
    run = {path.relative_to(ROOT).as_posix() for path in all_files_run_by(FILES)}
    assert {"gsn/features/prompts.py", "gsn/checks.py"} <= run


def test_nothing_that_holds_true_masks_is_imported_even_at_second_hand():
    faults = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in all_files_run_by(FILES)
        for name in imported_names(path)
        if name.startswith(SOURCES_OF_TRUTH)
    ]
    assert faults == []


def test_no_file_is_opened_by_a_method():
    readers = {"open", "imread", "read_bytes", "read_text", "load", "__import__", "import_module"}
    faults = [
        f"{path.name}:{node.lineno}"
        for path in SEGMENTATION
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in readers
    ]
    assert faults == []


@pytest.mark.parametrize("path", SEGMENTATION, ids=lambda path: path.stem)
def test_only_what_is_fitted_takes_a_mask(path):
    takers = mask_takers(tree_of(path))
    # Texts and the names of objects in messages are no masks.
    words = {"names": {"label"}, "pick_threshold": {"label"}}
    takers = {name: taken - words.get(name, set()) for name, taken in takers.items()}
    assert {name for name, taken in takers.items() if taken} <= FITTING


def test_the_functions_that_are_fitted_are_there():
    found = {function.name for path in SEGMENTATION for function in functions(tree_of(path))}
    assert found >= FITTING | PREDICTED.keys()


@pytest.mark.parametrize(
    "source",
    [
        "def find(features: Tensor, true: Mask) -> None: ...",
        "def find(features: Tensor, *, truth: object = None) -> None: ...",
        "class A:\n    def __call__(self, x: npt.NDArray[np.bool_]) -> None: ...",
        "def find(features: Tensor, *masks: object) -> None: ...",
    ],
)
def test_a_function_that_takes_a_mask_would_be_noticed(source):
    assert set(mask_takers(ast.parse(source))) & {"find", "__call__"}
