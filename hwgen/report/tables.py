"""The one look of tables in a terminal."""

from rich.box import ASCII2
from rich.table import Column, Table


def plain_table(*columns: str | Column, title: str | None = None, caption: str | None = None) -> Table:
    """A table whose columns, given by their titles, break long words instead of cutting them."""
    shown = [Column(column, overflow="fold") if isinstance(column, str) else column for column in columns]
    return Table(*shown, title=title, title_justify="left", title_style="bold", caption=caption, caption_justify="left",
                 box=ASCII2, show_edge=False, pad_edge=False)


def numbers(*titles: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(title, justify="right") for title in titles]
