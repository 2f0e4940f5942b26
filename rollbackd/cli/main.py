"""The door of the command line: finds the command, turns errors into one line and an exit code.

A command's file is imported when it is run, never for `--help`: each is a line of this table.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from rollbackd.core import errors

EX_FINDING: Final = 1
EX_USAGE: Final = 2
EX_UNAVAILABLE: Final = 69
EX_CONFIG: Final = 78

# In the order in which people meet them. The function has the command's name, in a file of it.
COMMANDS: Final[dict[str, str]] = {
    "demo": "Watch a bad deploy go out and come back, on this machine.",
    "check": "Check the configuration; say which triggers keep the five minutes.",
    "run": "Run the daemon.",
    "status": "What is: targets, probes, triggers, the decision.",
    "releases": "What could be gone back to.",
    "database": "How the database was while each release was well.",
    "snapshots": "What data could be put back from; --take makes one more.",
    "explain": "Why (not) now: the numbers, every gate, what would have to happen.",
    "replay": "What this configuration would have decided, on facts of the past.",
    "history": "What was done, step by step.",
    "audit": "Every decision, step and order, in a chain that shows tampering.",
    "rollback": "Put an earlier release back, by hand.",
    "approve": "Approve a proposed rollback, by its frozen plan.",
    "reject": "Reject a proposed rollback: it is not asked again.",
    "abort": "End a rollback that holds, or has changed nothing yet.",
    "undo": "A false alarm: put back what was rolled back from.",
    "announce": "For CI: a deploy is coming, of which commit and by whom.",
    "gate": "For CI: may this commit go out? Exit 1 where it was rolled back.",
    "bless": "Call a release good: it may be gone back to.",
    "quarantine": "Never go back to a release.",
    "unquarantine": "Take a quarantine back.",
    "pause": "Hold automatic rollbacks for a while.",
    "resume": "End a pause.",
    "set": "Another mode for a while.",
    "unlock": "Allow automatic rollbacks again after one that did not help.",
    "sandbox": "A local Fly to try things on.",
    "schema": "Print the JSON Schema of the YAML files.",
    "version": "Print the version.",
}


class LazyGroup(TyperGroup):
    """Knows the commands by name and help; loads one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- typer's own context class
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 -- as above
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, (load(str(name)) if found is not None else None), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except errors.RollbackdError as error:
            complain(error)
            raise typer.Exit(exit_code(error)) from None


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it prints local variables, and those hold tokens
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from rollbackd import __version__  # noqa: PLC0415 -- only when asked

        typer.echo(f"rollbackd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Watches a Fly.io app and puts the last good release back when a release makes it worse."""


def load(name: str) -> Any:
    """Import a command's file and make a command of the function of its name."""
    try:
        module = importlib.import_module(f"rollbackd.cli.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"rollbackd.cli.{name}":
            raise
        message = f"{name} is not part of this installation"
        raise errors.UsageError(message, hint="reinstall rollbackd") from error
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(getattr(module, name))
    return typer.main.get_command(single)


def exit_code(error: errors.RollbackdError) -> int:
    """What a script learns: 2 usage, 69 unreachable, 78 configuration, 1 everything else."""
    match error:
        case errors.UsageError():
            return EX_USAGE
        case errors.ConfigError():
            return EX_CONFIG
        case errors.TemporaryError():
            return EX_UNAVAILABLE
        case _:
            return EX_FINDING


def complain(error: errors.RollbackdError) -> None:
    """One line, without secrets and without control characters."""
    from rollbackd.cli.show import clean  # noqa: PLC0415 -- nothing to show when all goes well
    from rollbackd.telemetry.redact import Scrubber  # noqa: PLC0415

    line = f"error: {error.message}" + (f" ({error.hint})" if error.hint else "")
    typer.echo(Scrubber().text(clean(line)), err=True)


def main() -> None:
    """The console script."""
    try:
        app(prog_name="rollbackd")
    except KeyboardInterrupt:
        sys.exit(130)
