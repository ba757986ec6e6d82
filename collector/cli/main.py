"""The otlp-collector command: its subcommands are found when asked for, so that the light ones start fast."""

from __future__ import annotations

import difflib
import importlib
from typing import Final

import click

# Name and one line of help; the command is `command` in collector.cli.<name>.
COMMANDS: Final = {
    "serve": "Receive OTLP and store, count and price it.",
    "status": "Today's calls and cost, and whether everything arrived.",
    "sql": "Ask the lake anything, with SELECT.",
    "export": "Write calls or spans as Parquet, CSV or JSON Lines.",
    "doctor": "Say what is wrong and what to do about it.",
    "demo": "Send a small made-up agent session to a collector.",
    "generate-load": "Send made-up traces at a rate, to size a machine.",
    "prices": "Show the prices, or take newer ones.",
    "reprice": "Work out again what stored calls cost.",
    "quarantine": "See, load once more or drop what could not be loaded.",
    "maintain": "Tidy the lake up, and delete what is past its retention.",
    "renormalize": "Read stored records again with this version's tables.",
    "erase": "Erase a user or a session from every file.",
    "backup": "Copy everything, of one moment, while it runs.",
    "restore": "Make a data directory of a backup.",
    "validate": "Check the configuration.",
    "print-config": "Show the effective configuration.",
    "policy": "Show every rule in force, and where it comes from.",
}

EPILOG: Final = """\b
Examples:
  otlp-collector serve
  otlp-collector demo
  otlp-collector sql "SELECT pricing_mode, provider, sum(cost_usd) FROM calls GROUP BY ALL"
"""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"collector.cli.{cmd_name.replace('-', '_')}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            ctx.fail(f"there is no command {args[0]!r}; {hint}There are: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """From the table above: listing the commands imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spanledger", prog_name="otlp-collector")
def main() -> None:
    """An OpenTelemetry collector for GenAI usage and cost: every call stored once, counted once, priced.

    Options can also be set as SPANLEDGER_<OPTION> or in a YAML file (--config); print-config shows it.
    Exit codes: 0 it ran, 1 the input was rejected, 2 it could not run.
    """


if __name__ == "__main__":
    main()
