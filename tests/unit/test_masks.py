"""Images with holes: a network that carries their mask, what it does not depend on, and what it refuses."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hadnas
from hadnas.arch.diagram import diagram
from hadnas.arch.families import family_counts
from hadnas.arch.read import complete
from hadnas.arch.twins import additive_twin
from hadnas.blocks.masks import MaskedBatchNorm2d
from hadnas.blocks.partial_conv import PartialConv
from hadnas.blocks.registry import find_op, ops, register
from hadnas.blocks.zero_fill_conv import ZeroFillConv
from hadnas.contract.cases import defaults, randomise
from hadnas.contract.check import check_op
from hadnas.errors import SpecError
from hadnas.hosts.host import make_plan
from hadnas.inputs import Mask, drawn, inputs_from_json, inputs_to_json, shapes_in
from hadnas.search.run import run_study
from hadnas.shell.commands.overrides import input_size
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe
from tests.unit.test_masked_data import arrays

TASK = hadnas.Task({"photo": (2, 9, 8), "mask": Mask(9, 8)}, 4)
MIXER = op("residual", block=op("glu"), merge=op("add"), norm="layernorm2d")
ATTENTION = op("residual", block=op("attention"), merge=op("add"), norm="batchnorm2d")


def masked(kind: str, *blocks: Any, **slots: Any) -> dict[str, Any]:
    stages = [{"dim": 8, "down": op(kind, stride=2), "blocks": [op(kind, kernel=5), *blocks]}]
    return op("masked_pyramid", stem=op(kind, dim=5), stages=stages, head=op("pooled_linear"), **slots)


def batch(task: hadnas.Task = TASK, size: int = 4) -> tuple[Tensor, ...]:
    return drawn(task.shapes, size, torch.randn, torch.Generator().manual_seed(0))


def built(node: dict[str, Any], task: hadnas.Task = TASK) -> nn.Module:
    torch.manual_seed(0)
    return randomise(hadnas.build(node, task)).eval()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", ops("masked"))
def test_what_is_in_a_hole_has_no_effect(kind: str, training: bool) -> None:
    """To the last bit, through strides, norms, a block that reads all positions, the mean and the head."""
    network = built(masked(kind, ATTENTION, norm="batchnorm2d")).train(training)
    x, mask = batch()
    mask[0], mask[1] = 0, 1
    contents = (0.0, -7.5, float("nan"), float("-inf"))
    logits = [copy.deepcopy(network)(x.masked_fill(mask == 0, content), mask) for content in contents]
    assert all(torch.equal(one, logits[0]) for one in logits) and logits[0].isfinite().all()
    assert not torch.equal(network(2 * x, mask), logits[0])
    if not training:  # an image of holes alone has features of 0
        assert torch.equal(logits[0][:1], network.head(torch.zeros(1, 8, 1, 1)))  # type: ignore[operator]
        for valid in (mask > 0, 5 * mask, mask.double()):
            assert torch.equal(network(x, valid), logits[0])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2)])
def test_with_all_pixels_valid_a_partial_convolution_is_a_convolution_in_the_interior(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    slots: dict[str, Any] = {"kernel": kernel, "stride": stride, "norm": None, "act": None}
    partial = PartialConv(3, 4, **slots)
    x, mask = torch.randn(2, 3, 11, 12), torch.ones(2, 1, 11, 12)
    y, after = partial(x, mask)
    plain = partial.conv(x)  # its bias is 0
    edge = -(-(kernel // 2) // stride)
    assert torch.equal(y[..., edge:-edge, edge:-edge], plain[..., edge:-edge, edge:-edge]) and after.all()
    corner = kernel**2 / (kernel // 2 + 1) ** 2
    assert torch.allclose(y[..., 0, 0], corner * plain[..., 0, 0], atol=1e-5)


def test_the_windows_of_a_partial_convolution_are_filled_by_their_valid_pixels() -> None:
    """Of an image of one value, each window with a valid pixel gives the sum of the weights; the mask grows."""
    partial = PartialConv(1, 1, norm=None, act=None, dtype=torch.float64)
    nn.init.ones_(partial.conv.weight)
    nn.init.constant_(partial.bias, 0.5)
    mask = torch.zeros(1, 1, 6, 7, dtype=torch.float64)
    mask[0, 0, 2, 3] = mask[0, 0, 5, 6] = 1
    y, after = partial(torch.full_like(mask, 3.0), mask)
    near = torch.zeros(6, 7, dtype=torch.float64)
    near[1:4, 2:5] = near[4:, 5:] = 1
    assert torch.equal(after[0, 0], near) and torch.allclose(y[0, 0], near * 27.5)


def test_without_holes_the_control_is_a_plain_pyramid() -> None:
    """Layer by layer the same numbers, from the same weights."""
    node = masked("zero_fill_conv")
    conv = {"padding": None, "bias": True, "act": "relu"}
    layers = [op("conv_norm", kernel=3, stride=1, **conv), op("conv_norm", kernel=3, **conv)]
    blocks = [{"dim": 8, "down": op("conv_norm", kernel=5, stride=1, **conv), "blocks": []}]
    stages = [{"dim": 8, "down": layers[1], "blocks": []}, *blocks]
    plain = op("pyramid", stem={**layers[0], "dim": 5}, stages=stages, norm=None, head=op("pooled_linear"))
    one_image = hadnas.Task.image(2, 9, 8, classes=4)
    network, other = built(node), built(plain, one_image)
    assert sorted(tuple(t.shape) for t in network.state_dict().values()) == sorted(
        tuple(t.shape) for t in other.state_dict().values()
    )
    other.load_state_dict(dict(zip(other.state_dict(), network.state_dict().values(), strict=True)))
    x, mask = batch()
    assert torch.allclose(network(x, torch.ones_like(mask)), other(x), atol=1e-6)
    assert (network(x, mask) - other(x)).abs().max() > 1e-3


@pytest.mark.parametrize("norm", [None, "batchnorm2d"])
@pytest.mark.parametrize("kind", ops("masked"))
def test_a_frame_of_holes_changes_nothing(kind: str, norm: str | None) -> None:
    """The head reads the mean over valid positions: without neighbours, that of the image without its frame."""
    layer = op(kind, kernel=1)
    node = masked(kind, norm=norm)
    stages = [{"dim": 8, "down": layer, "blocks": [MIXER]}]
    network = built({**node, "stem": {**layer, "dim": 5}, "stages": stages}).double()
    x, mask = (one.double() for one in batch())
    frame = (3, 1, 2, 4)
    framed = nn.functional.pad(x, frame, value=9.0), nn.functional.pad(mask, frame)
    assert torch.allclose(network(*framed), network(x, mask), atol=1e-12)


def test_the_norm_reads_valid_positions_alone() -> None:
    torch.manual_seed(0)
    norm, plain = MaskedBatchNorm2d(3, dtype=torch.float64).train(), nn.BatchNorm2d(3, dtype=torch.float64).train()
    x, mask = torch.randn(4, 3, 5, 5, dtype=torch.float64), torch.randint(2, (4, 1, 5, 5)).double()
    rows = x.movedim(1, -1)[mask[:, 0] > 0]
    out = norm(x.masked_fill(mask == 0, float("nan")), mask).movedim(1, -1)[mask[:, 0] > 0]
    assert torch.allclose(out, plain(rows[..., None, None])[..., 0, 0], atol=1e-12)
    for key, value in plain.state_dict().items():
        assert torch.allclose(norm.norm.state_dict()[key], value, atol=1e-12), key
    assert norm(x, torch.zeros_like(mask)).isfinite().all() and norm.norm.running_var.isfinite().all()  # type: ignore[union-attr]


def test_costs_families_twins_and_the_picture() -> None:
    arch = complete(masked("mask_gated_conv", ATTENTION), TASK)
    assert family_counts(arch) == {"hadamard": 3, "additive": 0, "convolution": 0, "attention": 1}
    assert "mask_gated_conv" in diagram(arch) and len(arch.stages) == 1
    twin = additive_twin(arch, TASK)
    assert twin is not None
    whole, less = (hadnas.cost(hadnas.build(one, TASK, device="meta"), *TASK.shapes) for one in (arch, twin))
    assert (whole.params, whole.macs) == (less.params, less.macs) and whole.products > less.products
    ratio = hadnas.cost(built(masked("partial_conv")), *TASK.shapes)
    assert ratio.products == 5 * 72 + 2 * 8 * 20 and ratio.macs == 9 * 10 * 72 + (9 * 40 + 25 * 64) * 20 + 32


REFUSED: list[tuple[dict[str, Any], hadnas.Task, str]] = [
    (
        masked("partial_conv"),
        hadnas.Task.image(2, 9, 8, classes=4),
        r"an image and its mask.*; the task has image=2x9x8",
    ),
    (masked("partial_conv"), hadnas.Task({"a": (2, 9, 8), "b": (1, 9, 8)}, 4), r"a=2x9x8, b=1x9x8; .* array of bool"),
    (masked("partial_conv"), hadnas.Task({"a": (2, 9, 8), "b": Mask(8, 8)}, 4), r"one height and width.*b=mask 8x8"),
    (masked("partial_conv"), hadnas.Task({"a": (2,), "b": Mask(8, 8)}, 4), "a=2, b=mask 8x8"),
    (masked("conv_norm"), TASK, "stem: .*'conv_norm' has the role stem or down; allowed here: mask_gated"),
    (
        masked("partial_conv", op("partial_conv", stride=2)),
        TASK,
        r"stages.0.blocks.1: partial_conv makes the map 2 times smaller",
    ),
    (masked("partial_conv", op("partial_conv", kernel=4)), TASK, "kernel = 4 must be odd"),
    (masked("partial_conv", norm="layernorm2d"), TASK, "norm = 'layernorm2d' .*'batchnorm2d'"),
]


@pytest.mark.parametrize(("node", "task", "said"), REFUSED)
def test_what_does_not_fit_is_refused(node: dict[str, Any], task: hadnas.Task, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        complete(node, task)


@pytest.mark.usefixtures("own_registry")
def test_a_layer_that_leaks_is_found() -> None:
    class Leaking(ZeroFillConv):
        """A product with the mask: y = m * x is NaN where x is."""

        def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return self.act(self.conv(x * mask)), mask[..., :: self.conv.stride[0], :: self.conv.stride[0]]

    register("masked", resize=find_op("partial_conv").resize, rules=find_op("partial_conv").rules)(Leaking)
    found = "\n".join(check_op(find_op("leaking")))
    assert "depends on the content of holes: nan" in found and "not 0 where its mask is 0" in found
    assert list(defaults(find_op("leaking"))) == ["kernel", "stride", "norm", "act"]


def test_a_mask_is_an_input_of_its_own_kind() -> None:
    mask = TASK.shapes[1]
    assert str(TASK) == "photo=2x9x8, mask=mask 9x8 -> 4" and mask == (1, 9, 8)
    assert isinstance(pickle.loads(pickle.dumps(mask)), Mask) and pickle.loads(pickle.dumps(TASK)) == TASK
    stored = inputs_to_json(TASK.inputs, [((0.0,) * 2, (1.0,) * 2), None])
    read, moments = inputs_from_json(stored)
    assert read == TASK.inputs and isinstance(read[1][1], Mask) and list(moments) == ["photo"]
    plan = make_plan(masked("partial_conv"), TASK)
    assert isinstance(shapes_in(plan.host.config(plan))[1], Mask)
    assert isinstance(input_size("mask9x8"), Mask) and input_size("mask 9x8") == (1, 9, 8)
    with pytest.raises(SpecError, match="--size 'mask9' is not allowed"):
        input_size("mask9")
    assert batch()[1].unique().tolist() == [0, 1]


@pytest.mark.slow
def test_a_search_over_masks_is_trained_exported_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import pyfunc

    from hadnas.exporter.deliver import deliver, register_export

    np.savez(tmp_path / "masked.npz", **arrays())
    space = masked(one_of("partial_conv", "zero_fill_conv", name="kind"))  # type: ignore[arg-type]
    data = DataSpec(source=str(tmp_path / "masked.npz"), inputs=("photo", "valid"))
    study = Study(name="holes", space=space, data=data, recipe=Recipe(epochs=6, batch=16), trials=2)
    home = Home(tmp_path / "home")
    run_study(study, home)
    results = hadnas.open_study("holes", home.path)
    assert len(results.distinct) == 2 and results.best.value > 0.9 and isinstance(results.task().shapes[1], Mask)
    folder = deliver(results, results.best, tmp_path / "out", onnx=False, force=False)
    assert "masks and tokens as they are" in (folder / "model.py").read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.tracking_uri)
    uri = register_export(results, results.best, folder)
    served = pyfunc.load_model(uri)
    (photo, valid), _ = next(results.data().val.batches(8))
    given = {"photo": photo.numpy(), "valid": valid.numpy()}
    logits = served.predict(given)
    given["photo"] = np.where(given["valid"] > 0, given["photo"], np.float32("nan"))
    assert np.array_equal(served.predict(given), logits)
    given["valid"] = 2 * given["valid"]
    with pytest.raises(ValueError, match=r"valid\[0, 0, 0, 0\] is 2.0; allowed are 0 at a hole and 1"):
        served.predict(given)
