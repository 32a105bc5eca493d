"""The static page: files of one folder, with types browsers insist on, checked for news at every load."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


class PageFiles(StaticFiles):
    """Files below `folder`; `/` is its index.html. No listings, no links that lead outside, no hidden files."""

    def __init__(self, folder: Path) -> None:
        # Module scripts and worklets are refused unless they come as JavaScript, which some systems' tables get wrong.
        for suffix, kind in _TYPES.items():
            mimetypes.add_type(kind, suffix)
        super().__init__(directory=folder, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path or any(part.startswith(".") for part in Path(path).parts):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        # The ETag decides: an update reaches every page at its next load, and nothing is sent twice.
        response.headers["Cache-Control"] = "no-cache"
        return response
