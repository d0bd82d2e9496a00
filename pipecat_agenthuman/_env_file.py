"""Variables for a command: those of the process, and of a file for what they leave out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

DEFAULT_ENV_FILE: Final = Path(".env")


class EnvFileError(Exception):
    """A file of variables that was named cannot be read."""


def add_env_file_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--env-file`` to a command's parser.

    Args:
        parser: The parser.
    """
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help=f"variables that are not set otherwise ({DEFAULT_ENV_FILE}, if it is there)",
    )


def read_variables(env_file: Path | None) -> dict[str, str]:
    """Join a file's variables and those of the process, which win unless they are empty.

    Args:
        env_file: The file; None for ``.env``, if it is there.

    Returns:
        Variables by name.

    Raises:
        EnvFileError: If the file cannot be read.
    """
    from dotenv import dotenv_values  # only for who runs a command

    path = env_file or DEFAULT_ENV_FILE
    variables: dict[str, str] = {}
    if env_file is not None or path.is_file():
        try:
            with path.open(encoding="utf-8") as file:
                found = dotenv_values(stream=file)
        except OSError as error:
            raise EnvFileError(f"Cannot read {path}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise EnvFileError(f"Cannot read {path}: it is not UTF-8 text.") from None
        variables |= {name: value or "" for name, value in found.items()}
    return variables | {name: value for name, value in os.environ.items() if value.strip()}
