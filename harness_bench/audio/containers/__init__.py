"""What the bytes of an audio file say: its kind, who reads it, what a cut-off one lacks.

A few short reads a file, and none of its samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.containers import flac, media, mpeg, ogg, plain, riff
from harness_bench.audio.containers.about import OTHERS, About, Bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

# Beginnings of files that are no audio, whatever their name.
_IMPOSTORS = {
    b"\x00\x05\x16": "it is a hidden companion of macOS (AppleDouble), without audio",
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file: run `git lfs pull`",
    b"PK\x03\x04": "it is a ZIP archive; unpack it first",
    b"\x1f\x8b": "it is packed by gzip; unpack it first",
    b"Rar!": "it is a RAR archive; unpack it first",
    b"7z\xbc\xaf": "it is a 7z archive; unpack it first",
    b"%PDF": "it is a PDF document",
    b"#EXTM3U": "it is a playlist, which names audio elsewhere",
    b"[playlist]": "it is a playlist, which names audio elsewhere",
    b"ffconcat": "it is a playlist, which names audio elsewhere",
    b"ajkg": "its samples are packed by shorten; unpack it first: shorten -x IN.shn OUT.wav",
}
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")


def examine(file: BinaryIO) -> About:
    """Say how a file is read, by its bytes.

    Raises:
        AudioFault: it is something else than audio, or nothing of it can be decoded.
    """
    found = Bytes(file)
    head = found.head
    if kind := _KINDS.get(head[:4]):
        return kind(found)
    if head[4:8] in _MP4:
        return media.examine_mp4(found)
    start = mpeg.tag_size(found)
    if found.at(start, 4) == b"fLaC":
        return flac.examine(found, start)
    if about := mpeg.examine(found, start):
        return about
    _refuse_impostors(head)
    return OTHERS


def _refuse_impostors(head: bytes) -> None:
    for beginning, told in _IMPOSTORS.items():
        if head.startswith(beginning):
            raise AudioFault(Fault.UNREADABLE, told)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGES):
        told = "it is a web page, not audio: its download was refused or it has moved"
        raise AudioFault(Fault.UNREADABLE, told)
    if text.startswith((b'{"', b"{'", b"{\n")):
        raise AudioFault(Fault.UNREADABLE, "it is text (JSON), not audio: the answer of a server?")
    if b"/annex/objects/" in head[:512]:
        told = "it is a pointer of git-annex, not the file: run `git annex get`"
        raise AudioFault(Fault.UNREADABLE, told)


_KINDS: dict[bytes, Callable[[Bytes], About]] = {
    b"RIFF": riff.examine,
    b"RIFX": riff.examine,
    b"RF64": riff.examine,
    b"BW64": riff.examine,
    b"riff": riff.examine_w64,
    b"FORM": plain.examine_aiff,
    b".snd": plain.examine_au,
    b"dns.": plain.examine_au,
    b"caff": plain.examine_caf,
    b"NIST": plain.examine_sphere,
    b"OggS": ogg.examine,
    b"fLaC": flac.examine,
    b"\x30\x26\xb2\x75": media.examine_asf,
    b"\x1a\x45\xdf\xa3": media.examine_matroska,
}
_MP4 = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
