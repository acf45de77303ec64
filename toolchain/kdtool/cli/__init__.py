"""The command line: one module a command, a lazy table of them, and the exit code of each error."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from kdtool import __version__
from kdtool.core.errors import ElsewhereError, KdtoolError, SetupError
from kdtool.machine.launch import process_count, process_rank

# name → (module, first line of its help); the help stands here so that `kdtool --help` imports no command
COMMANDS: dict[str, tuple[str, str]] = {
    "init": (
        "kdtool.cli.init",
        "Look at photographs and write a recipe for them, with a reason beside most lines.",
    ),
    "run": ("kdtool.cli.run", "From photographs to a proven small model: every stage."),
    "teach": ("kdtool.cli.teach", "Fine-tune the teacher."),
    "distill": ("kdtool.cli.distill", "Distill the student from the teacher."),
    "export": ("kdtool.cli.export", "Export the trained networks, parity proven."),
    "quantize": (
        "kdtool.cli.quantize",
        "Quantize exported models, or any ONNX classifier, to INT8, accuracy guarded.",
    ),
    "bench": ("kdtool.cli.bench", "Measure accuracy, compute and latency, and judge the claim."),
    "compare": ("kdtool.cli.compare", "Train recipes against one another and say which helps here."),
    "bundle": ("kdtool.cli.bundle", "Write what an app or a page needs: models, labels, snippets, proof."),
    "verify": ("kdtool.cli.verify", "Replay the golden images of a bundle on this machine."),
    "serve": ("kdtool.cli.serve", "Give out the page of a bundle, on this machine alone."),
    "report": ("kdtool.cli.report", "Write the report page of a run."),
    "predict": ("kdtool.cli.predict", "Classify photographs with an exported model."),
    "recipes": ("kdtool.cli.recipes", "List the recipes, or show one."),
    "data": ("kdtool.cli.data", "Look at the photographs before training."),
    "doctor": ("kdtool.cli.doctor", "Examine the installation, this machine and a run."),
}


TOGETHER = ("run", "teach", "distill")  # what several processes can do


class LazyGroup(click.Group):
    """Imports a command's module when the command is used, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's)
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        if args and args[0] in COMMANDS and args[0] not in TOGETHER and process_count() > 1:
            raise SetupError(
                f"kdtool {args[0]} was started as one of {process_count()} processes; allowed is one. "
                f"Several can: {', '.join(TOGETHER)}.",
                "Start it without torchrun or accelerate launch.",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kdtool")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """From a folder of photographs to a small, proven image classifier.

    Start with: kdtool run PHOTOGRAPHS. Without photographs it runs on embedded digits.
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `kdtool` command; exits with the code of `kdtool.core.errors`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed on the way out
    try:
        sys.exit(cli.main(arguments, prog_name="kdtool", standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) went away
        sys.exit(0)
    except Exception as error:
        sys.exit(_explain(error, debug))


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's signature)
    click.echo("Stopped.", err=True)
    sys.exit(128 + number)


def _explain(error: Exception, debug: bool) -> int:
    """Print an error as a user should see it; return the exit code."""
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ElsewhereError):
        return error.exit_code  # the first process says what is wrong
    if process_count() > 1:
        click.echo(f"Process {process_rank()} of {process_count()} (counted from 0):", err=True)
    if isinstance(error, KdtoolError):
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.message}", err=True)
        if error.hint:
            click.echo(f"{click.style('Next:', fg='green', bold=True)} {error.hint}", err=True)
        return error.exit_code
    if process_count() > 1 and isinstance(error, RuntimeError) and _speaks_of_peers(error):
        click.echo("Error: another process of this training is gone; see what that one said.", err=True)
        click.echo("Next: the same command goes on from the last checkpoint.", err=True)
        return 5
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("kdtool"):
        from kdtool.core.errors import missing_extra

        return _explain(missing_extra(error.name, "This command"), debug=False)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_of_memory(error)):
        click.echo("Error: out of memory.", err=True)
        click.echo(
            "Next: free some, or in a new --out a smaller batch (--set teacher.batch_size=8 --set "
            "student.batch_size=8) or smaller images (--set data.size=128)",
            err=True,
        )
        return 5
    if isinstance(error, OSError):
        click.echo(f"Error: {error.filename or 'system'}: {error.strerror or error}.", err=True)
        click.echo("Next: see that it is there and may be read and written; kdtool doctor RUN", err=True)
        return 5
    click.echo(
        f"Error: kdtool failed ({type(error).__name__}: {error}). This is a defect of kdtool.", err=True
    )
    click.echo("Next: run the same command with --debug and report what it prints.", err=True)
    return 1


def _speaks_of_peers(error: RuntimeError) -> bool:
    """Whether an error is the communication's: gloo and NCCL raise RuntimeError with a text of their own."""
    return any(word in str(error).lower() for word in ("gloo", "nccl", "connection", "peer"))


def _is_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: several processes do not halve their batch, and labelling has none."""
    from kdtool.train.loop.memory import out_of_memory

    return "memory" in str(error) and out_of_memory(error)
