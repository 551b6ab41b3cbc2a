"""In which precision a served model computes. Knows no method.

What is converted are the large linear layers of models that read text, in which nearly all of their time goes; inputs
and outputs stay in single precision, and so does all else: norms, softmax, recurrent states, small heads. Models that
read features and images stay wholly as they were trained: they are small, and their numbers are themselves the answer.

Legend: I inputs of a layer, O its outputs, M rows of its input.
"""

import torch
from torch import Tensor, nn

from app.contract.inference import Precision

# Torch has no public names for these: what its compiler makes of a model calls the first two, too.
_arranged = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001
_linear = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001
_int8_product = torch._weight_int8pack_mm  # noqa: SLF001
#: Without them a layer in bfloat16 works all the same, and slowly.
HAS_BFLOAT16_KERNELS: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001

#: From so many weights on, a layer is converted. Below, the call costs more than what it saves: a layer of 128 x 128
#: takes 9 us for 16 rows in single precision and 37 us in bfloat16; one of 384 x 384 takes 70 us and 45 us.
MIN_WEIGHTS = 1 << 16
#: Up to so many rows int8 is multiplied as it is. The cost of that grows with every row, that of bfloat16 does not: a
#: layer of 384 x 1152 takes 24 us for a row, 47 us for four and 180 us for sixteen, and 51 us to 53 us in bfloat16.
MAX_INT8_ROWS = 4


class Bfloat16Linear(nn.Module):
    """Weights in bfloat16, arranged once for oneDNN's kernels. A row's result is the same whatever other rows are in
    the batch, to the last bit (float32's kernels differ there), so generations are, too."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().bfloat16()
        self._weight = _arranged(weight) if HAS_BFLOAT16_KERNELS else weight
        self._bias = None if layer.bias is None else layer.bias.detach().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]"""
        out: Tensor
        if HAS_BFLOAT16_KERNELS:
            out = _linear(x.bfloat16(), self._weight, self._bias, "none", [], "")
        else:
            out = nn.functional.linear(x.bfloat16(), self._weight, self._bias)
        return out.type_as(x)


class Int8Linear(nn.Module):
    """Weights as whole numbers of -127 to 127 times a scale for each output; activations in bfloat16. For many rows the
    same numbers, which bfloat16 holds exactly, stand beside in bfloat16."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self._scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(weight.dtype).tiny).bfloat16()  # [O]
        self._weight = (weight / self._scale[:, None]).round().clamp(-127, 127).to(torch.int8)  # [O, I]
        self._bias = None if layer.bias is None else layer.bias.detach()
        whole = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        whole.weight = nn.Parameter(self._weight.bfloat16(), requires_grad=False)
        self._for_many = Bfloat16Linear(whole)

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]"""
        out: Tensor
        rows = x.flatten(0, -2)  # [M, I]
        if len(rows) > MAX_INT8_ROWS:
            out = self._for_many(rows) * self._scale
        else:
            out = _int8_product(rows.bfloat16(), self._weight, self._scale).type_as(x)
        return (out if self._bias is None else out + self._bias).view(*x.shape[:-1], -1)


def convert(module: nn.Module, precision: Precision, min_weights: int = MIN_WEIGHTS) -> None:
    """Replace the large linear layers, wherever they stand in the module."""
    if precision == "float32":
        return
    for name, layer in list(module.named_modules()):
        if type(layer) is nn.Linear and layer.weight.numel() >= min_weights:
            above, _, last = name.rpartition(".")
            setattr(module.get_submodule(above), last, _CONVERTED[precision](layer))


def cache_type(module: nn.Module) -> torch.dtype:
    """What keys and values are kept as: reading them takes as long as reading the weights, once there are enough."""
    return torch.float32 if precision_of(module) == "float32" else torch.bfloat16


def precision_of(module: nn.Module) -> Precision:
    for layer in module.modules():
        for precision, converted in _CONVERTED.items():
            if isinstance(layer, converted):
                return precision
    return "float32"


def fastest_precision() -> Precision:
    """bfloat16 where the processor multiplies it in hardware: there a layer of MIN_WEIGHTS or more takes a third to two
    thirds of float32's time from some tens of rows on, and for a single row up to 40 us more. int8 is faster for a lone
    text alone, and by far slower for sixteen: a choice, which is not taken by itself."""
    in_hardware = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    return "bfloat16" if in_hardware and HAS_BFLOAT16_KERNELS else "float32"


_CONVERTED: dict[Precision, type[Bfloat16Linear | Int8Linear]] = {"bfloat16": Bfloat16Linear, "int8": Int8Linear}
