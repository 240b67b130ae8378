"""The command line: ``actufunc``, or ``python -m actufunc``.

Each command is a private module or package. `system` and `baselines` also serve the benchmarks.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from actufunc import __version__
from actufunc._formats import FORMATS

from ._errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_OPTIONAL = {"rich", "mpmath", "matplotlib", "zarr"}
_BAD_INPUT = 2
_FROM_SIGNAL = 128
_STRIDE = 4093  # prime, so that the low bits vary


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="actufunc",
        allow_abbrev=False,
        description="Activation functions as ufuncs. Without a command: what this machine offers, and how fast and how "
        "accurate each function is on it.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    apply = commands.add_parser(
        "apply",
        allow_abbrev=False,
        help="apply a function or its derivative to a file of any size",
        description="Apply a function, or its derivative as in gelu.grad, to a file of any size, a block at a time. "
        "The ends of the names tell the formats, which may differ: .npy, .npz (all arrays in it, or the --member), "
        ".csv, .tsv, .txt (rows of numbers, read as float64; a heading is kept) and .zarr (if zarr is installed). "
        "Text and .npz go through temporary files in the folder of the output. The output appears when it is complete.",
    )
    apply.add_argument("name", metavar="NAME", help="a function, as 'actufunc list' names them, or its NAME.grad")
    apply.add_argument("input", metavar="INPUT", help="file to read")
    apply.add_argument("-o", "--output", metavar="OUTPUT", required=True, help="file to write")
    apply.add_argument("--member", metavar="NAME", help="the array in a .npz archive or a .zarr group")
    _add_hyperparameters(apply)
    apply.add_argument(
        "--axis",
        metavar="N",
        type=int,
        help="for softmax, logsumexp, glu and their like: the axis, by default the last",
    )
    apply.add_argument(
        "--chunk-mb", metavar="N", type=float, default=64.0, help="memory to use for data, in MB (default: 64)"
    )
    apply.add_argument("--force", action="store_true", help="replace the output if it exists")
    commands.add_parser(
        "list", allow_abbrev=False, help="list all functions", description="List all functions with their formulas."
    )
    plot = commands.add_parser(
        "plot",
        allow_abbrev=False,
        help="draw functions and their derivatives, or gradients through many layers",
        description="Draw functions: each with its first and second derivative in a panel of its own, or how the "
        "gradient fades or explodes through many layers.",
    )
    plot.add_argument("names", metavar="NAME", nargs="*", help="functions, as 'actufunc list' names them")
    plot.add_argument("--all", action="store_true", help="draw the whole catalogue, in small panels")
    plot.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write: .png, .svg or .pdf")
    _add_hyperparameters(plot)
    plot.add_argument(
        "--depth", metavar="N", type=int, help="draw the norm of the gradient through N fully connected layers"
    )
    plot.add_argument("--force", action="store_true", help="replace the output if it exists")
    _add_verify(commands)
    return parser


def _add_verify(commands: argparse._SubParsersAction[_Parser]) -> None:
    verify = commands.add_parser(
        "verify",
        allow_abbrev=False,
        help="measure errors of values and gradients over all inputs",
        description="Measure how right values and gradients are: all inputs of float16 and bfloat16, all or every so "
        "many of float32, a sample of float64; and whether range, monotonicity, symmetry and special values are those "
        "that the docstring states. The exit status is 0 if errors are below 1 ulp (in float64 below 1.2, of gated "
        "units 1.5), half types are rounded correctly and all statements hold, else 1.",
    )
    add = verify.add_argument
    add("names", metavar="NAME", nargs="*", help="functions, as 'actufunc list' names them; all by default")
    inputs = verify.add_mutually_exclusive_group()
    inputs.add_argument(
        "--exhaustive",
        dest="stride",
        action="store_const",
        const=1,
        default=_STRIDE,
        help="try all 2^32 inputs of float32",
    )
    inputs.add_argument(
        "--stride",
        metavar="N",
        type=int,
        default=_STRIDE,
        help=f"try every Nth bit pattern of float32 (default: {_STRIDE}, a million inputs)",
    )
    add("--points", metavar="N", type=int, default=2000, help="size of the samples of float64 (default: 2000)")
    add(
        "--dtype",
        action="append",
        default=[],
        choices=tuple(FORMATS),
        help="measure this one only; may be repeated",
    )
    add("--jobs", metavar="N", type=int, help="processes that share the work (default: one per processor)")
    add("--json", metavar="FILE", help="file to keep the results in, from which the same command goes on")
    add("--markdown", metavar="FILE", help="file to write a table to")


def _add_hyperparameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a hyperparameter, such as negative_slope=0.2 or approximate=tanh; may be repeated",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the name of the program, by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 if a verification fails, 2 for bad input, or 128 plus the number of the signal that ended the
        run (130 for Ctrl-C).
    """
    arguments = _parser().parse_args(argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except CommandError as error:
        return _fail(str(error))
    except KeyboardInterrupt as interrupt:
        _fail("interrupted")
        return _FROM_SIGNAL + int(getattr(interrupt, "signal", signal.SIGINT))
    except BrokenPipeError:
        # The reader, `head` perhaps, has ended. Python would raise again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        # The message names the package, not an extra of ours, which is no help to a checkout or a wheel file.
        package = (error.name or "").partition(".")[0]
        if package not in _OPTIONAL:
            raise
        return _fail(f"this needs {package}: pip install {package}")
    return status


def _run(arguments: argparse.Namespace) -> int:
    # Commands are imported when they are called, so that --help and --version are fast.
    if arguments.command == "apply":
        from ._apply import command as apply  # noqa: PLC0415

        return apply.run(arguments)
    if arguments.command == "plot":
        from ._plot import command as plot  # noqa: PLC0415

        return plot.run(arguments)
    if arguments.command == "verify":
        from ._verify import command as verify  # noqa: PLC0415

        return verify.run(arguments)
    if arguments.command == "list":
        from . import _list  # noqa: PLC0415

        return _list.run()
    from . import _report  # noqa: PLC0415

    return _report.run()


def _fail(message: str) -> int:
    sys.stderr.write(f"actufunc: {message}\n")
    return _BAD_INPUT
