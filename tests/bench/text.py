"""Format times, ratios, machines and tables, for the terminal and the pages."""

from __future__ import annotations

import math
from typing import Any

from .machine import processor


def duration(seconds: float) -> str:
    """Return a time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-6)} us"


def _digits(value: float) -> str:
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(decimals, 2)}f}"


def times(ratio: float) -> str:
    return f"{ratio:,.0f} x" if ratio >= 9.95 else f"{ratio:.1f} x" if ratio >= 0.95 else f"{ratio:.2f} x"


def machine_in_words(facts: dict[str, Any]) -> str:
    simd = "AVX-512" if "avx512f" in facts["simd"] else "AVX2" if "avx2" in facts["simd"] else "no AVX2"
    memory = f", {facts['memory_gib']:g} GiB" if facts["memory_gib"] else ""
    model = f" (family {facts['family']}, model {facts['model']})" if facts.get("model") else ""
    return f"{facts['cores']} cores of an {processor(facts)}{model}, {simd}{memory}"


def table(head: list[str], rows: list[list[Any]], left: int = 1) -> str:
    """Return a Markdown table whose first columns are aligned to the left, and the others to the right."""
    align = ["---"] * left + ["--:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, align, *rows])
