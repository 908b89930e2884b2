"""Runs Metal kernels on the CPU: the text that MLX generates, compiled as C++.

A threadgroup is a set of fibres, which run in random order from one barrier to the next. A kernel
that lacks a barrier gives wrong results, on every run with most orders.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

COMPILER = shutil.which("g++") or shutil.which("clang++")
NO_COMPILER = "needs a C++ compiler (g++ or clang++), to run the text of Metal kernels"
BARRIER = "threadgroup_barrier(metal::mem_flags::mem_threadgroup)"

_SHIM = """
#define _XOPEN_SOURCE 700
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <ucontext.h>
#include <vector>
#define kernel
#define device
#define constant
#define threadgroup static
using uint = unsigned;
using float16_t = _Float16;
struct uint3 { uint x, y, z; };
namespace metal {
enum class mem_flags { mem_threadgroup };
namespace precise { using std::exp; using std::tanh; }
}

struct Fibre {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done;
};
static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static size_t current;
static void (*body)(uint3, uint3, void**);
static uint3 group_position;
static void** group_buffers;
static const size_t STACK = 1 << 15;

static void threadgroup_barrier(metal::mem_flags) {
  swapcontext(&fibres[current].context, &scheduler);
}

static void run_fibre() {
  body(uint3{uint(current), 0, 0}, group_position, group_buffers);
  fibres[current].done = true;
  swapcontext(&fibres[current].context, &scheduler);
}

static void run_group(uint threads, uint group, std::mt19937& random) {
  group_position = uint3{group, 0, 0};
  while (fibres.size() < threads) {
    fibres.push_back({{}, std::unique_ptr<char[]>(new char[STACK]), false});
  }
  std::vector<size_t> order(threads);
  for (size_t n = 0; n < threads; ++n) {
    order[n] = n;
    Fibre& fibre = fibres[n];
    fibre.done = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, run_fibre, 0);
  }
  for (bool running = true; running;) {
    for (size_t n = threads - 1; n > 0; --n) std::swap(order[n], order[random() % (n + 1)]);
    running = false;
    for (size_t n : order) {
      if (fibres[n].done) continue;
      current = n;
      swapcontext(&scheduler, &fibres[n].context);
      running = running || !fibres[n].done;
    }
  }
}

static void run(void (*function)(uint3, uint3, void**), void** buffers, uint groups,
                uint threads, uint seed) {
  std::mt19937 random(seed);
  body = function;
  group_buffers = buffers;
  for (uint group = 0; group < groups; ++group) run_group(threads, group, random);
}
"""

Array = NDArray[Any]


@dataclass(frozen=True)
class KernelText:
    """A kernel as MLX compiles it for given inputs.

    Attributes
    ----------
    name
        Name of the function.
    source
        Header, template, signature and body.
    grid, threadgroup
        Threads in all, and per threadgroup, on the first axis.
    output_shape, output_type
        Shape and type of its only output.
    """

    name: str
    source: str
    grid: int
    threadgroup: int
    output_shape: tuple[int, ...]
    output_type: str

    def without_barrier(self, number: int) -> KernelText:
        """Return the kernel without one of the `BARRIER` macros in its body, counted from 0."""
        parts = self.source.split("BARRIER;")
        assert 0 <= number < len(parts) - 1
        source = "BARRIER;".join(parts[: number + 1]) + ";" + "BARRIER;".join(parts[number + 1 :])
        name = f"{self.name}_{number}"
        return replace(self, name=name, source=source.replace(self.name, name))


def kernel_text(launch: Callable[..., mx.array], *inputs: mx.array) -> KernelText:
    """Return the kernel that `launch` runs for these inputs, without running it."""
    mx.eval(*inputs)
    nodes: list[Any] = []
    mx.export_function(nodes.append, launch, *inputs)
    (node,) = [node for node in nodes if node.get("name") == "CustomKernel"]
    name, source, grid, rows, columns, threads, *_ = node["arguments"]
    assert rows == columns == 1
    ((_, shape, dtype),) = node["outputs"]
    kind = "float16" if dtype == mx.float16 else "float32"
    return KernelText(name, source, grid, threads, tuple(shape), kind)


class CompiledKernels:
    """Kernels in one library.

    Parameters
    ----------
    kernels
        Their texts.
    folder
        Folder for the library.
    """

    def __init__(self, kernels: Sequence[KernelText], folder: Path) -> None:
        assert COMPILER is not None, NO_COMPILER
        source, library = folder / "kernels.cpp", folder / "kernels.so"
        source.write_text(_SHIM + "".join(map(_with_entry, kernels)))
        options = ["-std=c++20", "-O2", "-shared", "-fPIC", "-w"]
        subprocess.run([COMPILER, *options, str(source), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def __call__(self, kernel: KernelText, *inputs: Array, seed: int = 0) -> Array:
        """Run a kernel whose inputs have these values; `seed` sets the order of the threads.

        An input whose shape the kernel reads is followed by its shape, int32.
        """
        output = np.full(kernel.output_shape, np.nan, kernel.output_type)
        arrays = [*map(np.ascontiguousarray, inputs), output]
        buffers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        groups = math.ceil(kernel.grid / kernel.threadgroup)
        entry = getattr(self._library, f"run_{kernel.name}")
        entry(buffers, groups, kernel.threadgroup, seed)
        return output


def _with_entry(kernel: KernelText) -> str:
    """Return the text of a kernel with a C function that runs it."""
    text = re.sub(r"\[\[host_name\(.*?\)\]\] \[\[kernel\]\]", "", kernel.source)
    text = text.replace("[[kernel]] ", "")
    found = re.search(rf"void {re.escape(kernel.name)}\(\n(.*?)\) \{{\n", text, re.DOTALL)
    instance = re.search(rf"decltype\({re.escape(kernel.name)}(<.*?>)\)", text)
    assert found is not None
    arguments = []
    for parameter in found[1].split(",\n"):
        place = re.search(r"\[\[buffer\((\d+)\)\]\]", parameter)
        if place is not None:
            kind = parameter[: place.start()].strip().rpartition(" ")[0]
            arguments.append(f"({kind})buffers[{place[1]}]")
        else:
            arguments.append("thread" if "position_in_threadgroup" in parameter else "group")
    call = f"{kernel.name}{instance[1] if instance else ''}({', '.join(arguments)})"
    return f"""
{text}
static void body_{kernel.name}(uint3 thread, uint3 group, void** buffers) {{ {call}; }}
extern "C" void run_{kernel.name}(void** buffers, uint groups, uint threads, uint seed) {{
  run(body_{kernel.name}, buffers, groups, threads, seed);
}}
"""
