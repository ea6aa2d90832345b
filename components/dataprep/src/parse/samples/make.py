"""Makes the samples of this folder, which the tests of the parsers read:

pip install python-docx==1.2.0 python-pptx==1.0.2 openpyxl==3.1.5 reportlab==5.1.0 pikepdf==10.18.0
python make.py
"""

import datetime
import pathlib

import docx
import openpyxl
import pikepdf
import pptx
import reportlab
from pptx.util import Inches
from reportlab.lib.pagesizes import A5
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

HERE = pathlib.Path(__file__).parent


def word():
    document = docx.Document()
    document.core_properties.title = "Rules of the harbour"
    document.add_heading("Harbour rules", level=1)
    document.add_paragraph("These rules hold for every ship, whatever its flag.")
    document.add_heading("Mooring", level=2)
    document.add_paragraph("Moor only with permission.", style="List Bullet")
    document.add_paragraph("Keep the lines tight at every tide.", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, [("Berth", "Depth"), ("North", "9 m")]):
        for cell, text in zip(row.cells, cells):
            cell.text = text
    document.save(HERE / "sample.docx")


def slides():
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Tides"
    slide.placeholders[1].text = "Spring tides follow the full moon."
    slide.notes_slide.notes_text_frame.text = "Say what a neap tide is."
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Ranges"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for row, cells in enumerate([("Port", "Range"), ("Brest", "6.1 m")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    # Layouts that no slide uses would only make the sample larger.
    used = {slide.slide_layout.name for slide in presentation.slides}
    for layout in [layout for layout in presentation.slide_layouts if layout.name not in used]:
        presentation.slide_layouts.remove(layout)
    presentation.save(HERE / "sample.pptx")


def workbook():
    book = openpyxl.Workbook()
    ships = book.active
    ships.title = "Ships"
    ships.append(["Name", "Built", "Length"])
    ships.append(["Aurora", datetime.date(1999, 2, 28), 81.5])
    ships.append(["Borealis", datetime.datetime(2024, 2, 29, 13, 30), 120])
    crew = book.create_sheet("Crew")
    crew["A1"], crew["C1"] = "Who", "On board"
    crew["A2"], crew["C2"] = "Ida", True
    book.save(HERE / "sample.xlsx")


def page(pdf, heading, lines, font):
    pdf.setFont("Helvetica-Bold", 16)
    pdf.drawString(40, 540, heading)
    pdf.setFont(font, 10)
    for index, line in enumerate(lines):
        pdf.drawString(40, 510 - 14 * index, line)
    pdf.setFont("Helvetica", 8)
    pdf.drawString(180, 20, f"Page {pdf.getPageNumber()} of 3")
    pdf.showPage()


def pdf():
    folder = pathlib.Path(reportlab.__file__).parent / "fonts"
    pdfmetrics.registerFont(TTFont("Vera", str(folder / "Vera.ttf")))
    path = HERE / "sample.pdf"
    pdf = canvas.Canvas(str(path), pagesize=A5, pageCompression=1, invariant=1)
    pdf.setTitle("Lighthouses")
    page(pdf, "The lamp", ["The lamp of the old tower burned whale oil until the year", "1865, when a burner for para-", "ffin took its place."], "Helvetica")
    page(pdf, "Der Wärter", ["Der Wärter aß täglich Grütze – für 3 € im Monat.", "Łuk lies inland."], "Vera")
    page(pdf, "The fog horn", ["In fog the horn sounds every ninety seconds (“two long”)."], "Times-Roman")
    pdf.save()
    with pikepdf.open(path) as document:
        streams = pikepdf.ObjectStreamMode.generate
        document.save(HERE / "packed.pdf", object_stream_mode=streams, deterministic_id=True)
    for name, user in [("locked", "secret"), ("owned", "")]:
        with pikepdf.open(path) as document:
            document.save(HERE / f"{name}.pdf", encryption=pikepdf.Encryption(owner="owner", user=user, R=6))
    with pikepdf.open(path) as document:
        document.save(HERE / "owned4.pdf", encryption=pikepdf.Encryption(owner="owner", user="", R=4, aes=True))


word()
slides()
workbook()
pdf()
