"""Reads a report as a browser's parser would, for the tests."""

import json
from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements, texts and scripts of a page, read by the standard library's parser."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._script: dict[str, str | None] | None = None
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts[-1] = (self._script, self.scripts[-1][1] + data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def data(self) -> dict[str, object]:
        blocks = {attrs["id"]: body for attrs, body in self.scripts if attrs.get("type") == "application/json"}
        return {str(name): json.loads(body) for name, body in blocks.items()}
