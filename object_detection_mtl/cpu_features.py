"""Instruction sets of this machine's CPU, from /proc/cpuinfo."""

from __future__ import annotations

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Sums of four products of 8-bit integers in one instruction, in 32 bits: x86 and Arm.
_INT8_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
_BFLOAT16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16")


def cpu_has(feature: str) -> bool:
    """Return whether /proc/cpuinfo lists a feature; False where there is no such file."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return False
    return any(feature in line.split() for line in lines if line.startswith(("flags", "Features")))


def has_int8_products() -> bool:
    """Return whether the CPU has instructions for products of 8-bit integers (VNNI)."""
    return any(cpu_has(feature) for feature in _INT8_FEATURES)


def has_bfloat16_products() -> bool:
    """Return whether the CPU has instructions for products in bfloat16."""
    return any(cpu_has(feature) for feature in _BFLOAT16_FEATURES)
