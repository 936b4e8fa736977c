"""No file that somebody gave may run code when it is read: rules for every source file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gsn", "pipeline", "benchmarks", "demo_teachers", "reliability")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
HARMLESS = {"UnpicklingError", "PicklingError", "PickleError"}  # caught, not used to read
RUN_CODE = {"eval", "exec", "compile", "__import__"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
# Argument -> the value it must be given. Loaders of each are told by the end of their dotted name.
MUST_SAY = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}


def faults_of(source):
    """Lines of a source file that could run what a file says, with what they do."""
    nodes = list(ast.walk(ast.parse(source)))
    imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return [
        f"{node.lineno}: {fault}"
        for node in nodes
        for fault in (*faults_of_import(node), *faults_of_call(node), *faults_of_yaml(node))
        # Else `yaml` is an object of ruamel.yaml, whose type says what it may make.
        if "yaml" in imports or not fault.startswith("calls yaml.")
    ]


def faults_of_import(node):
    if isinstance(node, ast.Import):
        names = [alias.name.split(".")[0] for alias in node.names]
        return [f"imports {name}" for name in names if name in UNPICKLERS]
    if isinstance(node, ast.ImportFrom):
        module, names = node.module or "", {alias.name for alias in node.names}
        if module.split(".")[0] in UNPICKLERS and not names <= HARMLESS:
            return [f"imports {module}"]
        if f"{module}.load" in {"torch.load", "numpy.load", "yaml.load"} and "load" in names:
            return [f"imports {module}.load under a name that tells less"]
    return []


def faults_of_call(node):
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in RUN_CODE or name in SHELLS:
        yield f"calls {name}"
    if name in MUST_SAY:
        argument, value = MUST_SAY[name]
        if not is_constant(given.get(argument), value):
            yield f"calls {name} without {argument}={value}"
    if "shell" in given and not is_constant(given["shell"], False):
        yield f"calls {name} with a shell"
    for argument, value in (("allow_pickle", True), ("weights_only", False)):
        if is_constant(given.get(argument), value):
            yield f"calls {name} with {argument}={value}"


def faults_of_yaml(node):
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in {"yaml.load", "yaml.load_all"} and not has_safe_loader(node, given):
        yield f"calls {name} without a safe loader"
    if name in {"yaml.unsafe_load", "yaml.full_load"}:
        yield f"calls {name}"
    if name in {"YAML", "ruamel.yaml.YAML"} and is_constant(given.get("typ"), "unsafe"):
        yield f"calls {name} with typ 'unsafe'"


def is_constant(node, value):
    return isinstance(node, ast.Constant) and repr(node.value) == repr(value)


def has_safe_loader(call, given):
    """A loader of PyYAML that is safe, or a class of ours, which `test_own_loaders...` looks at."""
    loader = call.args[1] if len(call.args) > 1 else given.get("Loader")
    return loader is not None and ast.unparse(loader) in {
        "yaml.SafeLoader",
        "yaml.CSafeLoader",
        "_Loader",
    }


def test_there_is_something_to_check():
    calls = "\n".join(path.read_text() for path in FILES)
    assert calls.count("torch.load(") >= 3
    assert calls.count("np.load(") >= 3
    assert "yaml.load(" in calls


def test_no_file_is_read_in_a_way_that_can_run_code():
    faults = [
        f"{path.relative_to(ROOT).as_posix()}:{fault}"
        for path in FILES
        for fault in faults_of(path.read_text(encoding="utf-8"))
    ]
    assert faults == []


def test_own_loaders_of_yaml_are_safe_ones():
    loaders = {
        node.name: [ast.unparse(base) for base in node.bases]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Loader")
    }
    assert "_Loader" in loaders
    assert {base for bases in loaders.values() for base in bases} <= {"yaml.SafeLoader"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p, json",
        "from pickle import loads",
        "import joblib",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, mmap_mode='r')",
        "np.savez(path, allow_pickle=True)",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.load(text, yaml.Loader)",
        "import yaml; yaml.load(text, Loader=yaml.UnsafeLoader)",
        "import yaml; yaml.unsafe_load(text)",
        "import yaml; yaml.full_load(text)",
        "YAML(typ='unsafe')",
        "eval(text)",
        "exec(text)",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=flag)",
        "os.system(command)",
    ],
)
def test_each_rule_finds_what_it_forbids(source):
    assert len(faults_of(source)) >= 1


@pytest.mark.parametrize(
    "source",
    [
        "from pickle import UnpicklingError",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "import yaml; yaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml; yaml.safe_load(text)",
        "from ruamel.yaml import YAML; yaml = YAML(); yaml.load(text)",
        "model.eval()",
        "subprocess.run([program], check=True)",
    ],
)
def test_what_is_safe_is_let_be(source):
    assert faults_of(source) == []
