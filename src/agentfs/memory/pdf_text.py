"""PDF → the text of its pages. Needs the extra `documents`."""

import importlib.util
import io

AVAILABLE = importlib.util.find_spec("pypdf") is not None
_PAGES_MAX = 300
_TEXT_MAX = 2 << 20
"""Characters."""


def pages_of(data: bytes) -> tuple[str, list[str]] | None:
    """The title and the text of each page. None: the library is not installed, or cannot read this file."""
    if not AVAILABLE:
        return None
    import pypdf  # noqa: PLC0415

    pages: list[str] = []
    size = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        title = reader.metadata.title if reader.metadata is not None else None
        for page in reader.pages[:_PAGES_MAX]:
            pages.append(page.extract_text())
            size += len(pages[-1])
            if size > _TEXT_MAX:
                break
    except Exception:  # noqa: BLE001 - a broken file makes the library raise anything; what it read until then counts
        title = title if pages else None
    if not any(page.strip() for page in pages):
        return None
    return str(title or "").strip(), pages
