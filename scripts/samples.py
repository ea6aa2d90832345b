"""Small documents of many formats, made of nothing but Python's standard library: what conformance.py sends.

usage: samples.py FOLDER    writes ingest_dataprep.{txt,pdf,docx,pptx,xlsx,doc,ppt} there
"""

import io
import pathlib
import sys
import zipfile
from xml.sax.saxutils import escape

LINES = [
    "Nike annual report, fiscal year 2023",
    "The revenue of Nike in 2023 was 51.2 billion US dollars, ten percent more than in the year before.",
    "Sales of Nike Direct were 21.3 billion dollars, and digital sales of the Nike brand grew by 24 percent.",
    "The gross margin fell to 43.5 percent, because freight and material had become more expensive.",
]
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
KINDS = "application/vnd.openxmlformats-officedocument."
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
# How a compound file begins, the container of Word's and PowerPoint's formats of before 2007.
COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")


def package(parts, kinds, relations):
    """A zip as the Open Packaging Conventions have it, of {path: XML}, {path: content type}, {source: [(type, target)]}."""
    overrides = "".join(f'<Override PartName="/{path}" ContentType="{KINDS}{kind}+xml"/>' for path, kind in kinds.items())
    written = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    }
    for source, targets in relations.items():
        rows = "".join(
            f'<Relationship Id="rId{n}" Type="{OFFICE}/{kind}" Target="{target}"/>'
            for n, (kind, target) in enumerate(targets, 1)
        )
        written[source] = f'<Relationships xmlns="{PACKAGE}/relationships">{rows}</Relationships>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in {**written, **parts}.items():
            archive.writestr(zipfile.ZipInfo(path, (2025, 1, 1, 0, 0, 0)), DECLARATION + text)
    return buffer.getvalue()


def docx():
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    heading = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
    body = "".join(
        f"<w:p>{heading if n == 0 else ''}<w:r><w:t>{escape(line)}</w:t></w:r></w:p>" for n, line in enumerate(LINES)
    )
    return package(
        {"word/document.xml": f'<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>'},
        {"word/document.xml": "wordprocessingml.document.main"},
        {"_rels/.rels": [("officeDocument", "word/document.xml")]},
    )


def pptx():
    presentation, drawing = (f"http://schemas.openxmlformats.org/{name}/2006/main" for name in ("presentationml", "drawingml"))
    spaces = f'xmlns:p="{presentation}" xmlns:a="{drawing}" xmlns:r="{OFFICE}"'
    names = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'

    def shape(number, kind, lines):
        paragraphs = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in lines)
        return (
            f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="{kind}"/><p:cNvSpPr/>'
            f'<p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
            f"<p:spPr/><p:txBody><a:bodyPr/>{paragraphs}</p:txBody></p:sp>"
        )

    tree = names + shape(2, "title", LINES[:1]) + shape(3, "body", LINES[1:])
    return package(
        {
            "ppt/presentation.xml": f'<p:presentation {spaces}><p:sldIdLst><p:sldId id="256" r:id="rId1"/></p:sldIdLst>'
            f'<p:sldSz cx="9144000" cy="6858000"/><p:notesSz cx="6858000" cy="9144000"/></p:presentation>',
            "ppt/slides/slide1.xml": f"<p:sld {spaces}><p:cSld><p:spTree>{tree}</p:spTree></p:cSld></p:sld>",
        },
        {"ppt/presentation.xml": "presentationml.presentation.main", "ppt/slides/slide1.xml": "presentationml.slide"},
        {
            "_rels/.rels": [("officeDocument", "ppt/presentation.xml")],
            "ppt/_rels/presentation.xml.rels": [("slide", "slides/slide1.xml")],
        },
    )


def xlsx():
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    table = [
        ("Company", "Year", "Revenue in billion dollars"),
        ("Nike", 2022, 46.7),
        ("Nike", 2023, 51.2),
        *((line,) for line in LINES[1:]),
    ]

    def cell(value):
        return (
            f"<c><v>{value}</v></c>"
            if isinstance(value, (int, float))
            else f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        )

    rows = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in table)
    return package(
        {
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{OFFICE}"><sheets>'
            f'<sheet name="Revenue" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        },
        {"xl/workbook.xml": "spreadsheetml.sheet.main", "xl/worksheets/sheet1.xml": "spreadsheetml.worksheet"},
        {
            "_rels/.rels": [("officeDocument", "xl/workbook.xml")],
            "xl/_rels/workbook.xml.rels": [("worksheet", "worksheets/sheet1.xml")],
        },
    )


def pdf():
    shown = " T* ".join(f"({line}) Tj" for line in LINES)
    content = f"BT /F1 11 Tf 14 TL 40 780 Td {shown} ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 4 0 R >> >> /Contents 5 0 R >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        table,
        size,
        len(out),
    )


def all_of_them():
    """{name: bytes}."""
    text = ("\n".join(LINES) + "\n").encode()
    old = COMPOUND_FILE + bytes(504) + text
    made = {"txt": text, "pdf": pdf(), "docx": docx(), "pptx": pptx(), "xlsx": xlsx(), "doc": old, "ppt": old}
    return {f"ingest_dataprep.{kind}": content for kind, content in made.items()}


if __name__ == "__main__":
    for name, content in all_of_them().items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(content)
