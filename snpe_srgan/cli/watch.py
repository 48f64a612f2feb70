"""snpe-srgan watch runs/mobile                # the training's curves and pictures, at an address of this machine
snpe-srgan watch runs/mobile -o watch.html   # the same page once, as a file
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from snpe_srgan.cli.options import Verb, Whole, common, output_option, overwrite_option

HOST = "127.0.0.1"  # nobody else's machine can ask


@click.command(cls=Verb)
@click.argument("run_dir", metavar="RUN", type=click.Path())
@click.option("--port", type=Whole(0, 65535), default=0, show_default="any free one", help="Port to serve at.")
@click.option("--every", type=Whole(1, 3600), default=5, help="Seconds between updates.")
@click.option("--open", "browse", is_flag=True, help="Open the page in the browser.")
@output_option("Write the page once to this file instead, and stop.")
@overwrite_option
@common
def command(output, run_dir, port, every, browse, out, overwrite):
    """Show a training's curves and pictures in the browser while it runs.

    RUN is the run folder of `train` or `pipeline`. The page is served on this machine only, until Ctrl-C; it loads
    nothing from elsewhere.
    """
    from snpe_srgan.artifacts.files import refuse_overwrite, write_text
    from snpe_srgan.report.watch import watch_page

    folder = Path(run_dir)
    if out is not None:
        refuse_overwrite(out, overwrite)
        text = watch_page(folder, refresh=None)
        write_text(Path(out), text, overwrite=overwrite)
        output.result({"path": out, "bytes": len(text.encode())}, text=f"{out}: open it in a browser")
        return
    watch_page(folder, refresh=every)  # an error is said now, not in the browser
    with _server(folder, port, every) as server:
        url = f"http://{HOST}:{server.server_port}/"
        output.result({"url": url, "run_dir": folder}, text=url)
        output.note("Ctrl-C ends it; the training goes on")
        if browse:
            import webbrowser

            webbrowser.open(url)
        server.serve_forever()


def _server(folder: Path, port: int, every: int) -> ThreadingHTTPServer:
    from snpe_srgan.errors import InputError

    class Handler(BaseHTTPRequestHandler):
        """Answers `/` with the page as it is now."""

        def do_GET(self) -> None:
            from snpe_srgan.errors import SnpeSrganError
            from snpe_srgan.report.watch import watch_page

            # A page elsewhere could point a name of its own at this address and read the answer: only ours are served.
            here = self.connection.getsockname()[1]
            if self.headers.get("Host") not in (f"{HOST}:{here}", f"localhost:{here}"):
                self.send_error(403)
                return
            if self.path != "/":
                self.send_error(404)
                return
            try:
                self._answer(200, "text/html", watch_page(folder, refresh=every))
            except SnpeSrganError as error:
                self._answer(500, "text/plain", "\n".join(error.lines()))

        def _answer(self, code: int, kind: str, text: str) -> None:
            data = text.encode("utf-8", "replace")
            self.send_response(code)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Every look would be a line on the terminal."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        hint = "choose another --port, or leave it out"
        raise InputError(f"port {port} cannot be used: {error.strerror}", where=HOST, hint=hint) from error
