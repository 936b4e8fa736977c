"""Command line: `python -m gsn.teachers list` prints the registry as a table."""

import typer

from gsn.teachers import TEACHERS
from gsn.teachers.teacher import TeacherEntry
from gsn.text_table import text_table

HEADINGS = ("name", "family", "channels", "patch", "licence", "weights from", "parameters")
NUMBERS = ("channels", "patch", "parameters")  # aligned on the right

app = typer.Typer(add_completion=False, no_args_is_help=True)


def table(teachers: dict[str, TeacherEntry]) -> list[str]:
    """Return one line a teacher below a line of headings, by family, then by size.

    Families come in the order of the registry.
    """
    families = list(dict.fromkeys(entry.card.family for entry in teachers.values()))

    def place(item: tuple[str, TeacherEntry]) -> tuple[int, int, str]:
        name, entry = item
        return families.index(entry.card.family), entry.card.parameters, name

    ordered = sorted(teachers.items(), key=place)
    return text_table(HEADINGS, [_row(name, entry) for name, entry in ordered], NUMBERS)


def _row(name: str, entry: TeacherEntry) -> tuple[str, ...]:
    card = entry.card
    return (
        name,
        card.family,
        str(card.channels),
        str(card.patch_px),
        card.licence,
        card.weights_from,
        f"{card.parameters / 1e6:.1f} M",
    )


@app.callback()
def main() -> None:
    """Teachers: frozen networks that turn photographs into feature maps."""


@app.command("list")
def print_table() -> None:
    """Print every teacher with its licence and where `weights: hub` takes its weights from."""
    for line in table(TEACHERS):
        typer.echo(line)


if __name__ == "__main__":
    app()
