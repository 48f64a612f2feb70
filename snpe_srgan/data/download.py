"""Fetch one file by HTTP: resumed after a break, retried with back-off, checked, and in place only when it is whole.

    download("https://host/file.zip", "file.zip", size=..., sha256=..., say=print)

Bytes go to `file.zip.part`; beside it `file.zip.part.json` keeps the server's validator (ETag or date), so that a later
run asks for the rest only *if* the file is still the same one (RFC 9110: Range with If-Range). A server that knows no
ranges, or has another file by now, answers with the whole file and the download starts over.

Written on urllib: what can go wrong is ranges, retries and files, which no HTTP client does for us; httpx would add six
packages to send GET. What a server sends is checked before it is used, and only http and https are followed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from snpe_srgan.artifacts.files import make_folder, os_error, write_json
from snpe_srgan.artifacts.own import open_own
from snpe_srgan.errors import InputError, UsageError, shown
from snpe_srgan.opener import read_text
from snpe_srgan.progress import SILENT, Progress, Say, track

BLOCK = 1 << 18
LARGEST_NOTE = 1 << 16  # bytes
PROGRESS_BYTES = 1 << 20  # a connection that brought this much has earned a fresh set of retries


@dataclasses.dataclass(frozen=True)
class Download:
    """A finished download."""

    path: Path
    size: int
    sha256: str
    resumed_from: int  # bytes that were there before this call


class _Broken(Exception):
    """The connection failed in a way that another try may mend."""


class _StartOver(Exception):
    """What has arrived cannot be continued; the next try begins at byte 0."""


def download(
    url: str,
    path: str | os.PathLike,
    *,
    size: int | None = None,
    sha256: str | None = None,
    retries: int = 5,
    timeout: float = 30,
    say: Say = SILENT,
    sleep: Callable[[float], None] | None = None,
) -> Download:
    """Downloads `url` to `path` (which must not exist), going on where an earlier call was cut off.

    Args:
        size, sha256: what the file must be; None where that is not known.
        retries: tries without any progress before giving up; the pauses between them double from one second.
        timeout: seconds without a byte after which a connection counts as broken.
        say: is told why and when another try follows.

    Raises:
        UsageError: another scheme than http or https.
        InputError: the file exists already, it cannot be had after all tries, or it is not the one that was promised.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UsageError("only http and https addresses can be downloaded", where=url)
    path = Path(path)
    if path.exists():
        raise InputError("the file to download exists already", where=path)
    make_folder(path.parent)
    job = _Job(url, path, size, sha256, timeout)
    try:
        return job.run(retries, say, sleep or time.sleep)
    except OSError as error:
        raise os_error(error, job.part, "write the download") from error
    finally:
        job.tidy()


class _Job:
    """One file on its way: the bytes in `.part`, their running hash, and the server's validator."""

    def __init__(self, url: str, path: Path, size: int | None, sha256: str | None, timeout: float):
        self.url, self.path, self.size, self.sha256, self.timeout = url, path, size, sha256, timeout
        self.part = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")
        self.validator = self._read_validator()
        self.digest, self.received, self.resumed_from, self.expected = hashlib.sha256(), 0, 0, size

    def run(self, retries: int, say: Say, sleep) -> Download:
        with (
            open_own(self.part, doing="go on with the unfinished download") as file,
            track(say, self.path.name, total=self.size, unit="B", scaled=True) as progress,
        ):
            self._rehash(file)
            self.resumed_from, failures, restarts = self.received, 0, 0
            while True:
                before = self.received
                try:
                    if self.size is None or self.received != self.size:
                        self._fetch(file, progress)
                    digest = self._check()
                    break
                except _StartOver as reason:
                    whole, restarts = before == 0, restarts + 1
                    self._truncate(file)
                    if whole or restarts > retries:  # got in one piece and still wrong: so is what the server has
                        raise self._failure(str(reason)) from None
                    say(f"{self.path.name}: {reason}; starting over")
                except _Broken as reason:
                    failures = 1 if self.received - before >= PROGRESS_BYTES else failures + 1
                    if failures > retries:
                        raise self._failure(str(reason)) from None
                    pause = min(2.0 ** (failures - 1), 60)
                    say(f"{self.path.name}: {reason}; trying again in {pause:.0f} s ({failures} of {retries})")
                    sleep(pause)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.part, self.path)
        return Download(self.path, self.received, digest, self.resumed_from)

    def _fetch(self, file, progress: Progress) -> None:
        """One connection: asks for what is missing and appends what comes."""
        if self.received and not self._resumable():
            self._truncate(file)
        response = self._open()
        if response is None:
            return
        with response:
            self._begin(response, file)
            progress.to(self.received, self.expected)
            while block := _read(response):
                if self.expected is not None and self.received + len(block) > self.expected:
                    raise _StartOver(f"more than the {self.expected:,} bytes that belong here arrived")
                file.write(block)
                self.digest.update(block)
                self.received += len(block)
                progress.to(self.received)
        if self.expected is not None and self.received < self.expected:
            raise _Broken(f"the connection ended after {self.received:,} of {self.expected:,} bytes")

    def _open(self):
        """The server's answer, or None when there is nothing left to ask for."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "snpe-srgan"})
        if self.received:
            request.add_header("Range", f"bytes={self.received}-")
            if self.validator:
                request.add_header("If-Range", self.validator)
        try:
            return _opener().open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416:
                    if error.headers.get("Content-Range") == f"bytes */{self.received}":
                        return None
                    raise _StartOver("the server has fewer bytes than have arrived") from None
                reason = f"the server answers {error.code} {error.reason}"
                if error.code in (408, 425, 429) or error.code >= 500:
                    raise _Broken(reason) from None
                raise InputError(reason, where=self.url, hint="another --mirror") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise InputError(f"the server's certificate is not trusted: {reason}", where=self.url) from error
            raise _Broken(f"cannot connect: {reason}") from error
        except ValueError as error:  # of the address that a server redirects to: UnicodeError, a broken IPv6 address
            raise InputError(
                f"the server redirects to an address that cannot be used: {error}",
                where=self.url,
                hint="another --mirror",
            ) from error

    def tidy(self) -> None:
        """Leaves nothing behind from which nothing can be resumed."""
        with contextlib.suppress(OSError):
            if not self.part.exists() or not self.part.stat().st_size:
                self.part.unlink(missing_ok=True)
                self.note.unlink(missing_ok=True)

    def _begin(self, response, file) -> None:
        """Takes the answer's headers in: does it go on where we are, or begin the file anew?"""
        total = _number(response.headers.get("Content-Length"))
        if response.status == 206:
            text = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", text)
            if not match or int(match[1]) != self.received:
                raise _StartOver("the server sent another range than was asked for")
            if self._is_another_file(response):
                raise _StartOver("the server has another file by now")
            total = None if match[2] == "*" else int(match[2])
        elif self.received:
            self._truncate(file)
        if self.size is not None and total is not None and total != self.size:
            raise InputError(
                f"the server's file has {total:,} bytes, {self.size:,} belong to it",
                where=self.url,
                hint="another --mirror",
            )
        self.expected = self.size if total is None else total
        self._write_validator(response)
        if self.expected is not None:
            require_space(self.part.parent, self.expected - self.received)

    def _is_another_file(self, response) -> bool:
        """Whether the rest that is sent is of another file than the beginning: a server may ignore If-Range."""
        now = [response.headers.get(name) for name in ("ETag", "Last-Modified")]
        kind = 0 if self.validator is not None and self.validator.startswith('"') else 1
        return self.validator is not None and now[kind] not in (None, self.validator)

    def _check(self) -> str:
        digest = self.digest.hexdigest()
        if self.sha256 is not None and digest != self.sha256:
            raise _StartOver(f"the checksum is wrong (SHA-256 {digest[:12]}..., {self.sha256[:12]}... belongs here)")
        return digest

    def _resumable(self) -> bool:
        """Without a validator, only a checksum can tell whether the two halves are of one file."""
        too_long = self.size is not None and self.received > self.size
        return not too_long and (self.validator is not None or self.sha256 is not None)

    def _rehash(self, file) -> None:
        file.seek(0)
        while block := file.read(BLOCK):
            self.digest.update(block)
            self.received += len(block)

    def _truncate(self, file) -> None:
        file.truncate(0)
        self.digest, self.received, self.resumed_from = hashlib.sha256(), 0, 0

    def _read_validator(self) -> str | None:
        try:
            note = json.loads(read_text(self.note, limit=LARGEST_NOTE))
            return _header_text(note["validator"]) if note["url"] == self.url else None
        except (InputError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _write_validator(self, response) -> None:
        """A strong ETag or, failing that, the date of the file: what If-Range accepts."""
        etag = response.headers.get("ETag")
        validator = _header_text(etag if etag and etag.startswith('"') else response.headers.get("Last-Modified"))
        if validator != self.validator or not self.note.exists():
            self.validator = validator
            write_json(self.note, {"url": self.url, "validator": validator}, overwrite=True)

    def _failure(self, reason: str) -> InputError:
        hint = "the same command again goes on from here, or another --mirror" if self.received else "another --mirror"
        return InputError(reason, where=self.url, hint=hint)


def require_space(folder: Path, needed: int) -> None:
    """Raises unless `needed` more bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        error = OSError(errno.ENOSPC, f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")
        raise os_error(error, folder, "store the download")


def _read(response) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"the connection broke: {error or type(error).__name__}") from error


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _header_text(value: object) -> str | None:
    """A validator that can be sent back in a header as it is."""
    return value if isinstance(value, str) and re.fullmatch(r"[\x20-\x7e]{1,1000}", value) else None


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows http and https only; urllib would also take ftp."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https"):
            raise ValueError(f"{shown(newurl)} is neither http nor https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _Redirect(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener
