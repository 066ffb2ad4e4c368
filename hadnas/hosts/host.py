"""The network around the blocks (`Host`), and an architecture for a task as constructor calls (`Plan`)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timm.models import build_model_with_cfg
from torch import nn

from hadnas.arch.diagram import Box, values_text
from hadnas.arch.node import Arch
from hadnas.arch.read import Call, Node, Place, read_host
from hadnas.arch.task import Task
from hadnas.errors import BuildError, HadnasError, SpecError, first_line
from hadnas.hosts.expression import calls, expression
from hadnas.inputs import AllMoments, InputShape

ENTRY = "build_model"
"""The function of an exported file that makes the network."""


@dataclass(frozen=True)
class Plan:
    """An architecture for a task as a tree of constructor calls; it has classes, so it stays in this process."""

    arch: Arch
    task: Task
    call: Call
    host: "Host"

    @property
    def name(self) -> str:
        """The name of the network in timm: `hadnas_` and the fingerprint."""
        return f"hadnas_{self.arch.fingerprint}"

    @property
    def classes(self) -> frozenset[Any]:
        """Every class or function that is called."""
        return frozenset(call.cls for call in calls(self.call))


def make_plan(arch: Arch | Node, task: Task) -> Plan:
    """Read an architecture or a draw, once per candidate and process; all later steps take the plan.

    An architecture stays as it is, a draw is completed. Raises SpecError or UnknownName as `complete` does.
    """
    node, call = read_host(arch.node if isinstance(arch, Arch) else arch, task)
    arch = arch if isinstance(arch, Arch) else Arch(node)
    return Plan(arch, task, call, arch.host)


class Host(ABC):
    """The network around the blocks of one op: `@register("host", host=MyHost())` above its module class.

    `read` must be defined. The other methods are for a module class that timm's builder accepts: its constructor has
    `in_chans` and `num_classes`, and exported code registers it with timm.
    """

    @abstractmethod
    def read(self, node: Node, task: Task | None) -> tuple[Node, Call]:
        """The completed node and its call; without a task, checks that need one are left out.

        Raises SpecError or UnknownName with the path, the value found and what is allowed.
        """

    def encoder(self, node: Node, shape: InputShape | None, pool: bool) -> tuple[Node, Call, Place]:
        """As the encoder of one input of a `pair`, of this shape if it is known: node, call, and what reads its map.

        With `pool` its module gives the mean of the map. Raises SpecError; by default a host is none.
        """
        raise SpecError(f"{node['op']} cannot be an encoder; allowed are a pyramid without its head and timm")

    def stages(self, node: Node) -> list[Node]:
        """The stages in order, each with its `blocks`; by default none."""
        return []

    def parts(self, plan: Plan) -> list[Call]:
        """The calls of the modules that, one after another, are the network; by default the whole as one.

        A module reads what the one before it returns, one map or several.
        """
        return [plan.call]

    def layers(self, node: Node) -> dict[str, int]:
        """Layers by family of a network without blocks; by default empty: they may be of any family."""
        return {}

    def columns(self, node: Node) -> list[tuple[str, list[Box]]]:
        """Titles and boxes of the diagram, from left to right; by default one box."""
        return [(node["op"], [Box(node["op"], values_text(node))])]

    def part(self, plan: Plan, call: Call) -> nn.Module:
        """The module of one of `parts`, on the meta device."""
        part: nn.Module = instantiate(call, call.op, "meta")
        return part

    def check_start(self, plan: Plan) -> None:
        """Raise StudyError if the weights that a network starts from cannot be loaded; by default it has none."""
        return

    def weights(self, plan: Plan) -> str | None:
        """The name of the weights that the network starts from; by default it has none."""
        return None

    def origins(self, plan: Plan) -> dict[str, str]:
        """Parameter -> that of the parent whose weights it starts from; by default none does."""
        return {}

    def teacher(self, plan: Plan, class_names: Sequence[str]) -> nn.Module:
        """The parent with its weights, trained for the task and these classes. Raises SpecError if it has no such."""
        raise SpecError(f"recipe: distill is not allowed for {plan.name}, which has no parent to learn from")

    def build(
        self, plan: Plan, device: Any = None, dtype: Any = None, *, start: bool = True, **timm_arguments: Any
    ) -> nn.Module:
        """The module, with the weights it starts from if it has any and `start`, else freshly initialised.

        Raises BuildError if a constructor fails, SpecError for other arguments.
        """
        parts = {name: instantiate(value, name, device, dtype) for name, value in plan.call.kwargs.items()}
        try:
            model: nn.Module = build_model_with_cfg(
                plan.call.cls,
                plan.name,
                pretrained=False,
                pretrained_cfg=self.config(plan),
                feature_cfg=self.features(plan),
                **{**parts, **timm_arguments},
                device=device,
                dtype=dtype,
            )
        except HadnasError:
            raise
        except Exception as error:  # as of a user-defined stem or head without an attribute that the host uses
            raise BuildError(f"{plan.call.op} cannot be built: {type(error).__name__}: {first_line(error)}") from error
        return model

    def features(self, plan: Plan) -> dict[str, Any]:
        """timm's settings of `features_only`; by default the outputs of all stages."""
        return {"out_indices": tuple(range(len(self.stages(plan.arch.node)))), "flatten_sequential": True}

    def config(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """The default configuration that timm keeps with a network.

        `moments` normalise its image; `class_names` are in the order of the logits, () if not known.
        """
        channels, height, width = plan.task.shape
        mean, std = moments if isinstance(moments, tuple) else ((0.5,) * channels, (0.5,) * channels)
        return {
            "architecture": plan.name,
            "num_classes": plan.task.outputs,
            "input_size": (channels, height, width),
            "pool_size": None,
            "fixed_input_size": False,
            # as hadnas reads images: none of the border is cut off, and folders are resized bilinearly
            "crop_pct": 1.0,
            "crop_mode": "center",
            "interpolation": "bilinear",
            "first_conv": None,
            "classifier": None,
            "mean": mean,
            "std": std,
            **({"label_names": tuple(class_names)} if class_names else {}),
        }

    def source(self, plan: Plan, moments: AllMoments | None = None, class_names: Sequence[str] = ()) -> str:
        """Code that defines ENTRY, below the classes of the plan; it may use Any, Path and timm's builder."""
        config, kwargs = self.config(plan, moments, class_names), dict(plan.call.kwargs)
        cls = plan.call.cls.__name__
        kwargs.pop("in_chans")
        parts = "\n".join(f"        {key}={expression(value)}," for key, value in kwargs.items() if _is_part(value))
        plain = {key: value for key, value in kwargs.items() if not _is_part(value)}
        note = f"# {normalisation_text(moments, '`mean`', '`std`')}"
        return f"\n{note}\n{self.registration(plan, cls, config, parts, plain)}"

    def registration(
        self, plan: Plan, make: str, config: Mapping[str, Any], parts: str, plain: Mapping[str, Any]
    ) -> str:
        """Code that registers a network with timm, and defines ENTRY.

        make    the class or function that makes it
        config  that of timm
        parts   lines of arguments of `make`, which have modules; `plain`, others
        """
        settings = ", ".join(f"{key!r}: {value!r}" for key, value in plain.items())
        known = ", ".join(f"{key!r}: {value!r}" for key, value in config.items())
        features = ", ".join(f"{key!r}: {value!r}" for key, value in self.features(plan).items())
        kind = make if make[0].isupper() else "nn.Module"
        return f'''# timm reads this when the network is registered.
default_cfgs = {{{plan.name!r}: {{{known}, "file": str(Path(__file__).with_name("model.safetensors"))}}}}


@register_model
def {plan.name}(
    pretrained: bool = False,
    *,
    in_chans: int = {plan.task.shape[0]},
    device: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> {kind}:
    """The network, for `timm.create_model` by this name; `pretrained` loads model.safetensors beside this file."""
    dd = {{"device": device, "dtype": dtype}}
    return build_model_with_cfg(
        {make},
        {plan.name!r},
        pretrained,
        feature_cfg={{{features}}},
{parts}
        in_chans=in_chans,
        **{{{settings}, **kwargs}},
        **dd,
    )


{ENTRY} = {plan.name}
'''


def _is_part(value: Any) -> bool:
    return isinstance(value, Call) or (isinstance(value, list) and any(isinstance(item, Call) for item in value))


def instantiate(value: Any, path: str, device: Any = None, dtype: Any = None) -> Any:
    """Run a tree of calls, children first; plain values stay. Raises BuildError with the path of the failing call."""
    if isinstance(value, list):
        return [instantiate(item, f"{path}.{index}", device, dtype) for index, item in enumerate(value)]
    if not isinstance(value, Call):
        return value
    kwargs = {name: instantiate(item, f"{path}.{name}", device, dtype) for name, item in value.kwargs.items()}
    try:
        return value.cls(*value.args, **kwargs, device=device, dtype=dtype)
    except HadnasError:
        raise
    except Exception as error:
        raise BuildError(f"{path}: {value.op} cannot be built: {type(error).__name__}: {first_line(error)}") from error


def normalisation_text(moments: AllMoments | None, mean: str, std: str) -> str:
    """A sentence on the normalisation of images, with the names that code has for mean and standard deviation."""
    if isinstance(moments, Mapping):
        known = 'pixels scaled to 0..1, vectors and maps, minus `mean`, over `std` of `pretrained_cfg["inputs"]`'
        return (
            f"Inputs are {known}; masks and tokens as they are."
            if moments
            else "The normalisation of inputs is not known."
        )
    if moments is None:
        return f"The normalisation of images is not known: {mean} and {std} are placeholders."
    return f"Images are pixels scaled to 0..1, minus {mean}, over {std}."
