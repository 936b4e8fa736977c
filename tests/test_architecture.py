"""The rules of the house that a machine can check, read from the source by `ast`."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from source_tree import imported_names, tree_of

ROOT = Path(__file__).parents[1]
FILES = sorted(path for part in ("gsn", "pipeline") for path in (ROOT / part).rglob("*.py"))
DVC_YAML = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = DVC_YAML["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGE_FILES = {name: ROOT / "pipeline" / f"{name}.py" for name in STAGES}

# The rooms of gsn: each imports from lower floors, and within itself.
FLOORS = [
    {"checks", "atomic", "fingerprint", "lock", "seal", "strict_yaml", "text_table", "threads"},
    {"geometry", "edit_yaml", "scene_names"},
    {"captures", "teachers", "features"},
    {"model", "extraction"},
    {"training", "evaluation"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def named(path):
    """A path as dvc.yaml writes it."""
    return path.relative_to(ROOT).as_posix()


def nodes(path, *kinds) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, kinds))


def packages(path):
    return {name.partition(".")[0] for name in imported_names(path)}


def first_party(path):
    """Files of this repository that a file imports.

    A package imported whole (`import gsn.model`) is all its files: it is imported to be hashed.
    The `__init__.py` on the way to a module do not count: they hold no code that a result needs.
    """
    found = set()
    for node in nodes(path, ast.Import):
        for alias in node.names:
            found |= files_of(alias.name, whole=True)
    for node in nodes(path, ast.ImportFrom):
        for alias in node.names:
            found |= files_of(f"{node.module}.{alias.name}") or files_of(node.module)
    return found


def files_of(name, whole=False):
    place = ROOT.joinpath(*name.split("."))
    if name.split(".")[0] not in ("gsn", "pipeline"):
        return set()
    if place.is_dir():
        return set(place.rglob("*.py")) if whole else {place / "__init__.py"}
    return {place.with_suffix(".py")} & set(FILES)


@cache
def transitive(path):
    """All files of this repository that run when `path` does, itself included."""
    found, todo = set(), [path]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo.extend(first_party(one))
    return frozenset(found)


def room(path):
    """The part of gsn that a file belongs to; of gsn/__init__.py none."""
    return path.relative_to(ROOT / "gsn").parts[0].removesuffix(".py").removesuffix("__init__")


def in_gsn(path):
    return path.is_relative_to(ROOT / "gsn")


def code_deps(stage):
    """Paths of code among the `deps` of a stage."""
    deps = [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in ("gsn", "pipeline")]
    return [ROOT / dep for dep in deps]


def sections_read(stage):
    """Names of the sections that a stage, or a part of the pipeline it uses, asks for."""
    return {
        node.args[1].value
        for path in transitive(STAGE_FILES[stage])
        for node in nodes(path, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "load_section"
    }


def test_there_is_something_to_check():
    assert {"gsn/model/network.py", "pipeline/extract.py"} <= {named(path) for path in FILES}
    assert {"fetch", "extract", "evaluate"} <= set(STAGES)
    extract = {named(path) for path in transitive(STAGE_FILES["extract"])}
    assert {"gsn/teachers/dino.py", "gsn/checks.py", "pipeline/device.py"} <= extract


def test_imports_are_absolute():
    assert [named(p) for p in FILES if any(name[0] == "." for name in imported_names(p))] == []


def test_gsn_knows_nothing_of_the_pipeline():
    assert [named(path) for path in FILES if in_gsn(path) and "pipeline" in packages(path)] == []


def test_every_room_of_gsn_has_its_floor():
    assert {room(path) for path in FILES if in_gsn(path)} == {"", *FLOOR_OF}


def test_imports_within_gsn_go_downwards():
    faults = [
        f"{named(path)} imports {named(other)}"
        for path in FILES
        if in_gsn(path)
        for other in first_party(path)
        if room(other) != room(path) and FLOOR_OF[room(other)] >= FLOOR_OF[room(path)]
    ]
    assert faults == []


def test_only_the_store_imports_zarr():
    assert [named(p) for p in FILES if "zarr" in packages(p)] == ["gsn/features/store.py"]


def test_dvc_is_not_imported_and_dvclive_for_curves_only():
    assert [named(path) for path in FILES if "dvc" in packages(path)] == []
    assert [named(p) for p in FILES if "dvclive" in packages(p)] == ["pipeline/curves.py"]


def test_no_stage_imports_another():
    stage_files = set(STAGE_FILES.values())
    faults = [
        f"{named(path)} imports {named(other)}"
        for path in stage_files
        for other in transitive(path) & stage_files - {path}
    ]
    assert faults == []


def test_a_stage_is_named_as_its_file_and_runs_it():
    for name, stage in STAGES.items():
        assert STAGE_FILES[name].is_file()
        assert stage["cmd"].startswith(f"python -m pipeline.{name} ")
        assert name in stage["params"]


def test_deps_cover_every_module_that_a_stage_imports():
    faults = [
        f"{stage}: {named(path)}"
        for stage in STAGES
        for path in transitive(STAGE_FILES[stage])
        if not any(path.is_relative_to(dep) for dep in code_deps(stage))
    ]
    assert faults == []


def test_deps_name_no_code_that_a_stage_does_not_import():
    faults = [
        f"{stage}: {named(dep)}"
        for stage in STAGES
        for dep in code_deps(stage)
        if not any(path.is_relative_to(dep) for path in transitive(STAGE_FILES[stage]))
    ]
    assert faults == []


def test_no_dep_lies_in_another():
    faults = [
        f"{stage}: {named(dep)} in {named(other)}"
        for stage in STAGES
        for dep in code_deps(stage)
        for other in code_deps(stage)
        if dep != other and dep.is_relative_to(other)
    ]
    assert faults == []


def test_a_stage_reads_the_sections_that_dvc_watches_for_it():
    for stage in STAGES:
        assert sections_read(stage) == set(STAGES[stage]["params"]), stage


def test_params_holds_the_sections_that_stages_read_and_no_others():
    assert set(PARAMS) == {section for stage in STAGES.values() for section in stage["params"]}


def test_package_files_hold_a_docstring_and_no_code():
    inits = [path for path in FILES if path.name == "__init__.py"]
    # The registry of teachers, and a setting that has to come before torch is imported.
    excepted = [ROOT / "gsn" / "teachers" / "__init__.py", ROOT / "pipeline" / "__init__.py"]
    assert set(excepted) < set(inits)
    for path in inits:
        assert ast.get_docstring(tree_of(path)), named(path)
        assert len(tree_of(path).body) == 1 or path in excepted, named(path)


def test_files_are_short():
    lengths = {named(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_functions_are_short():
    lengths = {
        f"{named(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_nothing_is_printed():
    faults = [
        f"{named(path)}:{node.lineno}"
        for path in FILES
        for node in nodes(path, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert faults == []
