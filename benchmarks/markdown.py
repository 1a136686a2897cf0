"""Tables of the pages in docs/, and where they stand in a page."""

from pathlib import Path

BEGIN, END = "<!-- table -->", "<!-- end -->"


def table(*rows: list) -> list[str]:
    """Lines of a table, the first row being its head, and an empty one."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    return [_line(head), "|" + "---|" * len(head), *(_line(row) for row in body), ""]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_between(path: Path, text: str) -> None:
    """Puts ``text`` between the marks of a page; what stands around them stays."""
    head, rest = path.read_text().split(BEGIN, 1)
    path.write_text(f"{head}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")
