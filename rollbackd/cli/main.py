"""The door of the command line: collects the commands, turns errors into exit codes."""


def main() -> None:
    raise SystemExit(2)
