"""What the libraries' own command-line tools say of a file: pixels, and whether they complained.

djpeg (libjpeg-turbo-progs), pngtopam, giftopnm and bmptopnm (netpbm), tiffcp (libtiff-tools),
gif2rgb (giflib-tools), dwebp (webp), opj_decompress (libopenjp2-tools), avifdec (libavif-bin).
A complaint about metadata alone does not count.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Verdict:
    """``pixels`` is None where the tool gave none, or none that can be compared."""

    is_clean: bool
    complaint: str
    pixels: np.ndarray | None


@dataclass(frozen=True)
class Tool:
    """Programs and a shell's command; lines that match ``about_metadata`` are let be."""

    programs: tuple[str, ...]
    command: str
    complains: str
    about_metadata: str = r"$^"


TOOLS = {  # by extension
    "jpg": Tool(
        ("djpeg",),
        "djpeg -pnm IN > OUT.ppm",
        ".",
        "JFIF|Adobe|ICC|Invalid SOS parameters",  # of a sequential JPEG: nobody reads them
    ),
    "png": Tool(("pngtopam",), "pngtopam -mix -background=white IN > OUT.ppm", "."),
    "tif": Tool(
        ("tiffcp",),
        "tiffcp -c none IN OUT.tif",
        ".",
        "Unknown field|Invalid SOS parameters|[Ii]ncorrect count|Null count|wrong data type"
        "|not sorted|custom tag|directory count|Failed to read directory|StripByteCounts",
    ),
    "gif": Tool(("gif2rgb", "giftopnm"), "gif2rgb -o OUT IN && giftopnm IN > OUT.ppm", "[Ee]rror"),
    "bmp": Tool(("bmptopnm",), "bmptopnm IN > OUT.ppm", "[Ee]rror|EOF|[Ww]arning", "unread"),
    "ppm": Tool(("pamtopnm",), "pamtopnm IN > OUT.ppm || true", ".", "bad magic"),  # a second one
    "webp": Tool(("dwebp",), "dwebp IN -ppm -o OUT.ppm", "failed"),
    "jp2": Tool(("opj_decompress",), "opj_decompress -i IN -o OUT.ppm", "WARNING|ERROR"),
    "avif": Tool(("avifdec",), "avifdec IN OUT.png", "WARNING|ERROR"),
}


def is_there(extension: str) -> bool:
    return all(shutil.which(program) for program in TOOLS[extension].programs)


def judge(data: bytes, extension: str, folder: Path) -> Verdict:
    """Run the format's tool on the bytes; ``folder`` is where files may be written."""
    tool = TOOLS[extension]
    for old in folder.glob("out*"):
        old.unlink()
    given = folder / f"in.{extension}"
    given.write_bytes(_with_end(data) if extension == "png" else data)
    command = tool.command.replace("IN", given.name).replace("OUT", "out")
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, timeout=60)
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    complaints = [
        line
        for line in lines
        if re.search(tool.complains, line) and not re.search(tool.about_metadata, line)
    ]
    found = next((f for f in folder.glob("out.*") if f.suffix in (".ppm", ".png", ".tif")), None)
    pixels = None
    if done.returncode == 0 and found is not None and not complaints:
        with Image.open(found) as image:
            if image.mode in ("RGB", "L", "1"):
                pixels = np.array(image.convert("RGB"))
            elif image.mode.startswith("I"):  # 16 bit, of which the nearest 8 are left
                grey = np.floor(np.asarray(image) / 257 + 0.5).astype(np.uint8)
                pixels = np.repeat(grey[..., None], 3, 2)
    return Verdict(done.returncode == 0 and not complaints, "; ".join(complaints[:3]), pixels)


def _with_end(png: bytes) -> bytes:
    """A PNG without its end chunk, or with a damaged one, is judged by its pixels."""
    end = b"\0\0\0\0IEND\xaeB`\x82"
    at = png.rfind(b"IDAT")
    if at < 4:
        return png
    behind = at + 8 + int.from_bytes(png[at - 4 : at], "big")
    return png[:behind] + end if behind <= len(png) < behind + 12 else png
