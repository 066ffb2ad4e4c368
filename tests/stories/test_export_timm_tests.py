"""timm's own tests of its models, from the source distribution of the version installed, run on exported networks."""

import importlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import timm

import hadnas
from docs.generate import published_task
from hadnas.arch.node import Arch
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.library import shipped
from tests.stories.test_export_timm import deeper, write

pytestmark = pytest.mark.slow

TASK = Task.image(3, 64, 64, classes=10)

TESTS = 13
"""How many of timm's tests take every model of a module with `forward_intermediates`."""

LEVELS = ("test_model_forward_features", "test_model_forward_intermediates")
"""Tests that ask for three levels of features, which a network of one or two stages does not have."""

IMPORTING = """
import importlib.util, pathlib, sys

# timm chooses models by the last part of their module's name: those named here offer `forward_intermediates`
for file in sorted(pathlib.Path(__file__).parent.glob("*/model.py")):
    name = f"{file.parent.name}.resnet"
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
"""


@pytest.fixture(scope="module")
def timm_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """timm's `tests/unit/test_models.py`, as pip brings it."""
    folder = tmp_path_factory.mktemp("timm")
    # pip must not be looked up in this process: setuptools, which torch.compile imports, then refuses to be imported
    pip = ["uv", "tool", "run", "pip"] if shutil.which("uv") else [sys.executable, "-m", "pip"]
    wanted = [f"timm=={timm.__version__}", "--no-deps", "--no-binary", "timm", "--dest", str(folder)]
    done = subprocess.run([*pip, "download", *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(folder.glob("timm-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("timm-*/tests/test_models.py"))


def sampled(name: str) -> dict[str, tuple[Arch, Task]]:
    """Three networks of a shipped space as it is, and three with four stages."""
    space = importlib.import_module(f"hadnas.search_spaces.{name}").SPACE
    few = {f"{name}_{seed}": sample(space, TASK, seed=seed) for seed in range(3)}
    four = {f"{name}_four_{seed}": sample(deeper(space), TASK, seed=seed) for seed in range(3)}
    return {label: (arch, TASK) for label, arch in (few | four).items()}


def published(*names: str) -> dict[str, tuple[Arch, Task]]:
    return {name: (complete(hadnas.load(name).node, task := published_task(name)), task) for name in names}


NETWORKS = {name: lambda name=name: sampled(name) for name in ("four_families", "activation_free", "encrypted")}
OF_THE_SAME_CLASSES = {"cpolynext_s", "cpolynext_t", "starnet_s1", "starnet_s4"}
"""Published networks without a class that `apolynext_t`, `cpolynext_lowres` and `starnet_s050` lack."""

NETWORKS |= {
    name: lambda name=name: published(name) for name in shipped("published") if name not in OF_THE_SAME_CLASSES
}


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_networks_pass_the_tests_of_timm(name: str, timm_tests: Path, tmp_path: Path) -> None:
    networks = NETWORKS[name]()
    for label, (arch, task) in networks.items():
        write(arch, task, tmp_path / label)
    shutil.copy(timm_tests, tmp_path / "test_models.py")
    (tmp_path / "conftest.py").write_text(IMPORTING)
    options = ["-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-q", "-k", "hadnas_"]
    command = [sys.executable, "-P", "-m", "pytest", *options, "--junitxml", "found.xml", "test_models.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    cases = ElementTree.parse(tmp_path / "found.xml").iter("testcase")
    ended = {case.get("name", ""): [part.tag for part in case] for case in cases}
    assert len(ended) == TESTS * len({arch.fingerprint for arch, _ in networks.values()}), done.stdout
    few = [arch.fingerprint for arch, _ in networks.values() if len(arch.node["stages"]) < 3]
    expected = {f"{test}[1-hadnas_{fingerprint}]" for test in LEVELS for fingerprint in few}
    assert {test for test, parts in ended.items() if parts} == expected, done.stdout[-5000:]
