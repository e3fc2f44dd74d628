"""A PDF of filled rectangles and Helvetica lines: all that cards need, in place of a library with fonts and images.

Ref: ISO 32000-1, 7.5 (file structure), 8.5 (paths), 9.4 (text). Text is WinAnsi (French has all its letters there);
Helvetica is one of the 14 fonts every reader has. Lengths are millimetres from the page's top left corner.
"""

from dataclasses import dataclass, field

MM = 72 / 25.4
A4_MM = (210.0, 297.0)


@dataclass(slots=True)
class Page:
    """One page's drawing."""

    size_mm: tuple[float, float] = A4_MM
    _ops: list[str] = field(default_factory=list)

    def rectangles(self, boxes_mm: list[tuple[float, float, float, float]]) -> None:
        """Fill boxes (x, y, width, height) black, as one path, so that no reader draws seams between them."""
        height = self.size_mm[1]
        for x, y, w, h in boxes_mm:
            self._ops.append(f"{x * MM:.3f} {(height - y - h) * MM:.3f} {w * MM:.3f} {h * MM:.3f} re")
        self._ops.append("f")

    def frame(self, x: float, y: float, w: float, h: float) -> None:
        """Draw a thin line around a box, to cut along."""
        bottom = self.size_mm[1] - y - h
        self._ops.append(f"0.3 w {x * MM:.3f} {bottom * MM:.3f} {w * MM:.3f} {h * MM:.3f} re S")

    def text(self, x: float, y: float, size_pt: float, text: str, *, bold: bool = False) -> None:
        """Write one line, its baseline at y."""
        drawn = text.encode("cp1252", "replace").replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
        at = f"{x * MM:.3f} {(self.size_mm[1] - y) * MM:.3f} Td"
        self._ops.append(f"BT /{'B' if bold else 'R'} {size_pt:g} Tf {at} ({drawn.decode('latin-1')}) Tj ET")

    def content(self) -> bytes:
        """The page's content stream."""
        return "\n".join(self._ops).encode("latin-1")


def document(pages: list[Page]) -> bytes:
    """The whole file."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    for bold in (False, True):
        name = b"Helvetica-Bold" if bold else b"Helvetica"
        objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /" + name + b" /Encoding /WinAnsiEncoding >>")
    kids = []
    for page in pages:
        content = page.content()
        objects.append(b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream")
        width, height = (length * MM for length in page.size_mm)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R "
            b"/Resources << /Font << /R 3 0 R /B 4 0 R >> >> >>" % (width, height, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [" + b" ".join(kids) + b"] /Count %d >>" % len(kids)
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)
    return bytes(out)
