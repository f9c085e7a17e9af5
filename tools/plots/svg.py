"""Pieces of the SVG plots in docs/, for the scripts beside this file."""

from xml.sax.saxutils import escape


def text(x, y, words, size=13, colour="#222", anchor="start", weight="normal"):
    return (f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def dot(x, y, colour):
    return f'<circle cx="{x}" cy="{y}" r="5.5" fill="{colour}" stroke="#fff" stroke-width="1"/>'


def write(path, width, height, title, body):
    """A white sheet with the title and, on its right, what the axes say in dB."""
    heads = [text(16, 26, title, 16, weight="bold"), text(width - 16, 26, "dB; higher is closer", 12, "#555", "end")]
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(heads + body) + "\n</svg>\n", encoding="utf-8")
