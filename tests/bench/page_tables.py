"""Tables of a published page, between its markers `<!-- table NAME -->` and `<!-- end -->`; the prose around them stays."""

import pathlib
import re


def rewrite_tables(page: pathlib.Path, tables: dict[str, list[str]]) -> None:
    """Replaces the lines of each named table. Exits when the page does not have each pair of markers once."""
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        text, found = re.subn(rf"(<!-- table {name} -->\n).*?(<!-- end -->)",
                              lambda match: match[1] + "\n".join(lines) + "\n" + match[2], text, flags=re.S)
        if found != 1:
            raise SystemExit(f"{page}: {found} pairs of markers for table {name}, expected one")
    page.write_text(text, encoding="utf-8")
