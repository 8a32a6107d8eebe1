"""Notebooks as bytes and cells: reading any nbformat safely, and the roles that our cells carry."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from typing import Any, Literal, cast, get_args

import nbformat
from nbformat import NotebookNode

from grader.errors import UnreadableNotebook

Role = Literal["text", "setup", "parameters", "forward", "gradients", "backward", "reference", "compare"]
ROLES: tuple[Role, ...] = get_args(Role)
REFERENCE_ROLES: tuple[Role, ...] = ("setup", "parameters", "forward")
"""The roles of the code that the student's kernel and the reference both run."""
MAKES_GRADIENTS: tuple[Role, ...] = ("gradients", "backward")
"""The roles of the code that binds what is checked: the student's own, and ours that calls what the student wrote."""

MAX_BYTES = 64 * 2**20
"""The largest notebook that is read: published attempts reach 4 MB of figures."""
MAX_CELLS = 2_000
MAX_CODE, MAX_STATEMENTS = 500_000, 20_000
"""Characters, and lines and semicolons, of a notebook's code: what is found out about it takes time with each."""
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_notebook(data: bytes) -> NotebookNode:
    """Parse a notebook of any nbformat from 3 to 4.5 and bring it to 4.5.

    What Jupyter opens is opened: a schema violation alone is no reason to refuse, the cells are cleaned instead.

    Raises:
        UnreadableNotebook: with the reason and what the student can do.
    """
    if not data.strip():
        raise UnreadableNotebook("The file is empty: save the notebook again.")
    if len(data) > MAX_BYTES:
        size = len(data) // 2**20
        raise UnreadableNotebook(
            f"The file has {size} MB and the limit is {MAX_BYTES // 2**20} MB: clear the outputs and save it again."
        )
    raw = parse_json(data)
    major = raw.get("nbformat")
    if not isinstance(major, int) or isinstance(major, bool):
        raise UnreadableNotebook("The file is JSON but not a notebook: use the .ipynb file that Jupyter saved.")
    if major > 4 or major < 3:
        raise UnreadableNotebook(
            f"The notebook has format {major} and this grader reads formats 3 and 4: save it in format 4."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing or repeated cell ids: fixed below
            notebook = nbformat.convert(nbformat.from_dict(_repaired(raw)), 4)
        # What comes from format 3 still has its sources in lines, and its cells as they were.
        notebook.cells = nbformat.from_dict(_repaired_cells(notebook.cells))
    except Exception as error:  # nbformat's converters raise anything on a malformed notebook
        raise UnreadableNotebook(
            "The file looks like a notebook but its cells are damaged: open it in Jupyter and save it again."
        ) from error
    notebook = _cleaned(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    size, statements = sum(map(len, code)), sum(source.count("\n") + source.count(";") for source in code)
    if size > MAX_CODE or statements > MAX_STATEMENTS:
        raise UnreadableNotebook(
            f"The notebook's code has {size:,} characters and {statements:,} lines and semicolons, and the limits are "
            f"{MAX_CODE:,} and {MAX_STATEMENTS:,}: delete what you pasted, or read it from a file."
        )
    return notebook


def parse_json(data: bytes) -> dict[str, Any]:
    """The file's JSON, with U+FFFD for every half of a surrogate pair.

    Raises:
        UnreadableNotebook: it is none, or no object.
    """
    try:
        text = data.decode("utf-8-sig")
        raw = json.loads(text)
        if _SURROGATE_ESCAPE.search(text):  # half a character: no file, no message and no page can hold it
            raw = json.loads(_LONE_SURROGATE.sub("\ufffd", json.dumps(raw, ensure_ascii=False)))
    except UnicodeDecodeError as error:
        raise UnreadableNotebook("The file isn't text: use the .ipynb file that Jupyter saved.") from error
    except RecursionError as error:
        raise UnreadableNotebook("The file is nested too deeply to be a notebook: save it again in Jupyter.") from error
    except ValueError as error:
        if re.search(r"^(<<<<<<<|=======|>>>>>>>)", data.decode("utf-8", "replace"), re.MULTILINE):
            raise UnreadableNotebook(
                "The file holds git conflict markers (<<<<<<<): resolve the conflict and save the notebook again."
            ) from error
        raise UnreadableNotebook("The file isn't JSON: use the .ipynb file that Jupyter saved.") from error
    if not isinstance(raw, dict):
        raise UnreadableNotebook("The file is JSON but not a notebook: use the .ipynb file that Jupyter saved.")
    return raw


def _repaired(raw: dict[str, Any]) -> dict[str, Any]:
    """The parts that nbformat's converters rely on, in a form that they survive."""
    raw = dict(raw)
    raw["nbformat_minor"] = raw["nbformat_minor"] if isinstance(raw.get("nbformat_minor"), int) else 0
    if not isinstance(raw.get("metadata"), dict):
        raw["metadata"] = {}
    if raw["nbformat"] == 3:
        if not isinstance(raw.get("worksheets"), list):
            raise ValueError("format 3 without worksheets")
        return raw
    raw["cells"] = _repaired_cells(raw.get("cells"))
    return raw


def _repaired_cells(cells: object) -> list[dict[str, Any]]:
    if not isinstance(cells, list) or len(cells) > MAX_CELLS:
        raise ValueError("no list of cells")
    return [_repaired_cell(cell) for cell in cells if isinstance(cell, dict)]


def _repaired_cell(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    kind = cell.get("cell_type")
    clean: dict[str, Any] = {
        "cell_type": kind if kind in ("code", "markdown", "raw") else "raw",
        "source": source if isinstance(source, str) else "",
        "metadata": cell["metadata"] if isinstance(cell.get("metadata"), dict) else {},
    }
    if isinstance(cell.get("id"), str):
        clean["id"] = cell["id"]
    pasted = cell.get("attachments")  # pictures in a text
    if (
        clean["cell_type"] != "code"
        and isinstance(pasted, dict)
        and all(isinstance(one, dict) for one in pasted.values())
    ):
        clean["attachments"] = pasted
    if clean["cell_type"] == "code":
        outputs = cell.get("outputs")
        clean["outputs"] = [o for o in outputs if isinstance(o, dict)] if isinstance(outputs, list) else []
        clean["execution_count"] = cell.get("execution_count")
    return clean


def _cleaned(notebook: NotebookNode) -> NotebookNode:
    """Give every cell an id of its own and drop what no kernel run needs."""
    seen: set[str] = set()
    for position, cell in enumerate(notebook.cells):
        id_ = cell.get("id")
        if not isinstance(id_, str) or not re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", id_) or id_ in seen:
            id_ = f"cell-{position}"
        while id_ in seen:
            id_ += "-again"
        seen.add(id_)
        cell["id"] = id_
        source = cell.get("source")
        # An editor on Windows may have written its line ends, and a mark of the encoding, into every cell.
        cell["source"] = re.sub("\r\n?", "\n", source.removeprefix("\ufeff")) if isinstance(source, str) else ""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def grader_metadata(node: NotebookNode) -> dict[str, Any]:
    """The `grader` metadata of a cell or notebook; empty where it has none, or something else under that name."""
    found = node.get("metadata", {}).get("grader")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def role_of(cell: NotebookNode) -> Role | None:
    """The role that a cell says it has."""
    role = grader_metadata(cell).get("role")
    return cast(Role, role) if role in ROLES else None


def part_of(cell: NotebookNode) -> str | None:
    """The id of the part that a cell says it belongs to."""
    part = grader_metadata(cell).get("part")
    return part if isinstance(part, str) else None


def grade_id_of(cell: NotebookNode) -> str | None:
    """Nbgrader's id of the cell, the one mark that survives most editors."""
    found = cell.get("metadata", {}).get("nbgrader")
    grade_id = found.get("grade_id") if isinstance(found, dict) else None
    return grade_id if isinstance(grade_id, str) and grade_id else None


def code_digest(data: bytes) -> str:
    """What tells two versions of a notebook apart: their code. Its outputs and its text change no verdict."""
    try:
        cells = read_notebook(data).cells
    except UnreadableNotebook:
        return hashlib.sha256(data).hexdigest()
    sources = [(grade_id_of(cell), cell.source) for cell in cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()
