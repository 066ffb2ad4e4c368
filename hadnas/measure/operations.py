"""What one ATen operation costs: the table behind `hadnas.measure.cost`.

Conventions, for an operation that writes `n` elements (a batch of one, evaluation mode):

    convolution, linear, matrix product   MACs: n times the length of the contraction; a fused bias is free
    uncontracted product (length 1)       not MACs: n products if both factors are activations, else n element-wise;
                                          a convolution or linear layer with one weight per output stays n MACs
    attention, fused or not               MACs of q k^T and of the product with v; the scaling of q, and per score a
                                          softmax and the sum with a mask, if there is one
    sum, difference, quotient, activation function (also one with a product inside: silu, gelu, hardswish)      n
    product of two activations            n, all of them products; x^2 is x * x and x^3 is x * x * x
    product with a parameter, a buffer, a constant or a 0-dimensional tensor                        n, no products
    glu, addcmul, lerp                    as written out: 2 n, 2 n, 3 n, with n products each
    softmax                               5 n (maximum, difference, exponential, sum, quotient)
    batch normalisation                   2 n (in evaluation: one scale and one shift)
    layer, group, instance normalisation  5 n (mean, difference, square, mean, scale), and 1 n each for weight and bias
    root mean square normalisation        3 n, and 1 n for the weight
    pooling                               n times the window;  interpolation: n times the points it mixes
    Fourier transform                     5 n log2(length), half of it for a real one
    moving data (views, copies, concatenation, padding, indexing, casts)                                         0
    anything else, reductions among them  the elements of the largest tensor read or written
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

aten = torch.ops.aten


class Work(NamedTuple):
    """Arithmetic of one operation; `elementwise` contains `products`."""

    macs: int = 0
    elementwise: int = 0
    products: int = 0


IsActivation = Callable[[Any], bool]
Rule = Callable[[Sequence[Any], dict[str, Any], Any, IsActivation], Work]
NOTHING = Work()


def _contraction(written: int, length: int, left: Any, right: Any, activation: IsActivation, added: int = 0) -> Work:
    if length > 1:
        return Work(macs=written * length, elementwise=added)
    if activation(left) and activation(right):
        return Work(elementwise=written + added, products=written)
    return Work(elementwise=written + added)


def _convolution(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    weight = args[1]
    length = math.prod(weight.shape[1:])
    if length > 1 or not activation(weight):
        return Work(macs=out.numel() * length)
    return _contraction(out.numel(), length, args[0], weight, activation)


def _transposed(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return Work(macs=args[0].numel() * math.prod(args[1].shape[1:]))


def _any_convolution(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return (_transposed if args[6] else _convolution)(args, kwargs, out, activation)


def _linear(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    if not activation(args[1]):
        return Work(macs=out.numel() * int(args[0].shape[-1]))
    return _contraction(out.numel(), int(args[0].shape[-1]), args[0], args[1], activation)


def _matrix(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _contraction(out.numel(), int(args[0].shape[-1]), args[0], args[1], activation)


def _added_matrix(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _contraction(
        out.numel(), int(args[1].shape[-1]), args[1], args[2], activation, _added(args[0], out, activation)
    )


def _added_batch(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    length = int(args[1].shape[0] * args[1].shape[2])
    return _contraction(out.numel(), length, args[1], args[2], activation, _added(args[0], out, activation))


def _added(first: Tensor, out: Tensor, activation: IsActivation) -> int:
    """What the sum with the first argument costs: a bias is free, an activation or a mask is not."""
    bias = not activation(first) and (out.dim() < 2 or first.dim() < 2 or first.shape[-2] == 1)
    return 0 if bias else out.numel()


def _vector(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _contraction(out.numel(), int(args[0].shape[kwargs.get("dim", -1)]), args[0], args[1], activation)


def _bilinear(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    left, right = int(args[0].shape[-1]), int(args[1].shape[-1])
    return Work(macs=out.numel() * (left * right + right))


def _attention(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    query, key, value = args[:3]
    written = out[0] if isinstance(out, (tuple, list)) else out  # the query may have been broadcast
    scores = math.prod(written.shape[:-1]) * int(key.shape[-2])
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
    causal = kwargs.get("is_causal", args[5] if len(args) > 5 else False)
    masked = isinstance(mask, Tensor) or causal is True
    elementwise = query.numel() + scores * (5 + masked)
    return Work(macs=scores * int(query.shape[-1] + value.shape[-1]), elementwise=elementwise)


def _product(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    return Work(elementwise=n, products=n if activation(args[0]) and activation(args[1]) else 0)


def _addcmul(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    return Work(elementwise=2 * n, products=n if activation(args[1]) and activation(args[2]) else 0)


def _lerp(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    ends = activation(args[0]) or activation(args[1])
    return Work(elementwise=3 * n, products=n if ends and activation(args[2]) else 0)


def _glu(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    return Work(elementwise=2 * n, products=n if activation(args[0]) else 0)


def _power(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    if not isinstance(args[1], Tensor) and args[1] in (2, 3):
        times = int(args[1]) - 1
        return Work(elementwise=times * n, products=times * n if activation(args[0]) else 0)
    return Work(elementwise=n)


def _product_along(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = args[0].numel() - out.numel()
    return Work(elementwise=n, products=n if activation(args[0]) else 0)


def _cumulative_product(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel() - out.numel() // max(1, int(out.shape[args[1]])) if out.dim() else 0
    return Work(elementwise=n, products=n if activation(args[0]) else 0)


def _cross(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    return Work(elementwise=3 * n, products=2 * n if activation(args[0]) and activation(args[1]) else 0)


def _per_element(times: int) -> Rule:
    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
        written = out[0] if isinstance(out, (tuple, list)) else out
        return Work(elementwise=times * written.numel())

    return rule


def _affine_norm(times: int, first: int) -> Rule:
    """A normalisation whose weight, and bias if it can have one, are the arguments from `first` on."""

    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
        written = out[0] if isinstance(out, (tuple, list)) else out
        affine = sum(isinstance(a, Tensor) for a in args[first : first + 2])
        return Work(elementwise=(times + affine) * written.numel())

    return rule


def _pooling(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    written = out[0] if isinstance(out, (tuple, list)) else out
    sides = written.dim() - 2 if written.dim() > 2 else written.dim() - 1
    kernel = args[1]
    window = math.prod(kernel) if len(kernel) > 1 else int(kernel[0]) ** sides
    return Work(elementwise=written.numel() * int(window))


def _fourier(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    real = not args[0].is_complex() or not out.is_complex()
    grid = args[0] if not args[0].is_complex() else out
    length = math.prod(int(grid.shape[d]) for d in args[1])
    return Work(elementwise=int((2.5 if real else 5) * grid.numel() * math.log2(max(2, length))))


def _moved(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    return NOTHING


def filled(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of what takes the shape of a tensor and none of its values: free, like `zeros`, and no activation."""
    return NOTHING


def largest(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of every operation without its own: as many as the largest tensor read or written has elements."""
    return Work(elementwise=max((t.numel() for t in (*tensors(args), *tensors((out,)))), default=0))


KINDS = ("convolution", "grouped_convolution", "matrix_product", "other")


def kind(rule: Rule, args: Sequence[Any], out: Any, work: Work) -> str:
    """Which of KINDS an operation is; one without MACs is `other`, an uncontracted product among them."""
    if not work.macs:
        return "other"
    if rule not in (_convolution, _transposed, _any_convolution):
        return "matrix_product"
    image, weight = args[:2]
    channels = 1 - weight.dim()
    grouped = weight.shape[0] * weight.shape[1] < image.shape[channels] * out.shape[channels]
    return "grouped_convolution" if grouped else "convolution"


def tensors(values: Any) -> list[Tensor]:
    """The tensors among arguments or results, lists looked into."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(v for v in value if isinstance(v, Tensor))
    return found


_NAMED: list[tuple[str, Rule]] = [
    ("conv1d conv2d conv3d", _convolution),
    ("conv_transpose1d conv_transpose2d conv_transpose3d", _transposed),
    ("convolution _convolution", _any_convolution),
    ("linear", _linear),
    ("mm bmm mv dot vdot", _matrix),
    ("linalg_vecdot", _vector),
    ("addmm addmm_ baddbmm baddbmm_ addmv addmv_", _added_matrix),
    ("addbmm addbmm_", _added_batch),
    ("bilinear", _bilinear),
    (
        "scaled_dot_product_attention _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention",
        _attention,
    ),
    ("_scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_for_cpu", _attention),
    ("mul mul_", _product),
    ("addcmul addcmul_ addr addr_", _addcmul),
    ("lerp lerp_", _lerp),
    ("glu", _glu),
    ("pow pow_", _power),
    ("prod", _product_along),
    ("cumprod cumprod_", _cumulative_product),
    ("linalg_cross", _cross),
    ("softmax _softmax log_softmax _log_softmax", _per_element(5)),
    ("addcdiv addcdiv_", _per_element(2)),
    ("batch_norm native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm", _per_element(2)),
    ("layer_norm native_layer_norm group_norm", _affine_norm(5, 2)),
    ("instance_norm", _affine_norm(5, 1)),
    ("rms_norm", _affine_norm(3, 2)),
    ("avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d", _pooling),
    ("max_pool2d_with_indices max_pool3d_with_indices", _pooling),
    ("upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler_2d", _per_element(4)),
    ("upsample_bicubic2d _upsample_bicubic2d_aa", _per_element(16)),
    ("_fft_r2c _fft_c2c _fft_c2r", _fourier),
    ("clone copy_ _to_copy cat stack repeat roll flip rot90 constant_pad_nd reflection_pad1d", _moved),
    ("reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d", _moved),
    ("index index_select gather scatter scatter_ index_put index_put_ index_copy index_copy_ slice_scatter", _moved),
    ("select_scatter take embedding tril triu tril_ triu_ fill_ zero_ fill im2col col2im pixel_shuffle", _moved),
    (
        "pixel_unshuffle channel_shuffle native_channel_shuffle unfold_copy upsample_nearest1d upsample_nearest2d",
        _moved,
    ),
    ("upsample_nearest3d _upsample_nearest_exact2d resolve_conj resolve_neg _unsafe_view", _moved),
    ("masked_select repeat_interleave lift_fresh unsafe_split unsafe_split_with_sizes diag_embed", _moved),
    ("empty_like zeros_like ones_like full_like rand_like randn_like randint_like", filled),
    ("new_empty new_empty_strided new_zeros new_ones new_full", filled),
]

RULES: dict[Any, Rule] = {
    getattr(aten, name): rule for names, rule in _NAMED for name in names.split() if hasattr(aten, name)
}
