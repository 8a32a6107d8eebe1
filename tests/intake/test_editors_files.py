"""Notebook files as Colab and VS Code write them: their metadata, outputs and widgets change no verdict.

Colab writes format 4.0, whose cells have no id of their own but one in their metadata, and keeps the widgets' state at
the top. VS Code writes format 4.2 or 4.5, and names the language of cells that aren't Python's.
"""

from __future__ import annotations

import json

import pytest

from tests.conftest import verdicts

SLIPS = (("dhsum = (h", "dhsum = 3 * (h"),)
ERROR = "\x1b[0;31m---------------------------------------------------------------------------\x1b[0m"


def outputs_of(bar):
    """What a cell shows that prints, draws a progress bar and a table, and raises."""
    return [
        {"output_type": "stream", "name": "stdout", "text": ["exact: True\n"]},
        {
            "output_type": "display_data",
            "data": {"text/plain": ["  0%|          | 0/10"], "application/vnd.jupyter.widget-view+json": bar},
            "metadata": {},
        },
        {"output_type": "error", "ename": "NameError", "evalue": "x", "traceback": [ERROR, "NameError: x"]},
    ]


def colab(notebook):
    bar = {"model_id": "c0ffee", "version_major": 2, "version_minor": 0}
    for number, cell in enumerate(notebook["cells"]):
        cell.pop("id", None)
        cell["metadata"] |= {"id": f"aB3{number:09}", "cellView": "form"}
        if cell["cell_type"] == "code":
            height = {"base_uri": "https://localhost:8080/", "height": 217, "referenced_widgets": ["c0ffee"]}
            cell["metadata"] |= {"colab": height, "outputId": "0123-4567"}
            cell["execution_count"] = number
            table = {
                "text/plain": ["   a"],
                "application/vnd.google.colaboratory.intrinsic+json": {"type": "dataframe"},
            }
            shown = {"output_type": "execute_result", "data": table, "metadata": {}, "execution_count": number}
            cell["outputs"] = [*outputs_of(bar), shown]
    badge = '<a href="https://example.org"><img src="https://example.org/badge.svg" alt="Open In Colab"/></a>'
    link = {"cell_type": "markdown", "metadata": {"id": "view-in-github", "colab_type": "text"}, "source": [badge]}
    notebook["cells"].insert(0, link)
    model = {"model_module": "@jupyter-widgets/controls", "model_name": "HBoxModel", "state": {"_dom_classes": []}}
    notebook["metadata"] = {
        "colab": {"provenance": [], "gpuType": "T4", "toc_visible": True, "include_colab_link": True},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
        "accelerator": "GPU",
        "widgets": {
            "application/vnd.jupyter.widget-state+json": {"c0ffee": model}
        },  # without the "state" it should have
    }
    return notebook | {"nbformat": 4, "nbformat_minor": 0}


def colab_without_our_metadata(notebook):
    """As after "Copy to Drive" of a notebook whose cells were pasted there."""
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    return colab(notebook)


def vs_code(notebook):
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["metadata"] |= {"vscode": {"languageId": "python"}, "collapsed": False}
            cell["execution_count"] = number
            cell["outputs"] = outputs_of({"model_id": "c0ffee", "version_major": 2, "version_minor": 0})
    note = {
        "cell_type": "code",
        "execution_count": None,
        "outputs": [],
        "metadata": {"vscode": {"languageId": "plaintext"}},
    }
    notebook["cells"].insert(
        len(notebook["cells"]) // 2, {**note, "id": "n0te", "source": ["what I don't understand: why (1, 3)?"]}
    )
    notebook["metadata"] = {
        "kernelspec": {"display_name": ".venv (3.11.7)", "language": "python", "name": "python3"},
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "name": "python",
        },
        "orig_nbformat": 4,
        "vscode": {"interpreter": {"hash": "31f2aee4e71d21fbe5cf8b01ff0e069b9275f58929596ceb00d14d90e3e16cd6"}},
    }
    return notebook | {"nbformat": 4, "nbformat_minor": 5}


def vs_code_of_old(notebook):
    for cell in vs_code(notebook)["cells"]:
        cell.pop("id", None)
    return notebook | {"nbformat": 4, "nbformat_minor": 2}


@pytest.mark.parametrize("written_by", [colab, colab_without_our_metadata, vs_code, vs_code_of_old])
def test_an_editors_file_is_graded_as_jupyters(written_by, solved, grade):
    for slips in ((), SLIPS):
        theirs = grade(json.dumps(written_by(json.loads(solved(*slips)))).encode())
        assert theirs.grade.status == "graded", theirs.grade.reason
        assert verdicts(theirs) == verdicts(grade(solved(*slips)))
        assert bool(slips) == any(not check.verdict.is_right for check in theirs.grade.checks)
