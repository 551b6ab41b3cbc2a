"""Where and how a method computes: device, precision, compilation. Decides the `auto` of each, from measurements.

Weights are always fp32; bf16 means autocast, so it needs no loss scaling and no second copy of the weights.
"""

import math
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import torch

from app.contract.messages import Resolved

Function = TypeVar("Function", bound=Callable[..., Any])

#: By architecture: below, casting costs more than faster products save. bf16 against fp32 on cores with AMX:
#: Transformers 0.7x at 0.1 million parameters, 0.9x at 0.5, 1.4x at 1.3, 2.0x at 12; LSTMs, whose layer oneDNN fuses,
#: 1.5x at 0.07 million and 1.5x to 1.7x up to 5; simple recurrent networks 0.7x at 0.04, 1.2x at 0.7, 1.4x at 2.
#: Not measured, and so not chosen, for other networks.
BF16_MIN_PARAMETERS = {"transformer": 750_000, "lstm": 60_000, "rnn": 750_000}

#: A cold compilation takes about 20 s and saves about 7 % of a step: it pays where the saving is some times that. At
#: the 200 GFLOP/s of two cores these are 17 minutes; on an accelerator steps are shorter, and so is what can be saved.
COMPILE_MIN_FLOPS = {"cpu": 2e14, "cuda": 2e17}
#: Their layers are fused already, and the compiler leaves them as they are.
NOT_COMPILED = frozenset({"lstm", "rnn"})


class CompileChoice(NamedTuple):
    """`reason` is for the user; null where the user chose."""

    compile: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Compute:
    """The defaults suit what is too small to care."""

    device_type: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False

    @classmethod
    def of(cls, resolved: Resolved) -> "Compute":
        return cls(resolved.device, resolved.precision, resolved.compile)

    @property
    def device(self) -> torch.device:
        return torch.device(self.device_type)

    def autocast(self) -> AbstractContextManager[Any]:
        """Entered around a forward pass alone: autocast keeps cast weights until it ends, so no update may fall in."""
        return torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def compiled(self, function: Function) -> Function:
        """The function as `compile` asks for it. Compiled kernels repeat exactly in deterministic mode only."""
        if not self.compile:
            return function
        torch.use_deterministic_algorithms(True)
        return torch.compile(function)  # type: ignore[return-value]


def choose_device(asked: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def choose_precision(
    asked: Literal["auto", "fp32", "bf16"], device: Literal["cpu", "cuda"], architecture: str, num_parameters: int
) -> Literal["fp32", "bf16"]:
    if asked != "auto":
        return asked
    pays = num_parameters >= BF16_MIN_PARAMETERS.get(architecture, math.inf) and _multiplies_bf16(device)
    return "bf16" if pays else "fp32"


def choose_compile(
    asked: bool | Literal["auto"], device: Literal["cpu", "cuda"], architecture: str, flops: float
) -> CompileChoice:
    """`flops`: of the whole job."""
    if asked != "auto":
        return CompileChoice(asked, None)
    least = COMPILE_MIN_FLOPS[device]
    if architecture in NOT_COMPILED:
        return CompileChoice(False, f"Not compiled: the layers of an {architecture} are fused already.")
    if flops < least:
        return CompileChoice(
            False,
            f"Not compiled: that takes its time, and pays from {least:.0e} operations on; the job has {flops:.0e}.",
        )
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return CompileChoice(
            False, "Not compiled, though the job is long enough to gain by it: there is no C++ compiler."
        )
    return CompileChoice(
        True, f"Compiled before the first step: the job has {flops:.0e} operations, and from {least:.0e} on that pays."
    )


def _multiplies_bf16(device: Literal["cpu", "cuda"]) -> bool:
    """Whether the hardware has bf16 products; emulated ones are slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
