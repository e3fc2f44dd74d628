"""Cards and labels on paper: a QR code with big text beside it, as SVG or as an A4 sheet in PDF.

Codes are at error level M with the quiet zone of four modules; modules are 0.5 mm or more, which desk scanners and
telephones read from 10 cm. Modules and their places are whole dots of 200 dpi, and so of 600: with 5.9 dots a module
zbar missed 4 of 300 codes rendered at 200 dpi, with 6 none of 800.
"""

from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from agent.errors import ProvisioningError
from provisioning.pdf import Page, document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CARD_MM = (85.6, 54.0)  # ISO/IEC 7810 ID-1, as a bank card
COLUMNS, ROWS = 2, 5
QUIET = 4
CODE_MM = 40.5
DOT_MM = 25.4 / 200


@dataclass(frozen=True, slots=True)
class Card:
    """What is printed: the code's text, a title, a big name, a small last line, and the id for the file's name."""

    text: str
    title: str
    name: str
    note: str = ""
    id: str = ""


def matrix(text: str) -> "list[bytearray]":
    """The QR code's modules, 1 for dark; ProvisioningError when segno is missing."""
    try:
        import segno  # noqa: PLC0415 - only where cards are printed
    except ImportError:
        raise ProvisioningError("printing needs segno\nNext: pip install 'besace[provision]'") from None
    code: Any = segno.make(text, error="m", boost_error=False, micro=False)
    return [bytearray(row) for row in code.matrix]


def _boxes(text: str, x: float, y: float, side: float) -> "list[tuple[float, float, float, float]]":
    """The dark modules as boxes, runs of a row joined; the quiet zone is inside `side`."""
    rows = matrix(text)
    module = side / (len(rows) + 2 * QUIET) // DOT_MM * DOT_MM
    x, y = (round(place / DOT_MM) * DOT_MM for place in (x, y))
    return [
        (x + (QUIET + start) * module, y + (QUIET + at) * module, length * module, module)
        for at, row in enumerate(rows)
        for start, length in _runs(row)
    ]


def _runs(row: bytearray) -> "Iterator[tuple[int, int]]":
    start = None
    for at, dark in enumerate([*row, 0]):
        if dark and start is None:
            start = at
        elif not dark and start is not None:
            yield start, at - start
            start = None


def _size(name: str) -> float:
    """The largest size at which a name fits beside its code (Helvetica bold: about 0.6 em a letter)."""
    return min(18.0, 108.0 / (0.6 * max(1, len(name))))


def sheet_pdf(cards: "Sequence[Card]") -> bytes:
    """Cards of bank-card size, ten to an A4 page, with lines to cut along."""
    pages = []
    for first in range(0, len(cards), COLUMNS * ROWS):
        page = Page()
        width, height = CARD_MM
        left = (page.size_mm[0] - COLUMNS * width) / 2
        top = (page.size_mm[1] - ROWS * height) / 2
        for at, card in enumerate(cards[first : first + COLUMNS * ROWS]):
            x, y = left + at % COLUMNS * width, top + at // COLUMNS * height
            page.frame(x, y, width, height)
            page.rectangles(_boxes(card.text, x + 2, y + (height - CODE_MM) / 2, CODE_MM))
            _beside(page, card, x + CODE_MM + 3, y)
        pages.append(page)
    return document(pages)


def _beside(page: Page, card: Card, x: float, y: float) -> None:
    page.text(x, y + 14, 9, card.title)
    for number, line in enumerate(wrap(card.name, 13)):
        page.text(x, y + 24 + 7 * number, _size(line), line, bold=True)
    page.text(x, y + 42, 7, card.note)
    page.text(x, y + 46, 6, card.id)


def card_svg(card: Card) -> str:
    """One card as SVG, in millimetres."""
    width, height = CARD_MM
    path = "".join(
        f"M{x:.3f} {y:.3f}h{w:.3f}v{h:.3f}h-{w:.3f}z"
        for x, y, w, h in _boxes(card.text, 2, (height - CODE_MM) / 2, CODE_MM)
    )
    x = CODE_MM + 3
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(card.title)} {escape(card.name)}">'
        f'<rect width="{width}" height="{height}" fill="#fff"/><path d="{path}"/>'
        f'<g font-family="Helvetica, Arial, sans-serif">'
        f'<text x="{x}" y="14" font-size="3.2">{escape(card.title)}</text>'
        f'<text x="{x}" y="25" font-size="{_size(card.name) * 0.353:.2f}" font-weight="bold">{escape(card.name)}</text>'
        f'<text x="{x}" y="42" font-size="2.5">{escape(card.note)}</text>'
        f'<text x="{x}" y="46" font-size="2.1">{escape(card.id)}</text></g></svg>\n'
    )


def bag_label(name: str, site: str) -> Card:
    """The label on the bag: a short address in capitals, for whoever finds it; it holds no secret."""
    return Card(f"HTTPS://{site.upper()}/S/{name.upper()}", "Sac médical", name.upper(), f"Trouvé ? {site.lower()}")
