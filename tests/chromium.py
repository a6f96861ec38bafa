"""A page seen by headless Chromium: what it measures, what it paints, what its console says."""

import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_FRAME = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<body style="margin:0">
<iframe src="/{page}" style="border:0;width:{width}px;height:{height}px"></iframe><pre></pre>
<script>
onload = () => {{
  const frame = document.querySelector("iframe"), inside = frame.contentDocument;
  const measure = {measure};
  document.querySelector("pre").textContent = JSON.stringify(measure(inside, frame.contentWindow));
  console.log("measured");
}};
</script>"""
_CONSOLE = re.compile(r':CONSOLE[:(]\d+\)?\] "(.*?)"(?:, source|$)', re.MULTILINE)


@dataclass(frozen=True)
class Seen:
    """What came back: the measurement, console lines, paths that were asked for."""

    measured: dict
    console: list[str]
    requests: list[str]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, frame, requests, **kwargs):
        self.frame, self.requests = frame, requests
        super().__init__(*args, **kwargs)

    def do_GET(self):
        self.requests.append(self.path)
        if self.path != "/frame":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.frame.encode())

    def log_message(self, *_):
        pass


def find_chromium():
    """The browser; where there is none the test is skipped, and in CI it fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None and os.environ.get("CI"):
        pytest.fail("CI is set and there is no chromium; install Debian's package of that name")
    if path is None:
        pytest.skip("no chromium on this machine; install Debian's package of that name")
    return path


def look(page: Path, width: int, height: int, measure: str) -> Seen:
    """Load a page in a frame of that size and call the JavaScript function `measure` on it."""
    done, requests = _run(page, width, height, measure, "--dump-dom")
    text = re.search(r"<pre>(.*?)</pre>", done.stdout.decode(), re.DOTALL)
    assert text is not None, done.stderr.decode()
    assert text[1], f"nothing was measured: {done.stderr.decode()}"
    console = _CONSOLE.findall(done.stderr.decode())
    return Seen(json.loads(unescape(text[1])), console, requests)


def paint(page: Path, width: int, height: int, to: Path, *flags: str) -> None:
    """A PNG of the page in a frame of that size."""
    _run(page, width, height, "() => 0", f"--screenshot={to}", *flags)
    assert to.is_file()


def print_pdf(page: Path, to: Path) -> None:
    """The page as it is printed."""
    _chromium(f"--print-to-pdf={to}", "--no-pdf-header-footer", page.as_uri())


def _run(page, width, height, measure, *flags):
    frame = _FRAME.format(page=page.name, width=width, height=height, measure=measure)
    requests: list[str] = []
    handler = partial(_Handler, directory=str(page.parent), frame=frame, requests=requests)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        size = f"--window-size={width},{height}"
        done = _chromium(size, *flags, f"http://127.0.0.1:{server.server_port}/frame")
    finally:
        server.shutdown()
        server.server_close()
    return done, requests


def _chromium(*flags):
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [
                find_chromium(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--force-device-scale-factor=1",
                "--hide-scrollbars",  # a phone lays them over the page
                "--enable-logging=stderr",
                f"--user-data-dir={profile}",
                *flags,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
