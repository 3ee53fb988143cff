"""HTML → its text, written as Markdown: headings, paragraphs, items, rows. Needs the extra `documents`."""

import importlib.util
import re

AVAILABLE = importlib.util.find_spec("selectolax") is not None
_BLOCKS = frozenset(
    ("p", "div", "section", "article", "main", "blockquote", "ul", "ol", "table", "dl", "figure", "figcaption",
     "header", "footer", "aside", "address", "form", "fieldset", "details", "summary", "body", "dt", "dd",
     "caption", "hr")
)  # fmt: skip
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LEFT_OUT = frozenset(("script", "style", "noscript", "template", "svg", "iframe", "nav", "canvas", "head", "select"))
_BEFORE = {"li": "\n- ", "tr": "\n| ", "br": "\n", "pre": "\n\n```\n"}
_AFTER = {"li": "\n", "td": " | ", "th": " | ", "pre": "\n```\n\n"}
_SPACES = re.compile(r"[ \t\r\n\f]+")
_LINE_ENDS = re.compile(r"[ \t]*\n[ \t]*(?=\n)")
_EMPTY = re.compile(r"\n{3,}")


def text_of(data: bytes) -> tuple[str, str] | None:
    """The title and the text. None: the library is not installed, or there is no text."""
    if not AVAILABLE:
        return None
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415

    tree = LexborHTMLParser(data)
    head = tree.css_first("title")
    title = _SPACES.sub(" ", head.text()).strip() if head is not None else ""
    parts: list[str] = []
    node, verbatim = tree.body, 0
    while node is not None:
        tag = node.tag or ""
        if tag == "-text":
            said = node.text_content or ""
            parts.append(said if verbatim else _SPACES.sub(" ", said))
        else:
            parts.append(_before(tag))
        verbatim += tag == "pre"
        below = None if tag in _LEFT_OUT else node.child
        if below is not None:
            node = below
            continue
        # Up to the next that has something behind it: no recursion, pages nest as deep as they like.
        while node is not None:
            parts.append(_after(node.tag or ""))
            verbatim -= node.tag == "pre"
            if node.tag == "body" or node.next is not None:
                node = None if node.tag == "body" else node.next
                break
            node = node.parent
    text = _EMPTY.sub("\n\n", _LINE_ENDS.sub("\n", "".join(parts))).strip()
    return (title, text) if text else None


def _before(tag: str) -> str:
    if tag in _HEADINGS:
        return "\n\n" + "#" * int(tag[1]) + " "
    return _BEFORE.get(tag) or ("\n\n" if tag in _BLOCKS else "")


def _after(tag: str) -> str:
    return _AFTER.get(tag) or ("\n\n" if tag in _BLOCKS or tag in _HEADINGS else "")
