"""Images with holes: a network that carries their mask, what it does not depend on, what it refuses, and the data."""

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
from hadnas.errors import DataError, SpecError
from hadnas.hosts.host import make_plan
from hadnas.inputs import Mask, drawn, inputs_from_json, inputs_to_json, shapes_in
from hadnas.search.run import run_study
from hadnas.shell.commands.overrides import input_size
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import Data, DataSpec, load_data
from hadnas.train.recipe import Recipe

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
    (masked("conv_norm"), TASK, "stem: .*'conv_norm' is a stem or down; allowed here: mask_gated_conv, partial_conv"),
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


def arrays(**changed: Any) -> dict[str, Any]:
    """Images of which the valid left half alone has the class; the right half is of another scale."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for split, count in (("train", 40), ("test", 12)):
        labels = np.arange(count) % 2
        photos = generator.integers(200, 256, (count, 6, 5, 3), dtype=np.uint8)
        photos[:, :, :3] = (generator.integers(0, 20, (count, 6, 3, 3)) + 80 * labels[:, None, None, None]).astype("u1")
        valid = np.zeros((count, 6, 5), bool)
        valid[:, :, :3] = True
        found |= {f"{split}_photo": photos, f"{split}_valid": valid, f"{split}_labels": labels}
    return {key: value for key, value in {**found, **changed}.items() if value is not None}


def read(folder: Path, *inputs: str, **changed: Any) -> Data:
    np.savez(folder / "masked.npz", **arrays(**changed))
    return load_data(DataSpec(source=str(folder / "masked.npz"), inputs=inputs or ("photo", "valid")))


def test_an_array_of_bool_is_a_mask_and_never_standardised(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.inputs == (("photo", (3, 6, 5)), ("valid", Mask(6, 5))) and isinstance(data.inputs[1][1], Mask)
    (photos, valid), _ = next(data.train.batches(len(data.train)))
    assert valid.dtype == torch.float32 and valid.unique().tolist() == [0, 1]
    rows = photos.movedim(1, -1)[valid[:, 0] > 0]
    assert rows.mean(0).abs().max() < 1e-5 and (rows.std(0, correction=0) - 1).abs().max() < 1e-5
    assert list(data.moments) == ["photo"]


def test_what_is_in_holes_is_in_no_normalisation(tmp_path: Path) -> None:
    other = arrays()["train_photo"].copy()
    other[:, :, 3:] = 17
    first, second = read(tmp_path), read(tmp_path, train_photo=other)
    assert first.moments == second.moments and first.digest != second.digest


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "bool"])
def test_an_input_named_mask_is_one_of_any_type(tmp_path: Path, dtype: str) -> None:
    own = {f"{split}_mask": arrays()[f"{split}_valid"].astype(dtype) for split in ("train", "test")}
    data = read(tmp_path, "photo", "mask", **own)
    assert isinstance(data.inputs[1][1], Mask) and data.moments == read(tmp_path).moments


VALID = arrays()["train_valid"]
BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"train_mask": 255 * VALID.astype("u1")},
        r"train_mask\[0, 0, 0\] is 255; allowed are 0 at a hole and 1 at a valid",
    ),
    ({"test_mask": VALID[:12] * np.nan}, r"test_mask\[0, 0, 0\] is nan; allowed are 0 .* and 1"),
    ({"train_mask": VALID[:, :5], "test_mask": VALID[:12, :5]}, r"train_mask\[0\] is 5 x 5; .* 6 x 5 of train_photo"),
    ({"train_mask": VALID[:, :5]}, r"test_mask are .*\(1, 6, 5\), train_mask .*\(1, 5, 5\)"),
    ({"train_mask": VALID[0]}, r"train_mask is bool of shape \(6, 5\); a mask is .* \(N, H, W\)"),
    ({"train_mask": VALID.astype(str)}, r"train_mask is <U5 of shape"),
    ({"train_mask": 0 * VALID}, "train_mask has no valid pixel"),
    ({"train_mask": VALID[:-1]}, r"train_mask has 39 rows, train_labels 40: train_mask\[39\] is missing"),
]


@pytest.mark.parametrize(("changed", "said"), BAD)
def test_a_bad_mask_is_one_error(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    own = {f"{split}_mask": arrays()[f"{split}_valid"] for split in ("train", "test")}
    with pytest.raises(DataError, match=said):
        read(tmp_path, "photo", "mask", **{**own, **changed})


def test_a_mask_without_an_image_is_refused(tmp_path: Path) -> None:
    sizes = {f"{split}_sizes": np.arange(2.0 * n).reshape(n, 2) for split, n in (("train", 40), ("test", 12))}
    with pytest.raises(DataError, match=r"train_valid\[0\] is 6 x 5; .*no input"):
        read(tmp_path, "sizes", "valid", **sizes)


def test_images_of_any_source_get_holes() -> None:
    whole, data, more = (load_data(f"holes:{share}:digits") for share in ("0", "0.3", "0.60"))
    plain = load_data("digits")
    assert data.name == "holes:0.3:digits" and data.sizes == plain.sizes and data.class_names == plain.class_names
    assert np.allclose(whole.moments["image"], plain.moments, atol=1e-12)  # type: ignore[call-overload, arg-type]
    for part in ("train", "val"):
        parts = [getattr(one, part) for one in (whole, data, more)]
        ((_, ones), _), ((y, mask), labels), ((_, fewer), _) = (next(one.batches(2000)) for one in parts)
        assert ones.all() and (mask.mean((1, 2, 3)) == 45 / 64).all() and (fewer.mean((1, 2, 3)) == 26 / 64).all()
        assert (fewer <= mask).all() and labels.equal(getattr(plain, part).labels)
        mean, std = (value[0] for value in data.moments["image"])  # type: ignore[call-overload]
        pixels = (y * std + mean) * 16
        known = next(getattr(plain, part).batches(2000))[0][0] * plain.std[0] * 16 + plain.mean[0] * 16
        assert (pixels - known).masked_fill(mask == 0, 0).abs().max() < 1e-4
        filled = pixels[mask == 0].round()
        assert filled.unique().tolist() == list(range(17)) and abs(filled.mean() - 8) < 0.2
    first, again = load_data("holes:0.3:digits"), load_data("holes:0.3:digits")
    assert first.digest == again.digest != more.digest


def test_an_image_in_two_splits_is_still_noticed(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    images[25] = images[3]
    own = {"test_images": images[20:], "test_labels": np.arange(10) % 2}
    np.savez(tmp_path / "twice.npz", train_images=images[:20], train_labels=np.arange(20) % 2, **own)
    (note,) = load_data(f"holes:0.5:{tmp_path / 'twice.npz'}").notes
    assert "1 of 10 test images" in note and "'test_images[5]' is train" in note


def test_holes_are_squares_of_an_eighth_of_a_side(tmp_path: Path) -> None:
    images = np.full((20, 34, 16), 9, np.uint8)
    np.savez(tmp_path / "grey.npz", train_images=images, train_labels=np.arange(20) % 2)
    data = load_data(f"holes:0.5:{tmp_path / 'grey.npz'}")
    assert data.name == "holes:0.5:grey"
    (_, mask), _ = next(data.train.batches(20))
    assert (mask.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).std(-1, correction=0) == 0).all()
    assert (mask.mean((1, 2, 3)) == 0.5).all()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("holes:1:digits", "the share of holes is '1'; allowed is a number from 0 to below 1"),
        ("holes:nan:digits", "is 'nan'; allowed"),
        ("holes:-0.1:digits", "is '-0.1'; allowed"),
        ("holes:half:digits", "is 'half'; allowed"),
        ("holes:0.5:digit_pairs:sum", "holes are for one image, in memory; digit_pairs:sum has other inputs"),
        ("holes:0.5:nowhere", "'nowhere' not found"),
        ("holes:0.5", "path is empty"),
    ],
)
def test_holes_that_cannot_be_are_refused(source: str, said: str) -> None:
    with pytest.raises((DataError, SpecError), match=said):
        load_data(source)


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
