"""Arrays larger than memory on a local cluster of dask: time, memory, and overhead of a block.

``python benchmarks/dask_cluster.py`` writes an array of random float32 numbers to a zarr store in a temporary folder
(1.3 GB, `--rows`), starts a `distributed.LocalCluster` of one and of two worker processes with one thread and 400 MB
each (`--memory`), and computes functions of the array, from store to store, with dask's progress bar: elementwise, over
the axis that lies in one block, over the one that lies in 64, gated over one whose two parts have different chunks. It
prints the time, the largest resident memory of a worker (of which an idle one takes about half, for the interpreter and
the libraries), and the bytes that the workers read and wrote, as multiples of the array: more than 1 means that blocks
were read twice or moved out of memory by dask. The temporary folder takes twice the size of the array.

Then it computes tiny arrays of ever more blocks, and prints what a block costs where there is nothing to compute,
beside dask's own exponential: the time to make the graph, the time to compute it, and what a task costs the processor
in the process of the scheduler (and the client) and in the workers. The scheduler is one thread, however many workers.

It needs distributed and zarr (``python -m pip install distributed zarr``), and Linux for the memory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster, progress

from actufunc import log_softmax, logsumexp, sigmoid, softmax, swiglu

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = 20_480
BLOCK = 256  # rows
BLOCKS = (64, 256, 1024, 4096)
SMALL_BLOCK = 128  # elements

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "copy": lambda x: x,
    "sigmoid": sigmoid,
    "softmax over rows": lambda x: softmax(x, axis=1),
    "softmax over blocks": lambda x: softmax(x, axis=0),
    "softmax.vjp over blocks": lambda x: softmax.vjp(x, x, axis=0),
    "log_softmax over blocks": lambda x: log_softmax(x, axis=0),
    "logsumexp over blocks": lambda x: logsumexp(x, axis=0),
    "swiglu over rows": lambda x: swiglu(x, axis=1),
    "swiglu over blocks": lambda x: swiglu(x[: -BLOCK // 2], axis=0),  # whose parts have other chunks
}
SMALL: dict[str, Callable[[Any], Any]] = {
    "dask.array.exp": da.exp,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "logsumexp": logsumexp,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_384, help=f"of {COLUMNS} float32 numbers each")
    parser.add_argument("--memory", default="400MB", help="limit of each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--blocks", type=int, nargs="*", default=list(BLOCKS), help="of tiny arrays")
    parser.add_argument("--only", help="functions whose name has this in it")
    parser.add_argument("--directory", help="where the temporary folder is made")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="blocks-", dir=arguments.directory))
    chosen = {name: f for name, f in FUNCTIONS.items() if not arguments.only or arguments.only in name}
    try:
        if chosen and arguments.rows:
            write(folder / "x", arguments.rows)
        for workers in arguments.workers:
            with (
                dask.config.set({"distributed.worker.daemon": True}),
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=arguments.memory,
                    local_directory=str(folder),
                    dashboard_address=":0",
                ) as cluster,
                Client(cluster) as client,
            ):
                if arguments.rows:
                    large(client, folder, chosen, workers, arguments.memory)
                if arguments.blocks:
                    small(client, arguments.blocks, workers)
    finally:
        shutil.rmtree(folder)


def write(path: Path, rows: int) -> None:
    """Write the array block by block."""
    store = zarr.create_array(path, shape=(rows, COLUMNS), chunks=(BLOCK, COLUMNS), dtype="float32", compressors=None)
    generator = np.random.default_rng(0)
    for first in range(0, rows, BLOCK):
        store[first : first + BLOCK] = generator.normal(size=(BLOCK, COLUMNS)).astype("float32") * 4


def empty(path: Path, like: Any) -> Any:
    """Return a store for a result."""
    return zarr.create_array(path, shape=like.shape, chunks=like.chunksize, dtype=like.dtype, compressors=None)


def large(client: Client, folder: Path, functions: dict[str, Any], workers: int, memory: str) -> None:
    """Measure functions of the array, from store to store."""
    x = da.from_zarr(str(folder / "x"))
    print(f"\n{x.nbytes / 1e9:.2f} GB in {x.npartitions} blocks, {workers} worker(s) of {memory}\n", flush=True)
    rows = []
    for name, function in functions.items():
        result = function(x)
        result = result.rechunk((BLOCK, COLUMNS)[-result.ndim :])  # two blocks must not write to one of the store
        before = client.run(start)
        begin = time.perf_counter()
        future = client.compute(da.store(result, empty(folder / "y", result), lock=False, compute=False))
        progress(future, notebook=False)
        future.result()
        seconds = time.perf_counter() - begin
        moved = {
            key: [b - a for a, b in zip(before[key], after, strict=True)] for key, after in client.run(moves).items()
        }
        peak = max(client.run(largest_memory).values())
        read, written = (sum(each[i] for each in moved.values()) / x.nbytes for i in (0, 1))
        rows.append(f"| {name} | {seconds:.1f} | {peak / 1e6:.0f} | {read:.1f} | {written:.1f} |")
        print(file=sys.stderr)
        del future
        shutil.rmtree(folder / "y")
    print("| function | seconds | peak of a worker, MB | read | written |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows), flush=True)


def small(client: Client, numbers: list[int], workers: int) -> None:
    """Measure what a block costs that has nothing in it."""
    print(f"\nOverhead of a block, {workers} worker(s), us; of a task, us of a processor\n")
    print("| function | blocks | tasks | graph | computed | scheduler, per task | workers, per task |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, function in SMALL.items():
        client.compute(function(da.zeros(8 * SMALL_BLOCK, chunks=SMALL_BLOCK))).result()  # compiled
        for blocks in numbers:
            costs = []
            for repeat in range(3):
                x = da.full(blocks * SMALL_BLOCK, float(repeat), chunks=SMALL_BLOCK)  # dask computes nothing twice
                begin = time.perf_counter()
                (result,) = dask.optimize(da.sum(function(x)))
                tasks = len(dict(result.__dask_graph__()))
                made = time.perf_counter()
                before = np.array([time.process_time(), sum(client.run(time.process_time).values())])
                computing = time.perf_counter()
                client.compute(result).result()
                computed = time.perf_counter() - computing
                after = np.array([time.process_time(), sum(client.run(time.process_time).values())])
                costs.append(((made - begin) / blocks, computed / blocks, *(after - before) / tasks))
            figures = " | ".join(f"{1e6 * cost:.0f}" for cost in np.min(costs, axis=0))
            print(f"| {name} | {blocks} | {tasks} | {figures} |", flush=True)


# On workers.


def start() -> list[int]:
    """Forget the largest memory so far; return what has been read and written."""
    import gc  # noqa: PLC0415

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return moves()


def moves() -> list[int]:
    """Return the bytes that this process has read and written."""
    text = Path("/proc/self/io").read_text()
    numbers = dict(line.split(": ") for line in text.splitlines())
    return [int(numbers["rchar"]), int(numbers["wchar"])]


def largest_memory() -> int:
    """Return the largest resident memory of this process, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
