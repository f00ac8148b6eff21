"""What a file of weights is, by its first bytes: a form that can be read, or words for a person.

Endings are not believed: the same file is called .pth, .pth.tar, .ckpt or .bin.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from deepfeat.errors import DeepfeatError, WeightsError, printable
from deepfeat.networks.weights import caffemodel, mat, pth, safetensor
from deepfeat.networks.weights.held import Contents, Opening, held

Layout = Literal["torchvision", "caffe-names"]
Read = TypeVar("Read")

HEAD_BYTES = 1024
FETCH = "Fetch the file again."
UNPACK = "Unpack it first."


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of weights file.

    Its endings, reader, naming of keys, the rounding of its trainer, and how a person opens a
    file in Python, if that is a matter of a line.
    """

    endings: tuple[str, ...]
    read: Callable[[Path], Contents]
    layout: Layout
    pooling: Literal["floor", "ceil"]
    opening: Callable[[Path], Opening] | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file that holds no weights that can be read here: what it is, and what to do."""

    what: str
    advice: str


SAFETENSORS = Form(
    (".safetensors",),
    lambda path: held(safetensor.read(path)),
    "torchvision",
    "floor",
    safetensor.opening,
)
TORCH = Form(
    (".pth", ".pt", ".pth.tar", ".ckpt", ".bin"),
    pth.read,
    "torchvision",
    "floor",
    pth.opening,
)
MAT = Form((".mat",), lambda path: held(mat.read(path)), "caffe-names", "ceil")
CAFFEMODEL = Form((".caffemodel",), caffemodel.read, "caffe-names", "ceil")
FORMS = (SAFETENSORS, TORCH, MAT, CAFFEMODEL)
ENDINGS = {ending: form for form in FORMS for ending in form.endings}

ONNX = Foreign("an ONNX model", "Convert its weights to .safetensors with torch's names.")
PAGE = Foreign("a web page, not the file behind it", "Download the file itself.")
TEXT = Foreign(
    "a text, perhaps a message of the server instead of the file",
    "Open it in an editor to see what it says, then fetch the file again.",
)
# Looked at in order: what a file begins with -> what it is.
SIGNATURES: tuple[tuple[bytes, Form | Foreign], ...] = (
    (rb"\Z", Foreign("empty", FETCH)),
    (rb"PK\x03\x04|PK\x05\x06", TORCH),
    (rb"\x80[\x02-\x05].{0,16}\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", TORCH),
    (
        rb"\x80[\x02-\x05]",
        Foreign(
            "a pickle that torch.save did not write",
            "Load it where you trust it, and save its tensors by torch.save or as .safetensors.",
        ),
    ),
    (rb".{257}ustar", Foreign("a tar archive, or of torch before 0.1.10", UNPACK)),
    (rb"MATLAB|.{126}(IM|MI)", MAT),
    (
        rb"\x89HDF\r\n\x1a\n",
        Foreign("an HDF5 file, as Keras writes it", "Convert its weights to .safetensors."),
    ),
    (rb".{5}\x00{3}\{", SAFETENSORS),
    (rb"\x1f\x8b", Foreign("compressed by gzip", UNPACK)),
    (rb"BZh", Foreign("compressed by bzip2", UNPACK)),
    (rb"\xfd7zXZ", Foreign("compressed by xz", UNPACK)),
    (rb"\x28\xb5\x2f\xfd", Foreign("compressed by zstd", UNPACK)),
    (rb"7z\xbc\xaf|Rar!", Foreign("a 7z or RAR archive", UNPACK)),
    (
        rb"version https://git-lfs",
        Foreign("a pointer of Git LFS, not the file it stands for", "Fetch it by 'git lfs pull'."),
    ),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", PAGE),
    (
        rb"\s*\{.*weight_map",
        Foreign(
            "the index of a file in parts",
            "Join the parts into one .safetensors file, and give that.",
        ),
    ),
    (rb"\s*[\{\[]", Foreign("JSON, not weights", "Give the file with the numbers.")),
    (rb"\xff\xfe[^\x00]\x00|\xfe\xff\x00[^\x00]", TEXT),  # UTF-16
    (rb"(\xef\xbb\xbf)?([\t\n\r\f -~]|[\xc2-\xf4][\x80-\xbf]{1,3}){4,}[\xc2-\xf4]?\Z", TEXT),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", ONNX),
    (rb"\x93NUMPY", Foreign("a NumPy array", "Save all tensors by name, as .safetensors.")),
    (rb"GGUF|.{4}TFL3", Foreign("a GGUF or TensorFlow Lite model", "Convert it to .safetensors.")),
    (rb"[\x0a\x12\x1a]|\xa2\x06", CAFFEMODEL),
)


def form_of(path: Path) -> Form:
    """The form of a file, by its contents; where they tell nothing, by its ending.

    Raises
    ------
    WeightsError
        If it is something else, which is named, or nothing that is known.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for pattern, found in SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            if isinstance(found, Form):
                return found
            raise WeightsError(
                f"weights file '{path}' is refused: it is {found.what}",
                expected=KNOWN,
                advice=found.advice,
            )
    if form := ENDINGS.get(path.suffix.lower()):
        return form
    raise WeightsError(f"'{path}' is in no known form", expected=KNOWN)


KNOWN = "weights saved by torch.save, or in a .safetensors, .mat or .caffemodel file"


def guarded(path: Path, read: Callable[[], Read]) -> Read:
    """What ``read`` gives; whatever a reader stumbles over, the file is the cause.

    Raises
    ------
    WeightsError
        For everything that goes wrong but a disk that fails (``OSError``).
    """
    try:
        return read()
    except DeepfeatError:
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
            raise
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    words = str(error).splitlines()
    what = printable(words[0][:120]) if words else type(error).__name__
    return WeightsError(
        f"weights file '{path}' is refused: it is damaged, or cannot be read ({what})",
        expected=KNOWN,
        advice=FETCH,
    )
