"""The command line: one module a command, which parses, calls one library function and prints.

Where a command fills a dataclass, its options are the fields of that, with their documentation and defaults. Slow
libraries are imported inside the commands, so that `clustermass --help` answers at once.
"""

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from clustermocks.io.extras import MissingExtra, naming_extras
from clustermocks.io.version import installed_version
from sbi_clustermass.cli.compare import compare
from sbi_clustermass.cli.demo import demo
from sbi_clustermass.cli.infer import infer
from sbi_clustermass.cli.interruption import leave_interrupted, terminable
from sbi_clustermass.cli.options import FilePath, Flat
from sbi_clustermass.cli.population import population
from sbi_clustermass.cli.posteriors import posteriors
from sbi_clustermass.cli.printing import Printing, leave_broken_pipe
from sbi_clustermass.cli.publish import publish
from sbi_clustermass.cli.report import report
from sbi_clustermass.cli.simulate import simulate
from sbi_clustermass.cli.train import train
from sbi_clustermass.cli.validate import validate
from sbi_clustermass.observations.sanitize import printable

app = App(
    name="clustermass",
    help="Dynamical masses of galaxy clusters from the projected phase space of their galaxies.",
    help_format="markdown",
    help_epilogue=(
        "Exit status: 0 for success; 2 for a mistake of yours, which the message names, or where `infer` finds no mass"
        " at all; 130 after Ctrl-C and 143 after SIGTERM, where the message says how to go on; 141 if the reader of the"
        " output has gone; 1 for an error that nobody foresaw, with a traceback, which we would like to see."
    ),
    suppress_keyboard_interrupt=False,
    version=lambda: installed_version("sbi-clustermass"),
    default_parameter=Parameter(
        negative=(),
        allow_repeating=True,
        name_transform=lambda name: name.replace("_", "-"),
        show_default=lambda value: value or None,
    ),
)

_COMMANDS = (demo, simulate, train, infer, posteriors, population, compare, validate, report, publish)
for place, command in enumerate(_COMMANDS):
    app.command(command, sort_key=place, help_epilogue="")


@app.command(sort_key=len(_COMMANDS))
def completion(
    *,
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
    out: FilePath | None = None,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Install the completion of commands and options for your shell.

    Args:
        shell: Your shell; by default the one from which this is called.
        out: File to write; by default where the shell looks for it.
        printing: How to print.
    """
    from cyclopts.completion import detect_shell
    from cyclopts.completion.detect import ShellDetectionError

    try:
        path = app.install_completion(shell=shell or detect_shell(), output=out)
    except ShellDetectionError as error:
        raise ValueError("your shell could not be recognised.\n  try:    --shell bash, zsh or fish") from error
    printing.wrote(path, text=f"Wrote {path}. Start a new shell to use it.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake gives one message and exit status 2, and so on as the help's last lines say."""
    _wait_asleep()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another encoding may lack a name's letters
    gc.set_threshold(100_000)  # imports make many objects and no garbage: the search for it took a tenth of them
    warnings.formatwarning = lambda message, *_: f"{printable(str(message))}\n"  # the place in the code helps no user
    try:
        with naming_extras(), terminable():
            app(arguments, exit_on_error=False, print_error=False)
    except KeyboardInterrupt as error:
        leave_interrupted(error)
    except BrokenPipeError:
        leave_broken_pipe()
    except (CycloptsError, ValueError, OSError, FloatingPointError, MissingExtra) as error:
        print(printable(f"clustermass: {error}"), file=sys.stderr)
        sys.exit(2)


def _wait_asleep() -> None:
    """Let waiting threads of torch sleep soon, unless the user chose otherwise; must run before torch is loaded.

    By default they spin for 10 ms, long compared with their computations; if other programs run as well, this takes
    the core from the thread that they wait for.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


if __name__ == "__main__":
    main()
