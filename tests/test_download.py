"""Download and extraction against a real server on 127.0.0.1 that breaks, lies and cheats."""

import dataclasses
import hashlib
import http.server
import io
import json
import shutil
import stat
import threading
import zipfile

import numpy as np
import pytest
from helpers_cli import snpe_srgan
from PIL import Image

from snpe_srgan.artifacts.files import sha256
from snpe_srgan.data import catalogue, div2k
from snpe_srgan.data import download as download_module
from snpe_srgan.data.catalogue import ARCHIVES, Archive, select
from snpe_srgan.data.download import download
from snpe_srgan.data.extract import extract
from snpe_srgan.errors import InputError, UsageError

BODY = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()


@dataclasses.dataclass
class Behaviour:
    """What the server does; the handler appends to `requests` (the Range header or None)."""

    body: bytes = BODY
    files: dict = dataclasses.field(default_factory=dict)  # name -> bytes; others get `body`
    drop_after: list = dataclasses.field(default_factory=list)  # bytes sent before hanging up, one entry a request
    ranges: bool = True
    etag: str | None = '"v1"'
    status: int | None = None
    content_length: bool = True
    if_range: bool = True  # whether it heeds If-Range
    redirect: str | None = None  # where it sends the one who asks
    headers: dict = dataclasses.field(default_factory=dict)  # in place of its own
    requests: list = dataclasses.field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server: Behaviour = self.server.behaviour
        asked, start = self.headers.get("Range"), 0
        server.requests.append(asked)
        if server.status:
            return self.send_error(server.status)
        if server.redirect is not None and self.path == "/file.zip":
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = server.files.get(self.path.lstrip("/"), server.body)
        unchanged = not server.if_range or self.headers.get("If-Range") in (None, server.etag)
        if asked and server.ranges and unchanged:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.content_length and "Content-Length" not in server.headers:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + server.drop_after.pop(0) if server.drop_after else len(body)
        self.wfile.write(body[start:end])


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.behaviour = Behaviour()
        httpd.behaviour.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield httpd.behaviour
        httpd.shutdown()


@pytest.fixture
def get(server, tmp_path):
    """Downloads the server's file; no pause between tries."""

    def get(**options):
        options = {"size": len(BODY), "sha256": SHA, "sleep": lambda s: None, **options}
        return download(server.url + "/file.zip", tmp_path / "file.zip", **options)

    return get


def interrupted(get, server, at=100_000):
    """Leaves a half-finished download behind, as a kill or a long outage does."""
    server.drop_after = [at]
    with pytest.raises(InputError):
        get(retries=0)
    server.requests.clear()


# --- one file


def test_whole_file_arrives_and_nothing_else_is_left(get, tmp_path):
    done = get()
    assert done.path.read_bytes() == BODY and done.sha256 == SHA
    assert [p.name for p in tmp_path.iterdir()] == ["file.zip"]


def test_dropped_connection_is_taken_up_where_it_broke(get, server):
    server.drop_after = [100_000, 50_000]
    pauses = []
    assert get(sleep=pauses.append).path.read_bytes() == BODY
    assert server.requests == [None, "bytes=100000-", "bytes=150000-"] and pauses == [1.0, 2.0]


def test_later_run_resumes(get, server, tmp_path):
    interrupted(get, server)
    assert not (tmp_path / "file.zip").exists()
    assert get().resumed_from == 100_000 and server.requests == ["bytes=100000-"]


def test_server_that_ignores_ranges_sends_all_of_it_again(get, server):
    server.ranges = False
    interrupted(get, server)
    assert get().path.read_bytes() == BODY


@pytest.mark.parametrize("checksum_known", [True, False])
def test_file_that_changed_in_between_is_not_glued_together(get, server, checksum_known):
    interrupted(get, server)
    server.body, server.etag = BODY[::-1], '"v2"'
    known = hashlib.sha256(server.body).hexdigest() if checksum_known else None
    assert get(sha256=known).path.read_bytes() == BODY[::-1]


def test_changed_file_without_validator_is_caught_by_the_checksum(get, server):
    server.etag = None
    interrupted(get, server)
    server.body = BODY[::-1]
    assert get(sha256=hashlib.sha256(server.body).hexdigest()).path.read_bytes() == BODY[::-1]
    assert server.requests == ["bytes=100000-", None]


def test_without_validator_and_checksum_it_starts_over(get, server):
    server.etag = None
    interrupted(get, server)
    assert get(sha256=None).path.read_bytes() == BODY and server.requests == [None]


def test_complete_part_needs_no_byte_more(get, server, tmp_path):
    interrupted(get, server)
    (tmp_path / "file.zip.part").write_bytes(BODY)
    assert get(size=None).path.read_bytes() == BODY and server.requests == ["bytes=300000-"]


def test_part_longer_than_the_file_starts_over(get, server, tmp_path):
    interrupted(get, server)
    (tmp_path / "file.zip.part").write_bytes(BODY + b"more")
    assert get(size=None).path.read_bytes() == BODY and server.requests == ["bytes=300004-", None]


def test_wrong_checksum_is_an_error_and_keeps_nothing_to_resume(get, server, tmp_path):
    with pytest.raises(InputError, match="checksum is wrong"):
        get(sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []
    assert get().path.read_bytes() == BODY


def test_file_of_another_size_is_refused_at_once(get, server):
    with pytest.raises(InputError, match="300,000 bytes, 299,999 belong"):
        get(size=len(BODY) - 1)


def test_endless_answer_is_cut_off(get, server, tmp_path):
    server.content_length = False
    with pytest.raises(InputError, match="more than"):
        get(size=1000, sha256=None)
    assert not (tmp_path / "file.zip").exists()


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 3), (500, 3)])
def test_only_passing_faults_are_tried_again(get, server, status, tries):
    server.status = status
    with pytest.raises(InputError, match=str(status)):
        get(retries=2)
    assert len(server.requests) == tries


def test_dead_server_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot connect"):
        download("http://127.0.0.1:9/x", tmp_path / "x", retries=1, sleep=lambda s: None)


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(UsageError):
        download("file:///etc/passwd", tmp_path / "x")


def test_full_disk_is_told_before_the_download(get, server, monkeypatch):
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="are free"):
        get()


# --- a server that lies


@pytest.mark.parametrize("length", ["many", "\xb2", "9" * 5000, "-1", ""])
def test_length_that_is_no_number_counts_as_unknown(get, server, length):
    server.headers = {"Content-Length": length}
    assert get(size=None).path.read_bytes() == BODY


@pytest.mark.parametrize(
    "address",
    ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::1/x", "http://a..b/x", "http://" + "x" * 300 + "/",
     "data:,x", "http://127.0.0.1:99999999/x", "http://127.0.0.1:x/"],
)  # fmt: skip
def test_redirect_to_an_address_that_cannot_be_used(get, server, tmp_path, address):
    server.redirect = address
    with pytest.raises(InputError) as error:
        get(retries=0)
    assert len(error.value.lines()) <= 3 and not list(tmp_path.iterdir())


def test_redirect_is_followed(get, server):
    server.redirect = "/elsewhere.zip"
    assert get().path.read_bytes() == BODY


def test_redirect_in_a_circle_ends(get, server):
    server.redirect = "/file.zip"
    with pytest.raises(InputError, match="302"):
        get(retries=0)


def test_rest_of_another_file_is_not_appended(get, server):
    """A server that does not heed If-Range, and no checksum is known."""
    interrupted(get, server)
    server.body, server.etag, server.if_range = BODY[::-1], '"v2"', False
    assert get(sha256=None).path.read_bytes() == BODY[::-1]
    assert server.requests == ["bytes=100000-", None]


def test_file_that_changes_with_every_request_is_given_up(get, server):
    server.if_range, server.drop_after = False, [100] * 100
    versions = iter(range(1000))

    def change(text):
        server.etag = f'"{next(versions)}"'

    with pytest.raises(InputError):
        get(sha256=None, say=change)
    assert len(server.requests) < 30


@pytest.mark.parametrize(
    "note", [b"[" * 200_000, b"\xff", b"[]", b'{"url": 1}', b'{"url": "URL", "validator": "a\\r\\nX: y"}']
)
def test_damaged_note_beside_the_part_is_as_none(get, server, tmp_path, note):
    interrupted(get, server)
    (tmp_path / "file.zip.part.json").write_bytes(note.replace(b"URL", f"{server.url}/file.zip".encode()))
    assert get().path.read_bytes() == BODY


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_part_that_is_a_link_is_not_followed(get, tmp_path, make):
    own = tmp_path / "thesis.txt"
    own.write_bytes(b"mine")
    getattr(tmp_path / "file.zip.part", make)(own)
    with pytest.raises(InputError, match=r"unfinished download: .* link"):
        get()
    assert own.read_bytes() == b"mine"


def test_hint_promises_to_go_on_only_where_something_is_left(get, server):
    with pytest.raises(InputError) as error:
        get(sha256="0" * 64)
    assert "goes on" not in error.value.hint
    server.drop_after = [1000]
    with pytest.raises(InputError) as error:
        get(retries=0)
    assert "goes on" in error.value.hint


# --- the archive


def zipped(members, **changes):
    """A zip file's bytes; `members` maps names to content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = changes.get("mode", 0o644) << 16
            file.writestr(info, content)
    return buffer.getvalue()


def broken_crc(data):
    at = data.rindex(b"PK\x01\x02") + 16  # CRC-32 of the central directory
    return data[:at] + bytes(4) + data[at + 4 :]


EVIL = {
    "parent folder": zipped({"../a.png": b"x"}),
    "inner parent": zipped({"D/../../a.png": b"x"}),
    "absolute": zipped({"/etc/a.png": b"x"}),
    "drive": zipped({"C:\\a.png": b"x"}),
    "backslash": zipped({"..\\a.png": b"x"}),
    "link": zipped({"D/a.png": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777),
    "bomb": zipped({"D/a.png": bytes(50_000_000)}),
    "twice": zipped({"D/a.png": b"x", "E/a.png": b"y"}),
    "missing": zipped({"D/b.png": b"x"}),
    "truncated": zipped({"D/a.png": BODY})[:-1000],
    "wrong CRC": broken_crc(zipped({"D/a.png": BODY})),
    "no zip": b"<html>captive portal</html>",
}


@pytest.mark.parametrize("name", EVIL)
def test_evil_archive_is_refused_whole(tmp_path, name):
    archive = tmp_path / "in" / "x.zip"
    archive.parent.mkdir()
    archive.write_bytes(EVIL[name])
    with pytest.raises(InputError, match="archive"):
        extract(archive, tmp_path / "out" / "D", ["a.png"])
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p != archive]
    assert not (tmp_path / "out" / "D").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damaged_member_blames_the_archive(tmp_path, method):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("D/a.png", BODY)
    data = bytearray(archive.read_bytes())
    data[1000:2000] = bytes(1000)
    archive.write_bytes(data)
    with pytest.raises(InputError, match="the archive is damaged") as error:
        extract(archive, tmp_path / "D", ["a.png"])
    assert error.value.where == str(archive)


def test_lying_size_is_bounded(tmp_path):
    data = bytearray(EVIL["bomb"])  # claims one byte, unpacks to 50 MB
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (1).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match="archive"):
        extract(tmp_path / "x.zip", tmp_path / "D", ["a.png"])
    assert not (tmp_path / "D").exists()


# --- the data set


@pytest.fixture
def tiny_div2k(server, monkeypatch):
    """The catalogue with three pictures a split, and a server that has its archives."""
    monkeypatch.setattr(catalogue, "SPLITS", {"train": range(1, 4), "valid": range(801, 804)})
    archives = []
    for archive in ARCHIVES:
        png = io.BytesIO()
        Image.new("RGB", (96 // (archive.scale or 1), 48 // (archive.scale or 1))).save(png, "png")
        body = zipped({f"{archive.folder}/{name}": png.getvalue() for name in archive.pictures})
        server.files[archive.file] = body
        archives.append(dataclasses.replace(archive, size=len(body), sha256=hashlib.sha256(body).hexdigest()))
    monkeypatch.setattr(catalogue, "ARCHIVES", tuple(archives))
    return archives


def fetch(server, root, **options):
    return div2k.fetch(select(["train", "valid"], [4]), root, mirror=server.url, **options)


def test_catalogue_names_what_the_server_has():
    assert [a.file for a in select(["valid"], [2])] == ["DIV2K_valid_HR.zip", "DIV2K_valid_LR_bicubic_X2.zip"]
    assert [len(a.pictures) for a in select(["train", "valid"], [])] == [800, 100]
    assert Archive("train", 4, None, None).pictures[-1] == "0800x4.png"
    assert all(len(a.sha256) == 64 and a.size for a in ARCHIVES)


def test_data_set_is_laid_out_and_trainable(server, tiny_div2k, tmp_path):
    from snpe_srgan.data.sources import find_pictures

    fetched = fetch(server, tmp_path / "DIV2K")
    assert all(f.downloaded and f.verified == "SHA-256" for f in fetched)
    pairs = find_pictures("div2k", root=tmp_path, split="valid", scale=4)
    assert [(p.hr.name, p.lr.name) for p in pairs] == [(f"080{i}.png", f"080{i}x4.png") for i in (1, 2, 3)]
    assert not list(tmp_path.rglob("*.zip*"))


def test_second_run_asks_the_server_nothing(server, tiny_div2k, tmp_path):
    fetch(server, tmp_path)
    server.requests.clear()
    assert not any(f.downloaded for f in fetch(server, tmp_path)) and not server.requests


def test_interrupted_run_goes_on(server, tiny_div2k, tmp_path):
    server.drop_after = [10**6, 100]  # the second archive breaks, and stays broken

    def outage(text):
        if "trying again" in text:
            server.status = 404

    with pytest.raises(InputError, match="404"):
        fetch(server, tmp_path, say=outage)
    server.status = None
    server.requests.clear()
    assert [f.downloaded for f in fetch(server, tmp_path)] == [False, True, True, True]
    assert server.requests == ["bytes=100-", None, None]


def test_kept_archive_is_used_again(server, tiny_div2k, tmp_path):
    fetch(server, tmp_path, keep_archives=True)
    shutil.rmtree(tmp_path / "DIV2K_valid_HR")
    server.requests.clear()
    fetch(server, tmp_path, keep_archives=True)
    assert not server.requests and (tmp_path / "DIV2K_valid_HR" / "0803.png").exists()
    (tmp_path / "DIV2K_valid_HR.zip").write_bytes(b"else")
    shutil.rmtree(tmp_path / "DIV2K_valid_HR")
    with pytest.raises(InputError, match="not the published archive"):
        fetch(server, tmp_path, keep_archives=True)


def test_incomplete_folder_is_replaced_only_on_request(server, tiny_div2k, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "DIV2K_train_HR" / "0002.png").unlink()
    with pytest.raises(InputError, match="2 of 3 pictures"):
        fetch(server, tmp_path)
    fetch(server, tmp_path, overwrite=True)
    assert (tmp_path / "DIV2K_train_HR" / "0002.png").exists()


def test_unpublished_checksum_is_said_so(server, tiny_div2k, tmp_path):
    unknown = [dataclasses.replace(a, sha256=None) for a in select(["valid"], [])]
    (done,) = div2k.fetch(unknown, tmp_path, mirror=server.url)
    assert "no checksum is published" in done.verified and sha256(done.folder / "0801.png")


# --- the command line


def run_data(*arguments):
    done = snpe_srgan("data", *arguments)
    assert done.code == 0, done.err
    return done


def test_download_command_prints_one_json_object(server, tiny_div2k, tmp_path):
    result = run_data("download", "--split", "valid", "--mirror", server.url, "-o", tmp_path / "d", "--json")
    archives = json.loads(result.out)["archives"]
    assert [a["archive"] for a in archives] == ["DIV2K_valid_HR.zip", "DIV2K_valid_LR_bicubic_X4.zip"]
    assert "academic research" in result.err


def test_sample_prepare_info_commands(tmp_path):
    root = tmp_path / "data"
    assert json.loads(run_data("sample", "-o", root / "sample", "--json").out)["train"] == 9
    before = json.loads(run_data("info", "sample", "--root", root, "--json").out)
    made = json.loads(run_data("prepare", "sample", "--root", root, "-o", root / "cache", "--json").out)
    after = json.loads(run_data("info", "sample", "--root", root, "--json").out)
    assert (before["cache"], after["cache"]) == (None, made["folder"])
    assert after["pictures"] == after["with_lr"] == 9 and after["kinds"] == {"8-bit RGB": 9}
    assert json.loads(run_data("info", made["folder"], "--json").out)["pictures"] == 9
    assert "192x192" in run_data("info", "sample", "--root", root).out
