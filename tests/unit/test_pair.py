"""The host of two inputs: how it is read, what it refuses, equal parameters, its costs, twins, code and search."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hadnas
from hadnas.arch.diagram import diagram
from hadnas.arch.families import family_counts
from hadnas.arch.read import complete
from hadnas.arch.twins import additive_twin
from hadnas.blocks.registry import ops
from hadnas.errors import BuildError, MeasurementError, SpecError
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import make_plan
from hadnas.inputs import Tokens, drawn
from hadnas.measure.onnx import as_onnx
from hadnas.measure.screen import screen
from hadnas.search.run import run_study
from hadnas.source.module import plan_source
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe

TASK = hadnas.Task({"image": (3, 9, 8), "question": Tokens(5, 11)}, 7)
TWO_IMAGES = hadnas.Task({"left": (1, 8, 8), "right": (1, 8, 8)}, 2)
MLP = op("residual", norm="layernorm2d", merge=op("add"), block=op("mlp"))


def encoder(stem: Any = None, dim: int = 8, **more: Any) -> dict[str, Any]:
    stem = stem or op("conv_norm", dim=dim, kernel=3, stride=2)
    return op("pyramid", stem=stem, stages=[{"dim": dim, "down": None, "blocks": [MLP]}], **more)


WORDS = encoder(op("token_embedding", dim=8))


def pair(fusion: Any = None, left: Any = None, right: Any = WORDS, **more: Any) -> dict[str, Any]:
    fusion = fusion or op("mlb", dim=6, hidden=4)
    return op("pair", left=left or encoder(), right=right, fusion=fusion, head=op("pooled_linear"), **more)


def batch(task: hadnas.Task, size: int = 4, seed: int = 0) -> tuple[Tensor, ...]:
    return drawn(task.shapes, size, torch.randn, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ops("fusion"))
def test_every_fusion_joins_an_image_and_tokens(name: str) -> None:
    plan = make_plan(pair(op(name, dim=6, params=9800)), TASK)
    network = build_seeded(plan, 0)
    count = sum(parameter.numel() for parameter in network.fusion.parameters())  # type: ignore[union-attr]
    assert abs(count - 9800) <= 98 and "params" not in plan.arch.node["fusion"]
    inputs = batch(TASK)
    assert network(*inputs).shape == (4, 7)
    counted = hadnas.cost(network, *TASK.shapes)
    assert counted == hadnas.cost(build_plan(plan, device="meta"), *TASK.shapes)
    assert counted.macs == sum(counted.by_module[part].macs for part in ("left", "right", "fusion", "head"))
    assert screen(network, inputs, torch.tensor([0, 1, 2, 3])).rejected is None
    network.double().eval()
    one, other = (network(*(x.double() if x.is_floating_point() else x for x in batch(TASK, 2, s))) for s in (0, 1))
    assert (one - other).abs().max() > 1e-6


def test_the_same_key_as_data_and_as_text() -> None:
    assert str(TASK) == "image=3x9x8, question=5 of 11 -> 7" and TASK.shapes[1] == Tokens(5, 11)
    arch = complete(pair(op("mlb", dim=6, params=900)), TASK)
    assert complete(arch.node, TASK) == arch == complete(json.loads(arch.json), TASK)
    assert arch.stages == [*arch.node["left"]["stages"], *arch.node["right"]["stages"]]
    assert family_counts(arch)["hadamard"] == 1 and "left stem" in diagram(arch) and "mlb" in diagram(arch)


def test_one_encoder_may_read_both_inputs() -> None:
    shared, own = (build_seeded(make_plan(pair(right=right), TWO_IMAGES), 0) for right in (None, encoder()))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (shared, own)]
    assert sizes[1] - sizes[0] == sum(p.numel() for p in own.right.parameters())  # type: ignore[union-attr]
    a, b = batch(TWO_IMAGES)
    shared.eval()
    assert torch.equal(shared(a, b), shared.head(shared.fusion(shared.left(a), shared.left(b))[:, :, None, None]))  # type: ignore[operator]


def test_a_twin_has_the_parameters_of_its_product_and_no_product() -> None:
    arch = complete(pair(op("mlb", dim=6, params=2000)), TASK)
    twin = additive_twin(arch, TASK)
    assert twin is not None and twin.node["fusion"]["interact"] == "sum"
    whole, less = (hadnas.cost(hadnas.build(one, TASK), *TASK.shapes) for one in (arch, twin))
    assert (whole.params, whole.macs) == (less.params, less.macs) and whole.products > less.products == 0


def test_a_product_of_two_inputs_has_an_effect() -> None:
    network = build_seeded(make_plan(pair(), TASK), 0)
    (effect,) = hadnas.product_effects(network, batch(TASK, 20), torch.arange(20) % 7)
    assert effect.path == "fusion" and effect.ratio > 0 and effect.n == 20


def test_timm_may_encode_an_image() -> None:
    arch = complete(pair(op("film", dim=6, hidden=4), left=op("timm", model="test_resnet")), TASK)
    assert hadnas.build(arch, TASK)(*batch(TASK)).shape == (4, 7)


REFUSED = [
    (
        pair(right=encoder()),
        TASK,
        r"right: stem: conv_norm reads an image .* 5 of 11 is tokens, for token_embed",
    ),
    (pair(right=None), TASK, r"right: None .* one shape; found image=3x9x8, question=5 of 11"),
    (pair(left=encoder(head=op("pooled_linear"))), TASK, "left: .*no head"),
    (pair(), hadnas.Task.image(3, 9, 8, classes=2), r"two inputs; the task has image=3x9x8"),
    (pair(op("mlb", hidden=4)), TASK, "fusion: dim = None"),
    (pair(op("star", dim=4)), TASK, "fusion: .*'star' has the role block; allowed here: block_fusion"),
    (
        pair(op("mlb", dim=6, params=100)),
        TASK,
        r"params = 100 .* \d+ \(hidden = 2\) and \d+ \(hidden = 3\)",
    ),
    (pair(op("mlb", dim=6, params=100, hidden=4)), TASK, "one of both"),
    (pair(op("mutan", dim=6, params=9000, rank=0)), TASK, r"mutan: rank = 0 must be at least 1"),
    (pair(op("block_fusion", dim=6, params=9000, chunks=3)), TASK, r"chunks = 3 must divide .* core = 32"),
    (pair(op("cross_attention", dim=6, hidden=5, heads=2)), TASK, "heads = 2 must divide hidden = 5"),
    (pair(left=op("timm", model="test_resnet", weights="pretrained")), TASK, "left: .*`weights` and `sites`"),
    (pair(left=pair()), TASK, "left: pair cannot be an encoder"),
    (encoder(head=op("pooled_linear")), TASK, "one image input"),
]


@pytest.mark.parametrize(("node", "task", "said"), REFUSED)
def test_what_does_not_fit_is_refused(node: dict[str, Any], task: hadnas.Task, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        complete(node, task)


def test_timm_has_no_networks_of_two_inputs() -> None:
    """They are not registered with it, and take none of its arguments."""
    plan = make_plan(pair(), TASK)
    with pytest.raises(SpecError, match="features_only, in_chans: arguments of timm are for networks of one image"):
        hadnas.build(plan.arch, TASK, features_only=True, in_chans=1)
    code = plan_source(plan, {})
    assert "register_model" not in code and "build_model_with_cfg" not in code


def test_a_task_has_distinct_names_and_known_shapes() -> None:
    with pytest.raises(SpecError, match="named a, a"):
        hadnas.Task((("a", (1, 2, 3)), ("a", (4,))), 2)
    with pytest.raises(SpecError, match=r"a has the shape \(2, 3\); allowed"):
        hadnas.Task({"a": (2, 3)}, 2)
    with pytest.raises(SpecError, match="a has the size 0"):
        hadnas.Task({"a": Tokens(3, 0)}, 2)
    with pytest.raises(SpecError, match=r"inputs = \{'a': 3\}; allowed are names with their shapes"):
        hadnas.Task({"a": 3}, 2)  # type: ignore[arg-type, dict-item]
    for name in ("a=1, b", 'a"""', ""):  # would be other keys, or other code
        with pytest.raises(SpecError, match="an input is named"):
            hadnas.Task({name: (3,)}, 2)


def test_params_beyond_what_torch_can_build_are_an_error_of_the_fusion() -> None:
    with pytest.raises(BuildError, match=r"fusion: SpatialConditioning with hidden = .* cannot be built"):
        complete(pair(op("spatial_conditioning", dim=6, params=10**12, kernel=2**20 - 1)), TASK)


def test_an_input_named_as_the_output_has_no_onnx_model() -> None:
    with pytest.raises(BuildError, match="an input is named logits"):
        as_onnx(torch.nn.Identity(), batch(TWO_IMAGES), names=("left", "logits"))


def test_latency_needs_a_shape() -> None:
    with pytest.raises(MeasurementError, match="shape none"):
        hadnas.latency(torch.nn.Identity(), seconds=0.1)


@pytest.mark.slow
def test_the_code_gives_equal_logits_and_the_onnx_model_has_both_names(tmp_path: Path) -> None:
    import onnxruntime

    moments = {"image": ((0.5,) * 3, (0.2,) * 3)}
    arch = complete(pair(op("cross_attention", dim=6, hidden=4)), TASK)
    folder = hadnas.export(arch, TASK, tmp_path / "out", moments=moments, class_names=list("abcdefg"), onnx=True)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [(one.name, one.type) for one in session.get_inputs()] == [
        ("image", "tensor(float)"),
        ("question", "tensor(int64)"),
    ]
    text = (folder / "README.md").read_text()
    assert "network(torch.zeros(1, 3, 9, 8), torch.zeros(1, 5, dtype=torch.int64))" in text
    assert "| mean of each channel of image | 0.5000, 0.5000, 0.5000 |" in text


def questions(folder: Path) -> DataSpec:
    """Images with a bright half and a question for a side: the answer is whether that side is bright."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {"vocab": np.array(["left", "right", "?"])}
    for split in ("train", "val", "test"):
        bright, side = generator.integers(0, 2, (2, 120))
        images = generator.integers(0, 60, (120, 6, 8), dtype=np.uint8)
        for image, where in zip(images, bright, strict=True):
            image[:, 4 * where : 4 * where + 4] += 150
        words = np.stack([side, np.full(120, 2)], axis=1)
        found |= {f"{split}_images": images, f"{split}_words": words, f"{split}_labels": (bright == side).astype(int)}
    np.savez(folder / "sides.npz", **found)
    return DataSpec(source=str(folder / "sides.npz"), inputs=("images", "words"))


@pytest.mark.slow
def test_a_search_over_fusions_is_trained_mirrored_exported_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient, pyfunc

    from hadnas.exporter.deliver import deliver, register_export

    space = pair(one_of(op("mlb", dim=8, params=1000), op("linear_sum", dim=8, params=1000)))
    recipe = Recipe(epochs=8, batch=30)
    study = Study(name="sides", space=space, data=questions(tmp_path), recipe=recipe, trials=2, sampler="exhaustive")
    home = Home(tmp_path / "home")
    run_study(study, home)
    results = hadnas.open_study("sides", home.path)
    accuracy = {found.arch.node["fusion"]["op"]: found.value for found in results.distinct if found.arch}
    assert accuracy["mlb"] > 0.9 > accuracy["linear_sum"]
    assert results.task().inputs == (("images", (1, 6, 8)), ("words", Tokens(2, 3)))
    uri = register_export(
        results, results.best, deliver(results, results.best, tmp_path / "out", onnx=False, force=False)
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.tracking_uri)
    served = pyfunc.load_model(uri)
    assert [one.name for one in served.metadata.signature.inputs] == ["images", "words"]
    inputs, labels = next(results.data().val.batches(120))
    named = dict(zip(("images", "words"), (one.numpy() for one in inputs), strict=True))
    assert (served.predict(named).argmax(1) == labels.numpy()).mean() == pytest.approx(results.best.value)
    words = named["words"].copy()
    words[7, 1] = 3
    beyond, one_image = {"words": words}, {"images": named["images"][:1]}
    for changed, said in ((one_image, "images 1, words 120"), (beyond, r"words\[7, 1\] is 3; .* 0 to 2")):
        with pytest.raises(ValueError, match=said):
            served.predict({**named, **changed})
    assert MlflowClient(home.tracking_uri).get_model_version("hadnas-sides", "1").run_id
