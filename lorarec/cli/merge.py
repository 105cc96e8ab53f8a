"""`lorarec merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorarec.cli.arguments import RunFolder


def merge(
    run: RunFolder,
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist.", show_default=False)],
) -> None:
    """Fold the adapter into the backbone and write a plain transformers folder."""
    from lorarec.pipeline.merge import merge as merge_run

    print(f"The merged backbone is in {merge_run(run, output)}.")
