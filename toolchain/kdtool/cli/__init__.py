"""The command line: one module for each command, a table that imports them lazily, and the exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from kdtool import __version__
from kdtool.core.errors import ElsewhereError, KdtoolError, SetupError
from kdtool.core.spelling import Caller, called_from
from kdtool.machine.launch import process_count, process_rank

# name → (module, first line of its help). It is repeated here so that `kdtool --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": (
        "kdtool.cli.init",
        "Write the recipe that was measured best for photographs like these, within a budget of time.",
    ),
    "run": ("kdtool.cli.run", "Run every stage, from photographs to a small, proven model."),
    "probe": (
        "kdtool.cli.probe",
        "Say how good the frozen features of a network are for these photographs.",
    ),
    "teach": ("kdtool.cli.teach", "Fine-tune the teacher."),
    "distill": ("kdtool.cli.distill", "Distill the student from the teacher."),
    "export": (
        "kdtool.cli.export",
        "Export the trained networks to ONNX and check that the logits stay the same.",
    ),
    "quantize": (
        "kdtool.cli.quantize",
        "Quantize exported models, or any ONNX classifier, to INT8 within a limit for the loss of accuracy.",
    ),
    "bench": ("kdtool.cli.bench", "Measure accuracy, compute and latency, and judge the claim."),
    "compare": (
        "kdtool.cli.compare",
        "Train several recipes on the same photographs and say which one helps.",
    ),
    "bundle": (
        "kdtool.cli.bundle",
        "Pack what an app or a web page needs: models, labels, example code, golden images.",
    ),
    "verify": ("kdtool.cli.verify", "Check on this machine that a bundle gives the expected logits."),
    "serve": ("kdtool.cli.serve", "Serve the web page of a bundle, by default to this machine only."),
    "report": ("kdtool.cli.report", "Write the report page of a run."),
    "predict": ("kdtool.cli.predict", "Classify photographs with an exported model."),
    "recipes": ("kdtool.cli.recipes", "List the recipes, or show one."),
    "data": ("kdtool.cli.data", "Check the photographs before training."),
    "doctor": ("kdtool.cli.doctor", "Check the installation, this machine and a run."),
}


TOGETHER = ("run", "teach", "distill")  # commands that several processes can run together


class LazyGroup(click.Group):
    """Group of commands that imports the module of a command when it is used, not when it is listed."""

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
                f"Commands that several processes can run together: {', '.join(TOGETHER)}.",
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

    Start with: kdtool run PHOTOGRAPHS. Without photographs it trains on embedded images of digits.
    """


@called_from(Caller.COMMAND_LINE)
def main(arguments: list[str] | None = None) -> None:
    """Run the `kdtool` command and exit with a code of `kdtool.core.errors`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed before the exit
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has ended
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
    if process_count() > 1 and isinstance(error, RuntimeError) and _is_of_communication(error):
        click.echo("Error: another process of this training has ended; its message says why.", err=True)
        click.echo("Next: run the same command again; it continues from the last checkpoint.", err=True)
        return 5
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("kdtool"):
        from kdtool.core.errors import missing_extra

        return _explain(missing_extra(error.name, "This command"), debug=False)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_of_memory(error)):
        click.echo("Error: out of memory.", err=True)
        click.echo(
            "Next: free some memory, or in a new --out take smaller batches (--set teacher.batch_size=8 "
            "--set student.batch_size=8) or smaller images (--set data.size=128)",
            err=True,
        )
        return 5
    if isinstance(error, OSError):
        click.echo(f"Error: {error.filename or 'system'}: {error.strerror or error}.", err=True)
        click.echo(
            "Next: check that it exists and may be read and written, or run: kdtool doctor RUN", err=True
        )
        return 5
    click.echo(
        f"Error: kdtool failed ({type(error).__name__}: {error}). This is a defect of kdtool.", err=True
    )
    click.echo("Next: run the same command with --debug and report what it prints.", err=True)
    return 1


def _is_of_communication(error: RuntimeError) -> bool:
    """True if the communication between processes failed: gloo and NCCL raise a plain RuntimeError."""
    return any(word in str(error).lower() for word in ("gloo", "nccl", "connection", "peer"))


def _is_of_memory(error: RuntimeError) -> bool:
    """True if torch ran out of memory; only the training of a single process halves its batch instead."""
    from kdtool.train.loop.memory import out_of_memory

    return "memory" in str(error) and out_of_memory(error)
