"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def local_folder(text: str) -> Path:
    """Return ``text`` as a path.

    Raises:
        BadParameter: it is a URL, which a path would silently turn into a folder of this machine.
    """
    if "://" in text:
        raise typer.BadParameter(
            f"results lie in a folder of this machine (or mounted on it), but got {text}; give one, and copy it later"
        )
    return Path(text)


StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a preset.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", parser=local_folder, help="Folder of the results [default: results/<study name>]."
    ),
]
FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", parser=local_folder, help="Folder of a study's results.")
]
