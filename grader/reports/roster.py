"""A class list as a platform or a person wrote it: what its columns are, in whose language, and whose row is whose."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

from grader.intake.handed_in.names import loose
from grader.intake.handed_in.owners import Identity
from grader.records import Record

Kind = Literal["email", "login", "number", "canvas", "participant", "github", "full", "first", "last", "grade"]

_HEADERS: dict[Kind, str] = {
    "email": """email|email address|e-mail|mail|e-mail-adresse|e-mailadresse|adresse de courriel|adresse e-mail|courriel
        |dirección de correo|dirección email|correo electrónico|correo|indirizzo email|indirizzo e-mail
        |endereço de email|endereço de e-mail|e-mailadres|adres e-mail|adres email|e-postadress
        |адрес электронной почты|电子邮件地址|メールアドレス""",
    "login": """sis login id|login|login id|username|user name|user|anmeldename|nutzername|benutzername
        |nom d'utilisateur|nombre de usuario|nome utente|username|nome de utilizador|identificação de usuário
        |gebruikersnaam|nazwa użytkownika|användarnamn|логин|用户名|ユーザ名""",
    "number": """sis user id|sid|student id|student number|id number|number|id-nummer|matrikelnummer|matrikel
        |numéro d'identification|numéro d'étudiant|número de id|matrícula|codice identificativo|numero id|matricola
        |número de identificação|número id|numer id|индивидуальный номер|学号|id号码|idナンバー""",
    "github": "github|github_username|github username|github user|github login|github name",
    "full": """student|full name|name|student name|roster_identifier|identifier name|vollständiger name|nom complet
        |nombre completo|nome completo|volledige naam|imię i nazwisko|fullständigt namn|полное имя|全名|氏名""",
    "first": """first name|firstname|given name|vorname|prénom|nombre|nome|voornaam|imię|förnamn|имя|名""",
    "last": """last name|lastname|surname|family name|nachname|nom|nom de famille|apellido(s)|apellidos|cognome
        |sobrenome|apelido|achternaam|nazwisko|efternamn|фамилия|姓|姓氏""",
    "grade": "grade|bewertung|note|calificación|valutazione|voto|nota|avaliação|cijfer|ocena|betyg|оценка|成绩|評点",
}
_KINDS = {header.strip(): kind for kind, text in _HEADERS.items() for header in text.split("|")}
_PARTICIPANT = re.compile(r"(?P<word>\D*[^\W\d_]\D*?)\s*(?P<number>\d+)")
"""Moodle's name of somebody in an assignment, in any language: `Participant 12345`."""
POINTS_POSSIBLE = "Points Possible"
_NOBODY = {(POINTS_POSSIBLE,), ("Student, Test",), ("Student", "Test")}
"""Canvas's rows of nobody, by their names: the maxima, and its test student."""
_STRICT: tuple[Kind, ...] = ("email", "login", "number", "canvas", "participant", "github", "full")
"""The columns in which a student is looked for, the surest first."""
_OF_IDENTITY: Mapping[str, tuple[Kind, ...]] = {
    "canvas": ("canvas",),
    "moodle": ("participant",),
    "github": ("github",),
    "email": ("email", "login"),
    "sid": ("number", "login"),
}
_Index = Mapping[str, set[int]]


class Person(Record, frozen=True):
    """Somebody who handed something in: the student's name, and what platforms know them by."""

    student: str
    identities: list[Identity] = []


class Roster(Record, frozen=True, dict=True):
    """A CSV file that a learning platform exported: its header, its rows by column, and their lines in the file."""

    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int] = []

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Column → what it is, where that can be told: by its header, in one of several languages, or its cells."""
        canvas = "SIS Login ID" in self.columns or "SIS User ID" in self.columns
        found: dict[str, Kind] = {}
        for column in self.columns:
            kind = _KINDS.get(column.strip().casefold())
            if kind is not None:
                found[column] = kind
            elif canvas and column.strip() == "ID":
                found[column] = "canvas"
            elif cells := [row[column] for row in self.people if row.get(column, "").strip()]:
                if "@" in cells[0] and all("@" in cell for cell in cells):
                    found[column] = "email"
                elif column == self.columns[0] and _is_participant(cells):
                    found[column] = "participant"
        return found

    @cached_property
    def people(self) -> list[dict[str, str]]:
        """The rows that are somebody's: of Canvas's, one says which assignments have their marks hidden."""
        who = [column for column in self.columns if _KINDS.get(column.strip().casefold(), "grade") != "grade"]
        names = [column for column in who if _KINDS[column.strip().casefold()] in ("full", "last", "first")]
        return [
            row
            for row in self.rows
            if any(row[column].strip() for column in who or self.columns)
            and tuple(row[column].strip() for column in names if row[column].strip()) not in _NOBODY
        ]

    def name(self, row: Mapping[str, str]) -> str:
        """What a row calls its student: the full name, else the address, the login, or whatever stands first."""
        said = [row.get(column, "").strip() for column in self.of_kind("full")]
        said.append(
            " ".join(row.get(column, "").strip() for kind in ("first", "last") for column in self.of_kind(kind))
        )
        said += [row.get(column, "") for kind in _STRICT for column in self.of_kind(kind)]
        return next((name.strip() for name in [*said, *row.values()] if name.strip()), "")

    def own(self, row: Mapping[str, str]) -> str:
        """What a row has to tell its student from another one of the same name."""
        said = (row.get(column, "").strip() for kind in _STRICT for column in self.of_kind(kind) if kind != "full")
        return next((value for value in said if value), str(self.people.index(dict(row)) + 1))

    def of_kind(self, kind: str) -> list[str]:
        """The columns that are of a kind."""
        return [column for column, its in self.kinds.items() if its == kind]

    def rows_of(self, people: Sequence[Person]) -> dict[str, int]:
        """Student → the number of the row among `self.people`, where exactly one is theirs.

        What a platform knows somebody by is surer than a name, a cell that is the very name is surer than one that is
        the same without spaces, commas and accents, and the last guess is an address that begins with the name.
        """
        cells, names, local = self._indexes
        found: dict[str, int] = {}
        for person in people:
            known = [(kind, each.value) for each in person.identities for kind in _OF_IDENTITY.get(each.kind, ())]
            tries: list[tuple[_Index, list[str]]] = [
                (cells, [_key(kind, value) for kind, value in known]),
                (cells, [_key(kind, person.student) for kind in _STRICT]),
                (names, [_folded(person.student), _folded(" ".join(reversed(person.student.split(","))))]),
                (local, [_plain(person.student)]),
            ]
            matches = next((index[key] for index, keys in tries for key in keys if index.get(key)), set())
            if len(matches) == 1:
                (found[person.student],) = matches
        return found

    @cached_property
    def _indexes(self) -> tuple[_Index, _Index, _Index]:
        cells, names, local = defaultdict(set), defaultdict(set), defaultdict(set)
        for number, row in enumerate(self.people):
            for kind, value in self._values(row):
                cells[_key(kind, value)].add(number)
                if kind == "full":
                    names[_folded(value)].add(number)
                    names[_folded(" ".join(reversed(value.split(","))))].add(number)
                elif kind == "email":
                    local[_plain(value.split("@")[0])].add(number)
        for index in (cells, names, local):
            index.pop("", None)
        return cells, names, local

    def _values(self, row: Mapping[str, str]) -> Iterator[tuple[Kind, str]]:
        """What a row says of its student, the empty cells left out; first and last name are a whole one both ways."""
        for column, kind in self.kinds.items():
            value = row.get(column, "").strip()
            if kind == "participant" and (match := _PARTICIPANT.fullmatch(value)) is not None:
                yield kind, match["number"]
            if value and kind not in ("first", "last", "grade"):
                yield kind, value
        first, last = (
            " ".join(row.get(column, "").strip() for column in self.of_kind(kind)) for kind in ("first", "last")
        )
        if first or last:
            yield "full", f"{first} {last}".strip()
            yield "full", f"{last}, {first}"


def _key(kind: str, value: str) -> str:
    value = _plain(value)
    return f"{kind}:{value}" if value else ""


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _folded(name: str) -> str:
    """A name's letters and digits, without accents."""
    return loose("".join(char for char in unicodedata.normalize("NFD", name) if not unicodedata.combining(char)))


def _is_participant(cells: Iterable[str]) -> bool:
    matches = [_PARTICIPANT.fullmatch(cell.strip()) for cell in cells]
    return all(matches) and len({match["word"] for match in matches if match}) == 1
