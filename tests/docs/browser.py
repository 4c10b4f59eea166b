"""Asks headless Chromium how pages look, and what their search finds."""

import html
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = 420, 768, 1400
FRAME = """<!doctype html><iframe style="border:0;height:900px"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
const wait = ms => new Promise(done => setTimeout(done, ms));
const load = page => new Promise(done => { frame.onload = done; frame.src = page; });
const asked = %s;
(async () => {
  const found = [];
  %s
  document.querySelector("pre").textContent = JSON.stringify(found);
})();
</script>"""
# What reaches over the right edge, unless it scrolls by itself.
OVERFLOWS = """
const style = (e, name) => frame.contentWindow.getComputedStyle(e)[name];
const scrolls = e => ["auto", "scroll"].includes(style(e, "overflowX"));
const moves = e =>
  e && e.tagName != "ARTICLE" && (scrolls(e) || moves(e.parentElement));
for (const page of asked.pages) {
  frame.style.width = Math.max(...asked.widths) + "px";
  await load(page);
  const shown = frame.contentDocument;
  for (const theme of ["light", "dark"]) for (const width of asked.widths) {
    shown.body.dataset.theme = theme;
    frame.style.width = width + "px";
    while (frame.contentWindow.innerWidth != width) await wait(10);
    const wide = [...shown.querySelectorAll("article, article *")].filter(e => {
      const box = e.getBoundingClientRect();
      const text = style(e, "display") == "inline" ? 0 : box.left + e.scrollWidth;
      return box.width && Math.max(box.right, text) > width + 1 && !moves(e);
    });
    if (wide.length || shown.documentElement.scrollWidth > width)
      found.push([page, theme, width, ...wide.slice(-1).map(e => e.outerHTML)]);
  }
}
"""
FIRST_RESULTS = """
for (const words of asked) {
  await load("search.html?q=" + encodeURIComponent(words));
  const first = () => frame.contentDocument.querySelector("#search-results li a");
  for (let i = 0; i < 500 && !first(); i++) await wait(20);
  await wait(200);
  found.push(first() && first().getAttribute("href").replace(/[?#].*/, ""));
}
"""


def run(*arguments):
    """Runs Chromium without a window."""
    quiet = "--headless", "--no-sandbox", "--disable-gpu"
    return subprocess.run(
        [BROWSER, *quiet, "--window-size=1500,1000", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


def picture(page):
    """Returns the path of a picture of a page."""
    image = page.with_suffix(".png")
    run(f"--screenshot={image}", page.as_uri())
    return image


def answer(folder, script, asked):
    """Returns what a script finds in a frame that shows pages of a folder."""
    page = (FRAME % (json.dumps(asked), script)).encode()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/frame":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def end_headers(self):
            self.send_header("Cache-Control", "max-age=600")
            super().end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/frame"
        done = run("--dump-dom", "--virtual-time-budget=1000000", address)
        server.shutdown()
    found = re.search("<pre>(.+?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr[-3000:]
    return json.loads(html.unescape(found[1]))


def overflows(folder, pages, widths=WIDTHS):
    """Returns the page, the theme, the width and the element of what is too wide."""
    return answer(folder, OVERFLOWS, {"pages": pages, "widths": widths})


def first_results(folder, queries):
    """Returns the page that the search of a site finds first for each query."""
    return answer(folder, FIRST_RESULTS, queries)
