"""Makes documents/travel-policy.docx and documents/kestrel-200.pdf from their texts in sources/.

The two are in the repository, so this is needed only after a text has changed. The same texts give the same bytes. Packages:
requirements.txt beside this file. usage: python make.py
"""

import datetime
import io
import pathlib
import zipfile
from xml.sax.saxutils import escape

import docx
import docx.shared
import reportlab
from reportlab import rl_config
from reportlab.lib import colors, pagesizes
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import ListFlowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

HERE = pathlib.Path(__file__).parent
MADE = datetime.datetime(2025, 3, 20, 9, 0)
AUTHOR = "Halden Instruments"


def blocks(text):
    """The blocks of a Markdown text of ours: (level, words) of a heading, ("text", words), ("list", items), ("table", rows)."""
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if block.startswith("#"):
            marks, words = block.split(" ", 1)
            yield len(marks), words
        elif block.startswith("- "):
            yield "list", [line[2:] for line in lines]
        elif block.startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            yield "table", [rows[0], *rows[2:]]
        else:
            yield "text", " ".join(lines)


def word_document(parts, path):
    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    for kind, content in parts:
        if kind == "text":
            document.add_paragraph(content)
        elif kind == "list":
            for item in content:
                document.add_paragraph(item, style="List Bullet")
        elif kind == "table":
            word_table(document, content)
        else:
            document.add_heading(content, level=kind - 1)  # 0 is the title
    document.sections[0].footer.paragraphs[0].text = f"{AUTHOR}, internal"
    properties = document.core_properties
    properties.author, properties.created, properties.modified = AUTHOR, MADE, MADE
    properties.title = next(content for kind, content in parts if kind == 1)
    buffer = io.BytesIO()
    document.save(buffer)
    path.write_bytes(with_fixed_times(buffer))


def word_table(document, rows):
    table = document.add_table(rows=0, cols=len(rows[0]), style="Light Grid Accent 1")
    for row in rows:
        for cell, text in zip(table.add_row().cells, row):
            cell.text = text
    document.add_paragraph()


def with_fixed_times(buffer):
    """The same archive with every member dated alike."""
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, MADE.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(member, old.read(name))
    return out.getvalue()


def pdf(parts, path):
    rl_config.invariant = 1
    fonts = pathlib.Path(reportlab.__file__).parent / "fonts"
    for name in ("Vera", "VeraBd"):
        pdfmetrics.registerFont(TTFont(name, str(fonts / f"{name}.ttf")))
    title = next(content for kind, content in parts if kind == 1)
    document = SimpleDocTemplate(
        str(path),
        pagesize=pagesizes.A4,
        title=title,
        author=AUTHOR,
        leftMargin=24 * mm,
        rightMargin=24 * mm,
        topMargin=22 * mm,
        bottomMargin=22 * mm,
    )
    flow = [piece for kind, content in parts for piece in flowables(kind, content, document.width)]

    def footer(canvas, template):
        canvas.setFont("Vera", 8)
        canvas.drawString(24 * mm, 12 * mm, title)
        canvas.drawRightString(pagesizes.A4[0] - 24 * mm, 12 * mm, f"page {template.page}")

    document.build(flow, onFirstPage=footer, onLaterPages=footer)


def flowables(kind, content, width):
    plain = ParagraphStyle("plain", fontName="Vera", fontSize=10.5, leading=16, spaceAfter=6)
    cell = ParagraphStyle("cell", plain, fontSize=9.5, leading=13, spaceAfter=0)
    if kind == "text":
        return [Paragraph(escape(content), plain)]
    if kind == "list":
        return [ListFlowable([Paragraph(escape(item), plain) for item in content], bulletType="bullet")]
    if kind == "table":
        rows = [[Paragraph(escape(text), cell) for text in row] for row in content]
        lines = TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
        return [Table(rows, colWidths=widths(content, width), repeatRows=1, style=lines), Spacer(1, 8)]
    size = {1: 20, 2: 14, 3: 11}[kind]
    heading = ParagraphStyle(
        "heading", fontName="VeraBd", fontSize=size, leading=size * 1.3, spaceBefore=size * 0.7, spaceAfter=5, keepWithNext=True
    )
    return [Paragraph(escape(content), heading)]


def widths(rows, width):
    """Widths of columns after the longest text in each, none below a tenth of the page."""
    longest = [max(len(text) for text in column) for column in zip(*rows)]
    shares = [max(length / sum(longest), 0.1) for length in longest]
    return [width * share / sum(shares) for share in shares]


def main():
    for source, target, make in (
        ("travel-policy.md", "travel-policy.docx", word_document),
        ("kestrel-200.md", "kestrel-200.pdf", pdf),
    ):
        parts = list(blocks((HERE / "sources" / source).read_text(encoding="utf-8")))
        make(parts, HERE / "documents" / target)
        print(f"documents/{target}: {(HERE / 'documents' / target).stat().st_size} bytes")


if __name__ == "__main__":
    main()
