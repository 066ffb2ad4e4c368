"""Which rule an operation is counted by, and which operations are refused: the table behind `hadnas.measure.counter`.

Counted are the operations named here, every ATen operation that torch tags as a function of each element, and those of
other libraries with a formula by `torch.utils.flop_counter.register_flop_formula` (two operations are a MAC). Whatever
else is given a tensor is refused with its name: it may hold weights, and would cost next to nothing.

Whatever hadnas uses of torch that has no public name stands in this file.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode  # only here does torch have it
from torch.utils.flop_counter import flop_registry

from hadnas.errors import MeasurementError
from hadnas.measure import operations as rules
from hadnas.measure.operations import CostRule, IsActivation, Work

aten = torch.ops.aten

VALUE_READERS = {
    aten.item.default,
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.unique_consecutive.default,
    aten._unique2.default,
}
"""Operations whose result depends on values, which tensors on the meta device lack."""

GATES = {
    *(aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel),
    *(aten.gelu, aten.silu, aten.silu_, aten.elu, aten.elu_, aten.mish, aten.mish_, aten.softplus),
    *(aten.hardswish, aten.hardswish_),
}
"""ReLU and its smooth or clipped variants: (nearly) zero for negative inputs, open for positive ones."""


def writes(tensor: Tensor) -> int:
    """How often a tensor was written in place, by autograd's count."""
    return tensor._version


def storage_id(tensor: Tensor) -> int:
    """Identifies a tensor's storage; the public `data_ptr()` is 0 for every tensor on the meta device."""
    return int(tensor.untyped_storage()._cdata)


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` wrapped, which shares its weights, or `module` itself."""
    return getattr(module, "_orig_mod", module)


_NAMED: list[tuple[str, CostRule]] = [
    ("conv1d conv2d conv3d", rules.convolution),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", rules.transposed),
    ("convolution _convolution", rules.any_convolution),
    ("linear", rules.linear),
    ("mm bmm mv dot vdot _int_mm", rules.matrix),
    ("linalg_vecdot", rules.vector),
    ("addmm baddbmm addmv", rules.added_matrix),
    ("addbmm", rules.added_batch),
    ("bilinear", rules.bilinear),
    ("cdist", rules.distances),
    ("affine_grid_generator", rules.affine_grid),
    (
        "scaled_dot_product_attention _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention",
        rules.attention,
    ),
    ("_scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_for_cpu", rules.attention),
    ("mul", rules.product),
    ("addcmul addr", rules.addcmul),
    ("lerp", rules.lerp),
    ("glu", rules.glu),
    ("xlogy special_xlog1py ldexp", rules.written_out(2, 1)),
    ("hypot polar", rules.written_out(4, 2)),
    ("pow", rules.power),
    ("prod", rules.product_along),
    ("cumprod", rules.cumulative_product),
    ("linalg_cross", rules.cross),
    ("softmax _softmax log_softmax _log_softmax _safe_softmax", rules.per_element(5)),
    ("addcdiv", rules.per_element(2)),
    ("batch_norm native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm", rules.per_element(2)),
    ("layer_norm native_layer_norm group_norm", rules.affine_norm(5, 2)),
    ("instance_norm", rules.affine_norm(5, 1)),
    ("rms_norm", rules.affine_norm(3, 2)),
    ("avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d", rules.pooling),
    ("max_pool2d_with_indices max_pool3d_with_indices", rules.pooling),
    ("upsample_linear1d", rules.per_element(2)),
    ("upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler_2d", rules.per_element(4)),
    ("upsample_trilinear3d grid_sampler_3d", rules.per_element(8)),
    ("upsample_bicubic2d _upsample_bicubic2d_aa", rules.per_element(16)),
    ("_fft_r2c _fft_c2c _fft_c2r", rules.fourier),
    # reductions, scans and sorts
    ("sum nansum mean all any amax amin aminmax argmax argmin max min median nanmedian trace", rules.largest),
    ("std std_mean var var_mean norm linalg_vector_norm logsumexp count_nonzero", rules.largest),
    ("cumsum cummax cummin logcumsumexp sort topk kthvalue mode bucketize searchsorted isin", rules.largest),
    ("index_add index_reduce scatter_add scatter_reduce _adaptive_avg_pool2d _adaptive_avg_pool3d", rules.largest),
    ("adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d", rules.largest),
    # functions of each element that torch does not tag as such
    ("_prelu_kernel hardswish rsub floor_divide log_sigmoid_forward masked_fill heaviside", rules.largest),
    ("_weight_norm_interface bernoulli native_dropout rrelu_with_noise", rules.largest),
    ("clone copy_ _to_copy cat stack repeat roll flip rot90 constant_pad_nd reflection_pad1d", rules.moved),
    ("reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d", rules.moved),
    ("index index_select gather scatter index_put index_copy index_fill masked_scatter slice_scatter", rules.moved),
    ("select_scatter diagonal_scatter as_strided_scatter take embedding tril triu fill zero_ im2col", rules.moved),
    ("col2im pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle unfold_copy", rules.moved),
    ("upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d", rules.moved),
    ("_upsample_nearest_exact2d _upsample_nearest_exact3d max_unpool2d max_unpool3d block_diag", rules.moved),
    ("resolve_conj resolve_neg _unsafe_view masked_select repeat_interleave lift_fresh unsafe_split", rules.moved),
    ("unsafe_split_with_sizes diag_embed complex squeeze_ unsqueeze_ t_ transpose_ as_strided_ detach_", rules.moved),
    ("_assert_async", rules.moved),
    ("empty_like zeros_like ones_like full_like rand_like randn_like randint_like", rules.filled),
    ("new_empty new_empty_strided new_zeros new_ones new_full", rules.filled),
]

RULES: dict[str, CostRule] = {f"aten::{name}": rule for names, rule in _NAMED for name in names.split()}
RULES["torchvision::deform_conv2d"] = rules.deformable


@cache
def rule_of(op: Any) -> CostRule | None:
    """The rule of an operation, None for one that moves no data.

    Raises MeasurementError, with its name, for one that cannot be counted.
    """
    name = str(op.name()).partition(".")[0]
    rule = RULES.get(name) or RULES.get(name.removesuffix("_"))  # in place the same
    if rule is not None:
        return rule
    if op.has_kernel_for_dispatch_key("CompositeImplicitAutograd"):
        return rules.composed
    if op.is_view:
        return None
    if any(torch.Tag.pointwise in each.tags for each in _overloads(op)):
        return rules.largest
    if op.overloadpacket in flop_registry:
        return _formula(flop_registry[op.overloadpacket])
    raise MeasurementError(
        f"what {name} costs is not known; allowed are the operations of hadnas.measure.aten, functions of each element "
        "and operations with a formula by torch.utils.flop_counter.register_flop_formula"
    )


def _overloads(op: Any) -> list[Any]:
    """All forms of an operation: only the one that is not in place is tagged, and not for every kind of argument."""
    packets = [op.overloadpacket]
    if op.namespace == "aten":
        packets.append(getattr(torch.ops.aten, op.overloadpacket.__name__.removesuffix("_"), op.overloadpacket))
    return [getattr(packet, name) for packet in packets for name in packet.overloads()]


def _formula(flops: Any) -> CostRule:
    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
        return Work(macs=flops(*args, **kwargs, out_val=out) // 2)

    return rule


KINDS = ("convolution", "grouped_convolution", "matrix_product", "other")


def kind(rule: CostRule, args: Sequence[Any], out: Any, work: Work) -> str:
    """Which of KINDS an operation is; one without MACs is `other`, an uncontracted product among them."""
    if not work.macs:
        return "other"
    if rule not in (rules.convolution, rules.transposed, rules.any_convolution, rules.deformable):
        return "matrix_product"
    image: Tensor = args[0]
    weight: Tensor = args[1]
    channels = 1 - weight.dim()
    grouped = weight.shape[0] * weight.shape[1] < image.shape[channels] * out.shape[channels]
    return "grouped_convolution" if grouped else "convolution"
