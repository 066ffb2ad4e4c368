"""Exported code: readable, free of hadnas, and the same function to the last bit."""

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

import hadnas
from hadnas.arch.node import Arch
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.blocks.registry import find_op, ops
from hadnas.errors import BuildError, SpecError, StudyError
from hadnas.exporter.card import Facts, Single, card
from hadnas.exporter.folder import FILES, check_folder, export, usage
from hadnas.hosts.build import build
from hadnas.hosts.host import make_plan
from hadnas.inputs import drawn
from hadnas.library import shipped
from hadnas.search_spaces import four_families, star_or_sum_blocks
from hadnas.source.module import licence, plan_source
from hadnas.space import op
from tests.networks import TWO_INPUTS, pyramid, residual
from tests.stories.test_export_timm import imported

DIGITS = Task.image(1, 8, 8, classes=10)
BLOCKS, MERGES = tuple(ops("block")), tuple(ops("merge"))  # before a test registers its own

# Runs every exported file of a folder where hadnas cannot be imported, as `verify` does for one.
RUN_ALL = """
import importlib.util, pathlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hadnas":
            raise ImportError("hadnas is blocked")
sys.meta_path.insert(0, Blocked())
import torch
from safetensors.torch import load_file, save_file
images = load_file(sys.argv[1] + "/images.safetensors")["images"]
for place in sorted(pathlib.Path(sys.argv[1]).glob("*/model.py")):
    name = "exported_" + place.parent.name
    spec = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    network = module.build_model(pretrained=True).eval()
    with torch.inference_mode():
        answer = {"logits": network(images)}
    answer |= {"keys." + key: torch.zeros(1) for key in network.state_dict()}
    save_file(answer, place.with_name("answer.safetensors"))
assert not [name for name in sys.modules if name.partition(".")[0] == "hadnas"]
"""


@pytest.mark.slow
def test_forty_sampled_candidates_are_bit_equal_without_hadnas(tmp_path: Path) -> None:
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    save_file({"images": images}, tmp_path / "images.safetensors")
    expected = {}
    for index in range(40):
        arch = sample(four_families.SPACE if index % 4 else star_or_sum_blocks.SPACE, DIGITS, seed=index)
        torch.manual_seed(index)
        network = _stirred(build(arch, DIGITS))
        folder = tmp_path / f"{index:02d}"
        folder.mkdir()
        (folder / "model.py").write_text(plan_source(make_plan(arch, DIGITS), {"trial": index}))
        save_file(network.state_dict(), folder / "model.safetensors")
        with torch.inference_mode():
            expected[index] = (network(images), set(network.state_dict()))
    subprocess.run([sys.executable, "-c", RUN_ALL, str(tmp_path)], check=True)
    for index, (logits, keys) in expected.items():
        answer = load_file(tmp_path / f"{index:02d}" / "answer.safetensors")
        assert torch.equal(answer.pop("logits"), logits), index
        assert {key.removeprefix("keys.") for key in answer} == keys
    settings = ["--isolated", "--line-length", "120", str(tmp_path)]
    for command in (["check", "--select", "E4,E7,E9,F,I,B,UP"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *settings], check=True)


def _stirred(network: nn.Module) -> nn.Module:
    """In eval mode, with some noise on its parameters: what starts at zero would hide a difference."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return network.eval()


def _bit_equal(text: str, network: nn.Module, *inputs: Tensor) -> Tensor:
    """The logits of `network`, which the exported `text` returns to the last bit, with nothing of hadnas."""
    known: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
    exec(text.replace("@register_model", ""), known)  # timm registers what stands in a module only
    assert not [name for name, value in known.items() if getattr(value, "__module__", "").startswith("hadnas")]
    exported = known["build_model"]()
    assert list(exported.state_dict()) == list(network.state_dict())
    exported.load_state_dict(network.state_dict())
    with torch.inference_mode():
        logits: Tensor = network(*inputs)
        assert torch.equal(exported.eval()(*inputs), logits)
    return logits


@pytest.mark.parametrize("head", ops("head"))
def test_every_block_and_merge_is_exported_bit_equal(head: str) -> None:
    """Walked from the registry: all blocks in one network, the merges in turn, under each head."""
    task, merges = Task.image(1, 10, 8, classes=5), itertools.cycle(MERGES)
    blocks = [op(name, blocks=[op("mlp"), op("se")]) if name == "sequence" else op(name) for name in BLOCKS]
    nodes = [residual(node, norm="layernorm2d", merge=op(next(merges))) for node in blocks]
    arch = complete({**pyramid((16, nodes)), "head": op(head)}, task)
    torch.manual_seed(0)
    network = _stirred(build(arch, task))
    text = plan_source(make_plan(arch, task), {})
    lacking = [name for name in BLOCKS + MERGES if f"class {find_op(name).cls.__name__}(" not in text]
    assert lacking == []
    images = torch.randn(2, *task.shape, generator=torch.Generator().manual_seed(0))
    assert _bit_equal(text, network, images).isfinite().all()


def test_a_pyramid_of_cells_is_exported_bit_equal() -> None:
    blocks = [op("poly_conv"), op("poly_mlp", norm="position_norm"), op("poly_attention", sums="running")]
    cell = op("cell", merge=op("product"), blocks=[residual(block) for block in blocks])
    stages = [{"dim": 8, "down": op("separable_conv"), "down_older": op("conv_norm"), "blocks": [cell, cell]}]
    stem = op("conv_norm", dim=8, stride=1)
    arch = complete(op("cell_pyramid", stem=stem, stages=stages, head=op("poly_pooled")), DIGITS)
    torch.manual_seed(0)
    text = plan_source(make_plan(arch, DIGITS), {})
    assert _bit_equal(text, _stirred(build(arch, DIGITS)), torch.randn(2, *DIGITS.shape)).isfinite().all()
    assert "class CellStage(" in text and "class Both(" not in text  # a part for counting alone


@pytest.mark.parametrize("name", ops("fusion"))
def test_every_fusion_is_exported_bit_equal(name: str) -> None:
    """Of an image and tokens."""
    space = hadnas.load("search_spaces/image_and_question")
    task = TWO_INPUTS["image_and_question"]
    arch = complete({**sample(space, task, seed=0).node, "fusion": op(name, dim=8, hidden=8)}, task)
    torch.manual_seed(0)
    network = _stirred(build(arch, task))
    text = plan_source(make_plan(arch, task), {})
    inputs = drawn(task.shapes, 2, torch.randn, torch.Generator().manual_seed(0))
    assert f"class {find_op(name).cls.__name__}(" in text and _bit_equal(text, network, *inputs).isfinite().all()


@pytest.mark.parametrize("name", ops("masked"))
def test_every_layer_of_maps_with_holes_is_exported_bit_equal(name: str) -> None:
    """With a block of a map alone between two of them."""
    task = TWO_INPUTS["image_with_holes"]
    stage = {"dim": 8, "down": op(name, stride=2), "blocks": [residual(op("star")), op(name)]}
    node = op("masked_pyramid", stem=op(name, dim=8), stages=[stage], norm="batchnorm2d", head=op("pooled_mlp"))
    torch.manual_seed(0)
    network = _stirred(build(node, task))
    text = plan_source(make_plan(node, task), {})
    inputs = drawn(task.shapes, 2, torch.randn, torch.Generator().manual_seed(0))
    assert f"class {find_op(name).cls.__name__}(" in text and _bit_equal(text, network, *inputs).isfinite().all()


@pytest.mark.slow
def test_two_hundred_candidates_of_every_shipped_space_are_bit_equal(tmp_path: Path) -> None:
    """Executed in this process, from the text and the weights alone; the forty above run where there is no hadnas."""
    names = shipped("search_spaces")
    texts = set()
    for index in range(200):
        name = names[index % len(names)]
        task = TWO_INPUTS.get(name, Task.image(3, 16, 16, classes=5))
        arch = sample(hadnas.load(f"search_spaces/{name}"), task, seed=index)
        inputs = drawn(task.shapes, 2, torch.randn, torch.Generator().manual_seed(0))
        torch.manual_seed(index)
        network = _stirred(build(arch, task))
        texts.add(text := plan_source(make_plan(arch, task), {"candidate": index}))
        (tmp_path / f"{index:03d}.py").write_text(text)
        logits = _bit_equal(text, network, *inputs)
        assert logits.isfinite().all(), arch.tree()
    assert len(texts) == 200
    settings = ["--isolated", "--line-length", "120", str(tmp_path)]
    for command in (["check", "--select", "E4,E7,E9,F,W,I,B,UP"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *settings], check=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arch, nn.Module, Path]:
    """An architecture, the network that was exported, and the folder worked in, in which another file lay."""
    place = tmp_path_factory.mktemp("export")
    arch = sample(four_families.SPACE, DIGITS, seed=1)
    torch.manual_seed(3)
    network = build(arch, DIGITS)
    save_file(network.state_dict(), place / "trained.safetensors")
    facts = Facts(
        {"study": "mine"}, {"validation": Single("accuracy", 0.9, 0.03, 100)}, {"macs": 1234567, "products": 8}
    )
    (place / "best").mkdir()
    (place / "best" / "mine.txt").write_text("mine")
    given: dict[str, Any] = {"facts": facts, "moments": ((0.3,), (0.2,))}
    with pytest.raises(StudyError, match=r"best .*--force"):
        export(arch, DIGITS, place / "best", place / "trained.safetensors", **given)
    assert [path.name for path in (place / "best").iterdir()] == ["mine.txt"]
    with contextlib.chdir(place / "best"):
        export(arch, DIGITS, ".", place / "trained.safetensors", force=True, **given)
    return arch, network, place / "best"


def test_export_writes_a_verified_folder(exported: tuple[Arch, nn.Module, Path]) -> None:
    arch, network, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "mine.txt"])
    assert (folder / "mine.txt").read_text() == "mine"
    assert complete(json.loads((folder / "arch.json").read_text()), DIGITS) == arch
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    text = (folder / "model.py").read_text()
    assert "import hadnas" not in text and "from hadnas" not in text and "study: mine" in text
    assert "build_model(pretrained=True)" in usage(folder, DIGITS)
    text = (folder / "README.md").read_text()
    for said in (
        *(f"# hadnas_{arch.fingerprint}", arch.tree(), "| study | mine |", "Apache-2.0", "1x8x8", "0.3000", "0.2000"),
        *("| validation accuracy | 0.9000 ± 0.0300 (one standard error, n = 100) |", "| MACs | 1,234,567 |"),
    ):
        assert said in text, said
    assert "test" not in text and "not trained" not in text
    assert {(folder / name).stat().st_mode & 0o777 for name in FILES} == {0o666 & ~_umask()}


def test_the_code_of_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without facts it has no figures; what it says of loading the network is so."""
    plan = make_plan(pyramid((8, [residual(op("mlp"))])), DIGITS)
    arch = plan.arch
    text = card(plan, Facts(), None, (), licence(plan), "torch and timm", trained=False)
    assert "not trained" in text and "Measured" not in text and "accuracy" not in text
    (tmp_path / "model.py").write_text(plan_source(make_plan(arch, DIGITS), {}))
    save_file(build(arch, DIGITS).state_dict(), tmp_path / "model.safetensors")
    monkeypatch.syspath_prepend(tmp_path)
    known: dict[str, torch.Tensor] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], known)
    monkeypatch.delitem(sys.modules, "model")
    assert known["logits"].shape == (1, 10)


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def test_timm_makes_the_exported_network(
    exported: tuple[Arch, nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, as every network of timm: pretrained, as features, with other classes and channels."""
    arch, _, folder = exported
    spec = importlib.util.spec_from_file_location("exported_for_timm", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    images = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        network = timm.create_model(f"hadnas_{arch.fingerprint}", pretrained=True).eval()
        assert torch.equal(network(images), module.build_model(pretrained=True).eval()(images))
        assert (network.pretrained_cfg["mean"], network.pretrained_cfg["std"]) == ((0.3,), (0.2,))
        features = timm.create_model(f"hadnas_{arch.fingerprint}", features_only=True, out_indices=(0, 2)).eval()
        dims = [stage["dim"] for stage in arch.node["stages"]]
        assert [x.shape[1] for x in features(images)] == [dims[0], dims[2]] == features.feature_info.channels()
        assert timm.create_model(f"hadnas_{arch.fingerprint}", num_classes=3)(images).shape == (2, 3)


def test_a_network_of_timm_says_what_its_images_are_normalised_with(tmp_path: Path) -> None:
    """Those of the study's images, not those of timm's weights."""
    arch = complete(op("timm", model="resnet10t"), DIGITS)
    (tmp_path / "model.py").write_text(plan_source(make_plan(arch, DIGITS), {}, ((0.3,), (0.2,))))
    with imported(tmp_path / "model.py") as exported:
        config = exported.build_model(device="meta").pretrained_cfg
    assert (config["mean"], config["std"], config["first_conv"]) == ((0.3,), (0.2,), "conv1.0")


def test_timm_reads_images_as_hadnas_did(exported: tuple[Arch, nn.Module, Path]) -> None:
    """Nothing of the border is cut off by timm's own evaluation, so its pixels are those of the search."""
    arch, _, _ = exported
    network = build(arch, DIGITS)
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    seen = create_transform(**resolve_data_config({}, model=network))(image)
    assert torch.equal(seen, (torch.arange(64.0).reshape(1, 8, 8) / 255 - 0.5) / 0.5)


def test_files_that_are_not_of_an_export_are_never_replaced(
    exported: tuple[Arch, nn.Module, Path], tmp_path: Path
) -> None:
    arch, _, folder = exported
    check_folder(folder, force=True)  # an export may be written again
    shutil.copytree(folder, tmp_path / "best")
    for name, kept in (("README.md", "# Mine"), ("model.py", "import mine")):
        (tmp_path / "best" / name).write_text(kept)
        with pytest.raises(StudyError, match=name):
            export(arch, DIGITS, tmp_path / "best", force=True)
        assert (tmp_path / "best" / name).read_text() == kept
    with pytest.raises(StudyError, match="is a file"):
        export(arch, DIGITS, tmp_path / "best" / "mine.txt")
    with pytest.raises(StudyError, match=r"mine.txt/below.*: Not a directory"):
        check_folder(tmp_path / "best" / "mine.txt" / "below")


def test_weights_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    arch = complete(pyramid((8, [residual(op("mlp"))])))
    save_file({"stem.conv.weight": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(SpecError, match="does not fit the architecture"):
        export(arch, DIGITS, tmp_path / "out", tmp_path / "wrong.safetensors")
    with pytest.raises(StudyError, match="there is no file"):
        export(arch, DIGITS, tmp_path / "out", tmp_path / "none.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_block_without_a_file_cannot_be_exported(tmp_path: Path) -> None:
    namespace: dict[str, object] = {"__name__": "nowhere"}
    text = """
from typing import Any
from torch import nn
from hadnas import block
@block(family="additive")
class TypedAtThePrompt(nn.Module):
    def __init__(self, dim: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
    def forward(self, x):
        return x * 2
"""
    exec(text, namespace)
    arch = complete(pyramid((8, [op("typed_at_the_prompt")])), DIGITS)
    with pytest.raises(BuildError, match="a block must be defined in a file"):
        export(arch, DIGITS, tmp_path / "deep" / "out")
    assert not any(tmp_path.iterdir())
