"""The rules that keep the rooms apart, as ARCHITECTURE.md states them."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "serving", "training")
SOURCES = sorted([*(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")), ROOT / "pql.py"])
SCRIPTS = sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "notebooks").rglob("*.py")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, wherever in the file."""
    return imported_by(tree_of(path), path)


def imported_by(tree: ast.AST, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a thing comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_that_run(path: Path) -> Iterator[str]:
    """Yield what a file imports when it is loaded or run, without what only a type checker reads."""
    for node in tree_of(path).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imported_by(node, path)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = {name_of(path): path for path in SOURCES}


def module_of(imported: str) -> str | None:
    """Return which of our modules an imported name is or lies in, None where it is none of ours."""
    parts = imported.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in MODULES:
            return ".".join(parts[:end])
    return None


# --- which room may see which -----------------------------------------------------------------

MAY_IMPORT = {
    "features": {"features"},
    "scoring": {"features", "scoring"},
    "models": {"features", "scoring", "models"},
    "above scoring": {"features", "scoring", "models", "above scoring"},
    "training": {"features", "scoring", "models", "training"},
    "command line": {"features", "scoring", "models", "above scoring", "training", "command line"},
}


def room_of(module: str) -> str:
    first, _, rest = module.partition(".")
    if first == "serving":
        second = rest.partition(".")[0]
        return second if second in ("scoring", "models") else "above scoring"
    return "command line" if first == "pql" else first


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(name_of(path))
    ours = {module for name in imports(path) if (module := module_of(name)) is not None}
    wrong = {module for module in ours if room_of(module) not in MAY_IMPORT[room]}
    assert not wrong, f"{relative(path)} is in {room} and must not import {sorted(wrong)}"


def test_the_rule_sees_an_import_that_points_the_wrong_way(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    from training import fit\n    import serving.service\n    from serving.scoring.scorer import Scorer\n"
    )
    rooms = [room_of(module) for name in imports(bad) if (module := module_of(name))]
    assert rooms == ["training", "above scoring", "scoring"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {module for found in imports_that_run(path) if (module := module_of(found)) not in (None, name)}
        for name, path in MODULES.items()
    }
    assert list(TopologicalSorter(graph).static_order())


# --- one door per heavy library ---------------------------------------------------------------

DOORS = {
    "mlflow": {"training/tracking.py"},
    "bentoml": {"serving/service.py", "training/publish.py"},
    "matplotlib": {"training/reporting/figures.py"},
    "jinja2": {"training/report.py", "training/discovery/page.py"},
    "lightgbm": {
        "serving/scoring/artifact.py",
        "serving/scoring/library.py",
        "training/fit.py",
        "training/hand_trees.py",
    },
    "optuna": {"training/tune.py"},
    "numba": {
        "features/compiling.py",
        "features/window_kernel.py",
        "serving/scoring/score_kernel.py",
        "serving/scoring/tree_kernel.py",
    },
    "babel": {"features/wording.py"},
    "starlette": {
        "serving/service.py",
        "serving/web/refusals.py",
        "serving/web/bodies.py",
        "serving/web/front.py",
        "serving/web/handlers.py",
        "serving/web/connections.py",
        "serving/jobs/routes.py",
    },
    "uvicorn": {"serving/web/connections.py"},
    "httptools": {"serving/web/connections.py"},
    "prometheus_client": {"serving/web/metrics.py"},
    "structlog": {"serving/web/logs.py"},
    "jiter": {"serving/web/bodies.py"},
    "yaml": {"features/definition_text.py"},
    "click": {"pql.py"},
    "rich": {"pql.py"},
    "duckdb": {"features/sources/dialects.py"},
    "nanoarrow": {"features/sources/databases.py", "features/sources/dialects.py"},
    "adbc_driver_manager": {"features/sources/dialects.py"},
    "adbc_driver_postgresql": {"features/sources/dialects.py"},
    "adbc_driver_sqlite": {"features/sources/dialects.py"},
    "adbc_driver_snowflake": {"features/sources/dialects.py"},
    "adbc_driver_bigquery": {"features/sources/dialects.py"},
    "shap": set(),
    "pyarrow": set(),
    "requests": set(),
    "httpx": set(),
}
TRAINING_ONLY = ("sklearn", "scipy", "pandas")


@pytest.mark.parametrize("library", DOORS)
def test_a_heavy_library_has_one_door(library: str) -> None:
    users = {relative(path) for path in SOURCES if any(name.split(".")[0] == library for name in imports(path))}
    assert users <= DOORS[library]


@pytest.mark.parametrize("library", TRAINING_ONLY)
def test_what_learns_is_imported_in_training_only(library: str) -> None:
    users = {relative(path) for path in SOURCES if any(name.split(".")[0] == library for name in imports(path))}
    assert users
    assert all(user.startswith("training/") for user in users), users


# --- what no file may contain -----------------------------------------------------------------

UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "importlib", "runpy"}


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=relative)
def test_nothing_is_unpickled_or_run_from_text(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path) if not name.startswith("importlib.metadata")}
    assert not roots & UNSAFE
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert not re.search(r"pickle|^unsafe_load$|^full_load$", node.attr), f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_holds_one_idea_and_says_which(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "constants", "base", "core"}
    assert ast.get_docstring(tree_of(path))


def test_no_test_folder_shadows_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    banned = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in (ROOT / "tests").rglob("*.py") if path.name in banned]


def test_every_module_of_serving_has_tests_of_the_same_name() -> None:
    exempt = {
        "pyfunc": "the registry loads it: tests/training/test_tracking.py",
        "desk": "what handlers share: test_handlers.py",
        "served": "what handlers tell of: test_handlers.py",
        "opening": "how it is put together: test_service.py",
    }
    modules = {path.stem for path in (ROOT / "serving").rglob("*.py") if path.stem != "__init__"}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "serving").glob("test_*.py")}
    assert modules - tested <= set(exempt)


# --- nothing happens on import ----------------------------------------------------------------

WATCH = """
import json, logging, os, signal, sys, threading, warnings
modules, libraries = json.loads(sys.argv[1])
for name in libraries:
    __import__(name)  # what other people's modules do on import is not ours to mend

def effect(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        writes = set("wax+") & set(arguments[1] or "") or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and "__pycache__" not in os.fsdecode(arguments[0]):
            seen.append([event, os.fsdecode(arguments[0])])
    elif event.startswith(("socket.", "subprocess.", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.system", "os.exec",
                           "os.putenv", "os.unsetenv", "os.fork", "os.posix_spawn", "shutil.", "tempfile.", "urllib.")):
        seen.append([event, repr(arguments)])

def state():
    loggers = [logging.getLogger()] + [logging.getLogger(name) for name in ("features", "serving", "training", "pql")]
    return [[repr(one.handlers), one.level] for one in loggers] + [
        len(warnings.filters), threading.active_count(), list(sys.path), repr(signal.getsignal(signal.SIGINT)), os.getcwd()]

seen, before = [], state()
sys.addaudithook(effect)
for name in modules:
    __import__(name)
seen_then, after = list(seen), state()
print(json.dumps({"effects": seen_then, "before": before, "after": after}))
"""


def run_python(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_any_module_touches_no_disk_network_logger_or_process(tmp_path: Path) -> None:
    found = {name for path in SOURCES for name in imports(path) if module_of(name) is None}
    doors = {"mlflow", "matplotlib", "jinja2", "numba"}  # behind functions; the next test sees to that
    libraries = sorted({name.split(".")[0] for name in found} - doors - {"__future__"})
    libraries += ["scipy.stats", "scipy.optimize", "scipy.special", "sklearn.linear_model", "sklearn.metrics"]
    told = json.loads(run_python(WATCH, json.dumps([sorted(MODULES), libraries])))
    assert told["effects"] == []
    assert told["before"] == told["after"]


KERNELS = {
    "features.window_kernel",
    "features.ready_kernel",
    "serving.scoring.score_kernel",
    "serving.scoring.tree_kernel",
}


def test_a_heavy_library_is_loaded_by_those_who_use_it_and_not_on_import() -> None:
    modules = sorted(set(MODULES) - KERNELS - {"serving.service"})
    heavy = ["mlflow", "matplotlib", "numba", "bentoml", "shap", "jinja2", "duckdb", "nanoarrow", "adbc_driver_manager"]
    script = f"import sys\nfor name in {modules!r}: __import__(name)\nprint([one for one in {heavy!r} if one in sys.modules])"
    assert run_python(script).strip() == "[]"


def test_the_watch_would_notice(tmp_path: Path) -> None:
    script = WATCH.replace("seen_then, after", "open(sys.argv[2], 'w').close()\nos.putenv('A', 'B')\nseen_then, after")
    told = json.loads(run_python(script, json.dumps([[], []]), str(tmp_path / "written")))
    assert [event for event, _ in told["effects"]] == ["open", "os.putenv"]


# --- what is shipped --------------------------------------------------------------------------


def lock(name: str, here: bool = False) -> dict[str, set[str]]:
    """Return the pinned versions of each package in a lock: all of them, or those for this machine."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            assert [one.operator for one in requirement.specifier] == ["=="], line
            if not here or requirement.marker is None or requirement.marker.evaluate():
                pins.setdefault(canonicalize_name(requirement.name), set()).add(
                    str(requirement.specifier).removeprefix("==")
                )
    return pins


def wanted(*extras: str) -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("name", "extras"), [("serve", ["serve"]), ("train", ["train"]), ("dev", ["train", "serve", "warehouse", "dev"])]
)
def test_a_lock_holds_what_pyproject_asks_for_in_a_version_that_it_allows(name: str, extras: list[str]) -> None:
    pins = lock(name)
    for requirement in wanted(*extras):
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in {name}.lock; run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_served_image_has_nothing_that_learns_tracks_or_plots() -> None:
    unwanted = {
        "mlflow",
        "mlflow-skinny",
        "shap",
        "scikit-learn",
        "matplotlib",
        "pandas",
        "pyarrow",
        "duckdb",
        "nanoarrow",
        "adbc-driver-manager",
        "pytest",
        "hypothesis",
    }
    assert not unwanted & set(lock("serve"))


def test_what_is_tested_here_is_what_is_served_and_trained_with() -> None:
    tested, served, trained = (lock(name, here=True) for name in ("dev", "serve", "train"))
    assert len(served) > 20
    assert {package: found for package, found in served.items() if tested.get(package) != found} == {}
    direct = {canonicalize_name(requirement.name) for requirement in wanted("train")}
    assert {package: trained[package] for package in direct if tested.get(package) != trained[package]} == {}


def test_no_lock_or_setting_names_a_package_index() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        assert not re.search(r"https?://|file:|--|@ ", path.read_text(encoding="utf-8")), path
    for name in ("pyproject.toml", "Makefile", "bentofile.yaml", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"index-url|extra-index|find-links|https?://[^\s]*(?:pypi|simple|index)", text), name


def test_a_bento_gets_features_and_serving_whole_and_nothing_else() -> None:
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    included = [PurePosixPath(pattern) for pattern in bento["include"]]
    assert all(pattern.parts[0] in ("features", "serving") and pattern.name == "*.py" for pattern in included)
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for path in SOURCES
        if relative(path).startswith(("features/", "serving/"))
    }
    assert {pattern.parent.as_posix() for pattern in included} == folders
    assert bento["python"]["requirements_txt"] == "requirements/serve.lock"
    assert bento["service"] == "serving.service:PQLService"


def test_the_distribution_holds_every_package() -> None:
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(setting["packages"]) == sorted(name_of(path) for path in SOURCES if path.name == "__init__.py")
    data = {
        ".".join(path.relative_to(ROOT).parent.parts) for name in PACKAGES for path in (ROOT / name).rglob("*.jinja")
    }
    assert data == set(setting["package-data"])


# --- make -------------------------------------------------------------------------------------


def make(*arguments: str) -> str:
    return subprocess.run(["make", "-s", *arguments], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_every_make_target_is_in_the_help_and_help_is_the_default() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    shown = set(re.findall(r"^\s*make ([a-z-]+)\s+\S", make("help"), re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split())
    assert shown == targets == phony
    assert {"help", "train", "serve", "test", "check", "bench", "notebooks", "bento", "clean"} <= targets
    assert make() == make("help")


def test_ci_runs_make_targets_that_exist() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    called = {word for line in re.findall(r"^make (.*)$", text, re.MULTILINE) for word in line.split()}
    assert {"check", "test"} <= called
    assert called <= set(re.findall(r"make ([a-z-]+)", make("help")))
