"""Gradescope's export: a folder for each submission, and a file that says whose each is."""

from __future__ import annotations

from datetime import datetime

from grader.errors import SubmissionError
from grader.intake.handed_in.arrived import Arrived
from grader.intake.handed_in.files import content
from grader.intake.handed_in.names import composed
from grader.intake.handed_in.owners import Identity, Owner
from grader.timestamps import NotATime, parse_time

METADATA = "submission_metadata.yml"


def submissions_in(file: Arrived) -> dict[str, object]:
    """The folder of each submission, and what the file says about it; nothing where it can't be read."""
    import yaml  # an installation for students has none

    try:
        found = yaml.load(content(file), Loader=yaml.BaseLoader)  # noqa: S506  (every scalar is a string, and nothing else)
    except (SubmissionError, yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}
    return {str(name): about for name, about in found.items()} if isinstance(found, dict) else {}


def submitters(about: object) -> list[Owner]:
    """Whose a submission is: a group has several."""
    if not isinstance(about, dict):
        return []
    remarks = []
    try:
        submitted: datetime | None = parse_time(str(about.get(":created_at", "")))
    except NotATime:
        submitted, remarks = None, [f"{METADATA} doesn't say when it was handed in"]
    people = about.get(":submitters")
    owners = []
    for person in people if isinstance(people, list) else []:
        said = (
            {key: str(person.get(f":{key}") or "").strip() for key in ("name", "email", "sid")}
            if isinstance(person, dict)
            else {}
        )
        student = said.get("name") or said.get("email") or said.get("sid")
        if student:
            identities = [Identity(kind, said[kind]) for kind in ("email", "sid") if said[kind]]
            owners.append(Owner(composed(student), identities, submitted=submitted, remarks=remarks))
    return owners
