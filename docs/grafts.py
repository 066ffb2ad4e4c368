"""Grafts into one network of every family of timm, as a table: which sites it has, and whether all can be replaced.

    python -m docs.grafts                  # writes docs/grafts.md
    python -m docs.grafts resnet18 64      # checks one model at one size

Each network is tried with random weights and images on one thread: with grafts that start exact at every site at once,
and with another module at a site of every kind, trained for a step and written as code that runs without hadnas.
Machine: 2 CPU cores, about 15 minutes.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from hadnas.arch.task import Task
from hadnas.hosts.build import build_seeded
from hadnas.hosts.graft.sites import SITE_KINDS, Site, find_sites
from hadnas.hosts.host import Plan, make_plan
from hadnas.source.module import plan_source
from hadnas.space import op

PAGE = Path(__file__).with_name("grafts.md")
CLASSES = 5
MODELS = {
    "beit_base_patch16_224": 64, "cait_xxs24_224": 64, "caformer_s18": 64, "coat_lite_tiny": 64,
    "coatnet_nano_rw_224": 224, "convit_tiny": 64, "convformer_s18": 64, "convnext_atto": 64, "cspresnet50": 64,
    "darknet53": 64, "davit_tiny": 224, "deit_tiny_distilled_patch16_224": 64, "densenet121": 64, "dla34": 64,
    "dpn68": 64, "edgenext_xx_small": 64, "efficientformer_l1": 224, "efficientnet_b0": 64, "efficientvit_b0": 64,
    "eva02_tiny_patch14_224": 56, "fastvit_t8": 64, "focalnet_tiny_srf": 64, "ghostnet_100": 64, "gmlp_ti16_224": 64,
    "hgnet_tiny": 64, "hrnet_w18_small": 64, "inception_next_atto": 64, "levit_128s": 224, "mambaout_femto": 64,
    "maxvit_nano_rw_256": 256, "mixer_s32_224": 64, "mobilenetv3_small_050": 64, "mobilenetv4_conv_small": 64,
    "mobilevit_xxs": 64, "mobilevitv2_050": 64, "mvitv2_tiny": 224, "nextvit_small": 64, "nfnet_l0": 64,
    "pit_ti_224": 224, "poolformer_s12": 64, "pvt_v2_b0": 64, "rdnet_tiny": 64, "regnety_002": 64, "repvit_m0_9": 64,
    "resmlp_12_224": 64, "resnest14d": 64, "resnet18": 64, "rexnet_100": 64, "sequencer2d_s": 64, "seresnet50": 64,
    "shvit_s1": 64, "starnet_s1": 64, "swiftformer_xs": 64, "swin_tiny_patch4_window7_224": 224,
    "tiny_vit_5m_224": 224, "twins_svt_small": 224, "vgg11": 64, "visformer_tiny": 224, "vit_tiny_patch16_224": 64,
    "volo_d1_224": 224, "vovnet39a": 64, "xception41": 64, "xcit_nano_12_p16_224": 64,
}  # fmt: skip
EXACT = op("input_product"), op("second_order"), op("gate", block=op("se", reduction=2))
OTHER: dict[str, tuple[dict[str, Any], ...]] = {
    "stage": (op("input_product", alpha=0.5),),
    "block": (op("conv_next", kernel=3), op("input_product", alpha=0.5)),
    "mixer": (op("star", expand=1, kernel=3), op("input_product", alpha=0.5)),
    "attention": (op("glu", expand=1), op("input_product", alpha=0.5)),
    "mlp": (op("mlp", expand=1), op("input_product", alpha=0.5)),
    "gate": (op("se", reduction=2), {"op": "identity"}),
    "linear": (op("second_order", rank=2, alpha=0.5),),
    "conv": (op("second_order", rank=2, alpha=0.5),),
    "activation": (op("act", act=None),),
}
"""Kind of a site -> what is tried there, the first that fits."""


@dataclass(frozen=True)
class Row:
    """What was found of a model; a cell that is not "yes" is the reason.

    sites  kind -> number of sites, and the op that stood at one of them, None if none fits
    """

    model: str
    size: int
    sites: dict[str, tuple[int, str | None]]
    exact: str
    trained: str
    code: str

    def __str__(self) -> str:
        cells = [self._cell(kind) for kind in SITE_KINDS]
        return " | ".join(
            ["", f"`{self.model}`", str(self.size), *cells, self.exact, self.trained, self.code, ""]
        ).strip()

    def _cell(self, kind: str) -> str:
        if kind not in self.sites:
            return ""
        number, name = self.sites[kind]
        first = OTHER[kind][0]["op"]
        return f"{number}" if name == first else f"{number} ({name or 'none fits'})"


def checked(model: str, size: int) -> Row:
    """Try the grafts of a model at one size of images."""
    task = Task.image(3, size, size, classes=CLASSES)
    sites = find_sites(model, task.shape).found
    images = torch.randn(2, *task.shape, generator=torch.Generator().manual_seed(1))
    chosen: dict[str, dict[str, Any]] = {}
    names: dict[str, tuple[int, str | None]] = {}
    counts = Counter(site.kind for site in sites.values())
    for kind in [kind for kind in OTHER if counts[kind]]:
        path, node = _place(model, [site for site in sites.values() if site.kind == kind], OTHER[kind], chosen, task)
        names[kind] = counts[kind], None if node is None else node["op"]
        if node is not None:
            chosen[path] = node
    plan = make_plan(op("timm", model=model, sites=chosen), task)
    return Row(
        model, size, names, _tried(_exact, model, sites, task, images), _tried(_trained, plan, images),
        _tried(_code, plan, images),
    )  # fmt: skip


def _tried(check: Any, *arguments: Any) -> str:
    try:
        return str(check(*arguments))
    except Exception as error:  # of any type: it is the finding
        return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}".replace("|", "/")


def _fits(model: str, site: Site, node: dict[str, Any], task: Task) -> bool:
    try:
        make_plan(op("timm", model=model, sites={site.path: node}), task)
    except ValueError:  # SpecError: it cannot stand there
        return False
    return True


def _place(
    model: str, sites: list[Site], nodes: tuple[dict[str, Any], ...], chosen: dict[str, Any], task: Task
) -> tuple[str, dict[str, Any] | None]:
    """The first site outside of those chosen, with the first node that fits there; at worst inside of one."""
    for node in nodes:
        fitting = [site.path for site in sites if _fits(model, site, node, task)]
        free = [p for p in fitting if not any(p.startswith(f"{c}.") or c.startswith(f"{p}.") for c in chosen)]
        if fitting:
            return (free or fitting)[0], node
    return "", None


def _randomised(network: nn.Module) -> nn.Module:
    """The network with nothing at zero, where a change would not be seen."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def _exact(model: str, sites: dict[str, Site], task: Task, images: Tensor) -> str:
    """Whether the logits are those of the parent to the last bit, with grafts at all sites at once that start exact."""
    parent = _randomised(build_seeded(make_plan(op("timm", model=model), task), 0))
    weights = parent.state_dict()
    with torch.no_grad():
        before = parent(images)
        for node in EXACT:
            at = {site.path: node for site in sites.values() if _fits(model, site, node, task)}
            network = build_seeded(make_plan(op("timm", model=model, sites=at), task), 0).eval()
            for key, value in network.state_dict().items():
                if (name := key.replace("parent.", "")) in weights:
                    value.copy_(weights[name])
            if not torch.equal(network(images), before):
                return f"{node['op']} changes the logits"
    return "yes"


def _trained(plan: Plan, images: Tensor) -> str:
    """Whether a step forward and backward reaches a parameter of every graft."""
    network = build_seeded(plan, 0).train()
    out = network(images)
    out = out[0] if isinstance(out, tuple) else out
    out.square().mean().backward()
    return "yes" if out.isfinite().all() else "logits are not finite"


def _code(plan: Plan, images: Tensor) -> str:
    """Whether the written code gives the same keys and, with the weights, the same logits."""
    network = _randomised(build_seeded(plan, 0))
    known: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
    exec(plan_source(plan, {}).replace("@register_model", ""), known)  # timm registers modules only
    written = known["build_model"]()
    if list(written.state_dict()) != list(network.state_dict()):
        return "other keys"
    written.load_state_dict(network.state_dict())
    with torch.no_grad():
        return "yes" if torch.equal(written.eval()(images), network(images)) else "other logits"


def page(rows: list[str], versions: str) -> str:
    """The page of checked models."""
    head = ["model", "size", *SITE_KINDS, "exact start", "trained", "code"]
    table = "\n".join([" | ".join(["", *head, ""]).strip(), "|---" * len(head) + "|", *rows])
    names = {kind: " or ".join(f"`{node['op']}`" for node in nodes) for kind, nodes in OTHER.items()}
    tried = "; ".join(f"{kind}: {several}" for kind, several in names.items())
    return f"""# Grafts by family

<!-- written by `python -m docs.grafts`: run it, do not change this page -->

The sites of one network of every family, by kind (`hadnas sites NAME` lists them); {versions}. What was
tried at a site of each kind, the first that fits: {tried}. In parentheses: another than the first, as no block fits
windows or a mask.

- **exact start**: with `input_product`, then `second_order`, then `gate` at every site at once, the logits are those
  of the parent, to the last bit.
- **trained**: with another module at a site of every kind, forward and backward run.
- **code**: the exported file has the same keys and, with the weights, the same logits, to the last bit.

{table}
"""


def main() -> None:
    """Check every model, or one, and write the page."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print(checked(sys.argv[1], int(sys.argv[2])))
        return
    rows = []
    for model, size in MODELS.items():
        rows.append(str(checked(model, size)))
        print(rows[-1], flush=True)
    PAGE.write_text(page(rows, f"timm {timm.__version__}, torch {torch.__version__}"))


if __name__ == "__main__":
    main()
