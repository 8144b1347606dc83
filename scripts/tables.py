"""Writes Markdown tables that are also readable as text."""


def markdown(rows: list[dict[str, str]]) -> str:
    """Return a table with a line per row and a column per key; the first column is left-aligned, others right."""
    columns = {head: [head, *(row[head] for row in rows)] for head in rows[0]}
    padded = []
    for number, cells in enumerate(columns.values()):
        width = max(map(len, cells))
        justify = str.rjust if number else str.ljust
        line = "-" * (width - 1) + (":" if number else "-")
        padded.append([justify(cells[0], width), line, *(justify(cell, width) for cell in cells[1:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*padded, strict=True))
